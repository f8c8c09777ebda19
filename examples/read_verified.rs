//! Reads a few bytes of a signed model, verified, without mounting it.
//!
//! ```sh
//! cargo run --release --example read_verified -- MODEL PUBLIC_KEY.pem FILE OFFSET LENGTH
//! ```

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use model_fs::manifest::VerifiedManifest;
use model_fs::oms::key::PublicKey;
use model_fs::oms::trust::Trust;
use model_fs::reading::location::ModelLocation;
use model_fs::reading::{IndexStore, Links, Reader, ReaderOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, key, file, offset, length] = args.as_slice() else {
        return Err("usage: read_verified MODEL PUBLIC_KEY.pem FILE OFFSET LENGTH".into());
    };

    // Only a signature that holds makes a `VerifiedManifest`.
    let location = ModelLocation::find(Path::new(model), None)?;
    let trust = Trust::Key(PublicKey::from_pem(&std::fs::read(key)?)?);
    let manifest = Arc::new(VerifiedManifest::verify(
        location.read_signature()?,
        &trust,
        &location.shape(),
    )?);
    eprintln!("signed by {}", manifest.signer());

    let index = manifest
        .files()
        .iter()
        .position(|signed| signed.name.as_str() == file)
        .ok_or("the signature names no such file")?;

    // The directory is the adversary's, and may change while we read.
    let directory = Arc::new(location.open(Links::Refuse)?);
    let store = IndexStore::open(&IndexStore::default_directory())?;
    let reader = Reader::new(manifest, directory, Some(store), ReaderOptions::default());

    // Proves the file's chunk table and length: at once if a table is at hand, else by hashing it.
    let opened = reader.open(index)?;
    eprintln!("{file} has {} bytes", opened.len());

    // Only the reader makes `VerifiedBytes`.
    let bytes = opened.read(offset.parse()?, length.parse()?)?;
    std::io::stdout().write_all(bytes.as_slice())?;
    eprintln!("{:?}", reader.stats());
    Ok(())
}
