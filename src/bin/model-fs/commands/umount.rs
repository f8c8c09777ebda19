//! `model-fs umount`.

use model_fs::kernel::{self, Holders};
use model_fs::name::Escaped;

use crate::args::UmountArgs;
use crate::exit::Failure;
use crate::terminal;

pub(crate) fn run(args: &UmountArgs) -> Result<(), Failure> {
    if let Some(holders) = kernel::unmount_or_detach(&args.mountpoint)? {
        let mountpoint = Escaped::path(&args.mountpoint).to_string();
        terminal::note(&in_use(&mountpoint, &holders));
    }
    Ok(())
}

/// What is said of a mount that was in use.
fn in_use(mountpoint: &str, holders: &Holders) -> String {
    let by = if holders.is_empty() {
        String::new()
    } else {
        format!(" by {holders}")
    };
    format!(
        "{mountpoint} was in use{by}; it is unmounted, and what is open there is served until it \
         is closed"
    )
}
