//! Reads a few bytes of a signed model, verified, without mounting it:
//! `cargo run --release --example read_verified -- MODEL PUBLIC_KEY.pem FILE OFFSET LENGTH`

use std::error::Error;
use std::io::Write as _;

use model_fs::{Model, OpenOptions, PublicKey, Trust};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, key, file, offset, length] = args.as_slice() else {
        return Err("usage: read_verified MODEL PUBLIC_KEY.pem FILE OFFSET LENGTH".into());
    };
    let trust = Trust::Key(PublicKey::from_pem(&std::fs::read(key)?)?);
    let model = Model::open(model, &trust, OpenOptions::new())?;
    eprintln!("signed by {}", model.manifest().signer());
    let file = model.file(file)?;
    let bytes = file.read_at(offset.parse()?, length.parse()?)?;
    std::io::stdout().write_all(bytes.as_slice())?;
    eprintln!(
        "{} of {} bytes; {:?}",
        bytes.len(),
        file.len(),
        model.stats()
    );
    Ok(())
}
