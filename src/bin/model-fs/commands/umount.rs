//! `model-fs umount`.

use model_fs::kernel;

use crate::args::UmountArgs;
use crate::exit::Failure;

pub(crate) fn run(args: &UmountArgs) -> Result<(), Failure> {
    kernel::unmount(&args.mountpoint)?;
    Ok(())
}
