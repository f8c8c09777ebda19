//! Tables that travel with a model, in a directory that its signature ignores.
//!
//! Guarantees: one is looked for only where it can prove itself, against a signed BLAKE3 digest, and
//! what is made of it is a [`Candidate`] for exactly the content that was asked for. Doesn't: prove
//! the length; verifying the last chunk does. Whoever owns the model owns these files.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::path::Path;

use super::source::Source;
use super::table::{Candidate, ChunkTable, SelfProving};
use super::table_file::{OpenTable, TableFileError};
use crate::atomic;
use crate::manifest::{Manifest, SignedContent};
use crate::name::FileName;

/// The directory beneath the model root that holds them, one file each, and that `sign` puts into
/// the signed `ignore_paths`.
pub const DIRECTORY: &str = ".model-fs";

fn file_name(content: &SignedContent) -> String {
    format!("{}.table", hex::encode(content.identity()))
}

fn relative_path(content: &SignedContent) -> String {
    format!("{DIRECTORY}/{}", file_name(content))
}

/// The table that the source has for a file with this content, of `claimed` bytes.
pub(super) fn load(
    source: &dyn Source,
    content: &SignedContent,
    claimed: u64,
) -> Option<Candidate> {
    SelfProving::root(content)?;
    let name = FileName::new(&relative_path(content)).ok()?;
    let file = source.open(&name).ok()?;
    let read = || {
        let table = OpenTable::open(file)?;
        let admitted = SelfProving::admit(content, table.header())?;
        // Its last chunk couldn't be read, so nothing is read for it.
        if table.header().len > claimed {
            return Err(TableFileError::OtherContent("length"));
        }
        admitted.merge(table.values()?)
    };
    read()
        .inspect_err(|error| {
            tracing::warn!(table = %name, %error, "shipped chunk table not usable");
        })
        .ok()
}

/// Writes a table into the model directory `root`, if it is one that can prove itself.
///
/// # Errors
/// What the file system says.
pub fn save(root: &Path, table: &ChunkTable) -> io::Result<()> {
    let Some((header, values)) = table.to_ship() else {
        return Ok(());
    };
    if SelfProving::root(table.content()).is_none() {
        return Ok(());
    }
    let path = root.join(relative_path(table.content()));
    std::fs::create_dir_all(root.join(DIRECTORY))?;
    // World-readable, unlike the store: it is part of the model.
    atomic::write_file(&path, 0o644, |out| {
        out.write_all(&header.encode())?;
        out.write_all(values)
    })
}

/// Removes tables beneath `root` that no file of `manifest` has.
///
/// # Errors
/// What the file system says.
pub fn remove_others(root: &Path, manifest: &Manifest) -> io::Result<()> {
    let entries = match std::fs::read_dir(root.join(DIRECTORY)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let current: HashSet<String> = manifest
        .files()
        .iter()
        .map(|file| file_name(&file.content))
        .collect();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Whatever else lies there isn't ours.
        let is_table = name
            .strip_suffix(".table")
            .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
        if is_table && !current.contains(&*name) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
