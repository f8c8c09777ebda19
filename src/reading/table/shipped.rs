//! Tables that travel with a model, in a directory that its signature ignores.
//!
//! Guarantees: one is looked for only where it can prove itself, against a signed BLAKE3 digest,
//! and what is made of it is a `Candidate` for exactly the content that was asked for. Doesn't:
//! prove the length; verifying the last chunk does. The owner of the model owns these files.

use std::collections::HashSet;
use std::io::{self, Write as _};

use super::file::{self, OpenTable, TableFileError};
use super::proved::{Candidate, ChunkTable, SelfProving};
use crate::files::{Directory, open_entry};
use crate::manifest::{Manifest, SignedContent};
use crate::name::FileName;
use crate::reading::source::Source;

/// The directory beneath the model root that holds them, one file each, and that signers put into
/// the signed `ignore_paths`.
pub const DIRECTORY: &str = ".model-fs";

fn relative_path(content: &SignedContent) -> String {
    format!("{DIRECTORY}/{}", file::name(content.identity()))
}

/// Whether something that could be the table for this content lies in the model directory `root`.
pub fn is_there(root: &Directory, content: &SignedContent) -> bool {
    let name = file::name(content.identity());
    root.open_beneath(DIRECTORY.as_ref())
        .is_ok_and(|tables| open_entry(&tables, name.as_ref()).is_ok())
}

/// Whether the source has a table for this content, whose length was signed, as far as its header
/// tells: its values aren't read.
pub(in crate::reading) fn is_announced(source: &dyn Source, content: &SignedContent) -> bool {
    let name = FileName::new(&relative_path(content)).ok();
    let opened = name.and_then(|name| source.open(&name).ok());
    let table = opened.and_then(|file| OpenTable::open(file).ok());
    content.len().is_some()
        && table.is_some_and(|table| SelfProving::admit(content, table.header()).is_ok())
}

/// The table that the source has for a file with this content, of `claimed` bytes.
pub(in crate::reading) fn load(
    source: &dyn Source,
    content: &SignedContent,
    claimed: u64,
) -> Option<Candidate> {
    content.blake3()?;
    let name = FileName::new(&relative_path(content)).ok()?;
    let file = source.open(&name).ok()?;
    let read = || {
        let table = OpenTable::open(file)?;
        let admitted = SelfProving::admit(content, table.header())?;
        // Its last chunk couldn't be read, so nothing is read for it.
        if content.len().is_none() && table.header().len > claimed {
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

/// Finds out, before there is any, whether tables can be written into the model directory `root`.
///
/// # Errors
/// [`io::ErrorKind::NotADirectory`] where something else has their directory's name, links
/// included: the owner of the model would choose where tables are written and removed. Else what
/// the file system says.
pub fn check(root: &Directory) -> io::Result<()> {
    match root.open_beneath(DIRECTORY.as_ref()) {
        Ok(directory) => directory.check_writable(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => root.check_writable(),
        Err(error) => Err(error),
    }
}

/// Writes a table into the model directory `root`, never through a link, if it is one that can
/// prove itself.
///
/// # Errors
/// As [`check`].
pub fn save(root: &Directory, table: &ChunkTable) -> io::Result<()> {
    if table.content().blake3().is_none() {
        return Ok(());
    }
    let Some((header, values)) = table.to_ship() else {
        return Ok(());
    };
    let directory = root.make(DIRECTORY.as_ref(), 0o755)?;
    let name = file::name(table.content().identity());
    // World-readable, unlike the store: it is part of the model.
    directory.write_file(name.as_ref(), 0o644, |out| {
        out.write_all(&header.encode())?;
        out.write_all(values)
    })
}

/// Removes tables beneath `root` that no file of `manifest` has, never through a link.
///
/// # Errors
/// As [`check`].
pub fn remove_others(root: &Directory, manifest: &Manifest) -> io::Result<()> {
    let directory = match root.open_beneath(DIRECTORY.as_ref()) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let current: HashSet<String> = manifest
        .files()
        .iter()
        .map(|file| file::name(file.content.identity()))
        .collect();
    directory.for_each_name(|name| {
        match name.to_str() {
            Some(table) if file::is_name(table) && !current.contains(table) => {
                directory.remove_file(name)
            }
            // Whatever else lies there isn't ours.
            _ => Ok(()),
        }
    })
}
