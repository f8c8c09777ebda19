//! Mounts a signed model until it is unmounted or the process is asked to stop:
//! `cargo run --release --example mount -- MODEL PUBLIC_KEY.pem MOUNTPOINT`

use std::error::Error;

use model_fs::kernel::Shutdown;
use model_fs::{Model, MountOptions, OpenOptions, PublicKey, Trust};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, key, mountpoint] = args.as_slice() else {
        return Err("usage: mount MODEL PUBLIC_KEY.pem MOUNTPOINT".into());
    };
    let shutdown = Shutdown::on_signals(|| {}, || {})?;
    let trust = Trust::Key(PublicKey::from_pem(&std::fs::read(key)?)?);
    let options = MountOptions::new()
        .on_violation(|violation| eprintln!("{violation}"))
        .shutdown(shutdown);
    let mounted = Model::open(model, &trust, OpenOptions::new())?.mount(mountpoint, options)?;
    eprintln!("mounted on {}", mounted.mountpoint().display());
    mounted.wait()?;
    Ok(())
}
