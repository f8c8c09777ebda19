//! Verifying a whole model: its names, and the content behind them.
//!
//! Guarantees: [`verify_names`] holds what is there against the signed names, both ways;
//! [`verify_content`] hashes every signed file, compares every digest and size that was signed,
//! reports every difference, with its place where a chunk table is at hand, and leaves chunk tables
//! behind for mounts. Doesn't: hold for longer than it takes: the model may change right
//! after.

use std::fmt;
use std::sync::Arc;

use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

use super::locate::{Places, locate};
use crate::manifest::{Manifest, ManifestFile, SignedContent};
use crate::name::{Escaped, FileName};
use crate::reading::chunk::buffer::BufferPool;
use crate::reading::opening::last_chunk;
use crate::reading::source::{ABSENT, Found, Scan, Source, SourceError};
use crate::reading::table::full_pass::{self, Observer};
use crate::reading::table::{ChunkTable, TableStore, proof, shipped};
use crate::reading::violation::{Violation, ViolationKind};

/// A way in which a model differs from its signature.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Difference {
    /// A signed file isn't there.
    #[error("\"{0}\": the file is missing")]
    Missing(FileName),
    /// A signed file that was to be left out: nothing is known about it.
    #[error("\"{0}\": the file is signed, so it can't be left out")]
    LeftOut(FileName),
    /// Something that isn't a regular file has the name of a signed one.
    #[error("\"{file}\": it is {found}, not a regular file")]
    WrongType {
        /// The name.
        file: FileName,
        /// What is there.
        found: &'static str,
    },
    /// A file that was never signed.
    #[error("\"{0}\": the file isn't signed")]
    Unsigned(Escaped),
    /// Content that isn't the signed content.
    #[error("{0}")]
    Content(Box<ContentDifference>),
    /// The file can't be read.
    #[error("\"{file}\": it can't be read: {error}")]
    Unreadable {
        /// The name.
        file: FileName,
        /// Why.
        error: SourceError,
    },
}

/// How the content of a file differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentDifference {
    /// What is wrong with the file.
    pub violation: Violation,
    /// Where; `None` if no table was at hand that could tell.
    pub places: Option<Places>,
}

impl From<Violation> for ContentDifference {
    fn from(violation: Violation) -> Self {
        Self {
            violation,
            places: None,
        }
    }
}

impl fmt::Display for ContentDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let violation = &self.violation;
        write!(f, "{violation}")?;
        let bytes = violation.range.end - violation.range.start;
        match violation.kind {
            ViolationKind::Truncated { .. } => write!(f, ", {bytes} too few")?,
            ViolationKind::Extended { .. } => write!(f, ", {bytes} too many")?,
            ViolationKind::Digest { .. } => {}
        }
        match &self.places {
            Some(places) => write!(f, "; {places}"),
            None => Ok(()),
        }
    }
}

/// What to make of files that are there but not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsigned {
    /// A difference.
    Refuse,
    /// As if they weren't there.
    Ignore,
}

/// Holds the names that a scan found against the signed names.
///
/// Empty files that shards can't sign (OMS v1.0 gives a zero-byte file no shard) are not
/// differences there; a mount doesn't show them.
pub fn verify_names(manifest: &Manifest, scan: &Scan, unsigned: Unsigned) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut signed = manifest
        .files()
        .iter()
        .enumerate()
        .filter(|(index, _)| scan.signed.get(*index).is_none_or(|&len| len == ABSENT))
        .map(|(_, file)| &file.name)
        .peekable();
    let mut found = scan.entries.iter().peekable();
    let is_extra = |name: &FileName, what: &Found| {
        let unsignable =
            *what == Found::File { len: 0 } && manifest.serialization().shard_size.is_some();
        (unsigned == Unsigned::Refuse && !unsignable)
            .then(|| Difference::Unsigned(Escaped::new(name.as_str())))
    };
    // Both are sorted the same way.
    loop {
        match (signed.peek(), found.peek()) {
            (None, None) => break,
            (Some(name), Some((there, what))) if *name == *there => {
                if let Found::Other(what) = what {
                    differences.push(Difference::WrongType {
                        file: (*name).clone(),
                        found: what,
                    });
                }
                signed.next();
                found.next();
            }
            (Some(name), there) if there.is_none_or(|(there, _)| *name < *there) => {
                differences.push(missing(name, scan));
                signed.next();
            }
            (_, Some((there, what))) => {
                differences.extend(is_extra(there, what));
                found.next();
            }
            (Some(_), None) => unreachable!("the arm before takes every name that is left"),
        }
    }
    if unsigned == Unsigned::Refuse {
        differences.extend(scan.unnameable.iter().cloned().map(Difference::Unsigned));
    }
    differences
}

/// A signed name that the scan hasn't: nothing is there, or a directory with something in it.
fn missing(name: &FileName, scan: &Scan) -> Difference {
    let inside = scan
        .entries
        .range(name.clone()..)
        .map(|(there, _)| there)
        // Names between "a" and "a/…" begin with "a" and a character before the slash.
        .take_while(|there| there.as_str().starts_with(name.as_str()))
        .any(|there| there.is_within(name));
    if inside {
        Difference::WrongType {
            file: name.clone(),
            found: "a directory",
        }
    } else {
        Difference::Missing(name.clone())
    }
}

/// Hashes every file of `manifest` and compares, files side by side, the largest first. Failures
/// come in the order of the manifest. What was proved is kept in `store`.
///
/// The observer can end the pass; files not reached are then reported as unreadable.
pub fn verify_content(
    manifest: &Manifest,
    source: &dyn Source,
    store: Option<&TableStore>,
    observer: &dyn Observer,
) -> Vec<Difference> {
    let files = manifest.files();
    // Opening tells the size, by which the work is laid out. Descriptors aren't kept: a model may
    // have more files than a process may have descriptors.
    let mut order: Vec<(usize, u64)> = files
        .iter()
        .enumerate()
        .map(|(index, file)| {
            let claimed = || source.open(&file.name).ok()?.len().ok();
            (index, file.content.len().or_else(claimed).unwrap_or(0))
        })
        .collect();
    order.sort_by_key(|&(_, len)| std::cmp::Reverse(len));
    let mut differences: Vec<(usize, Vec<Difference>)> = order
        .into_par_iter()
        .with_max_len(1)
        .map(|(index, _)| (index, verify_file(&files[index], source, store, observer)))
        .filter(|(_, differences)| !differences.is_empty())
        .collect();
    differences.sort_by_key(|&(index, _)| index);
    differences
        .into_iter()
        .flat_map(|(_, differences)| differences)
        .collect()
}

/// Hashes one file and compares.
fn verify_file(
    file: &ManifestFile,
    source: &dyn Source,
    store: Option<&TableStore>,
    observer: &dyn Observer,
) -> Vec<Difference> {
    let unreadable = |error| {
        vec![match error {
            SourceError::Missing => Difference::Missing(file.name.clone()),
            SourceError::NotAFile(found) => Difference::WrongType {
                file: file.name.clone(),
                found,
            },
            error @ SourceError::Io(_) => Difference::Unreadable {
                file: file.name.clone(),
                error,
            },
        }]
    };
    let opened = match source.open(&file.name) {
        Ok(opened) => opened,
        Err(error) => return unreadable(error),
    };
    // A length that can't be the signed one is known without hashing: a sparse file may claim an
    // exabyte. What a table at hand proves needn't be made again; it is a fifth of the work on a
    // SHA-256 file.
    let bound = store.and_then(|store| store.load(&file.content));
    let claimed = match opened.len() {
        Ok(claimed) => claimed,
        Err(error) => return unreadable(SourceError::Io(Arc::new(error))),
    };
    let shipped = || {
        let candidate = shipped::load(source, &file.content, claimed)?;
        let pool = BufferPool::new(0);
        let (table, _) = last_chunk::prove_length(file, candidate, &*opened, &pool).ok()?;
        Some(table.len())
    };
    // With two digests a table speaks for one of them, and which one holds has to be told.
    let is_one_digest = file.content.annotated_blake3().is_none();
    let known_len = file.content.len().or_else(|| {
        let bound = || bound.as_ref().map(ChunkTable::len);
        is_one_digest.then(|| bound().or_else(shipped)).flatten()
    });
    let wrong_length = known_len.and_then(|len| proof::length_violation(file, len, claimed));
    if let Some(violation) = wrong_length {
        return vec![Difference::Content(Box::new(violation.into()))];
    }
    let wanting = store.filter(|_| bound.is_none());
    let mut plan = proof::plan_of(&file.content);
    if wanting.is_none() {
        plan.table = None; // a signed BLAKE3 digest is compared nevertheless
    }
    let mut hashed = match full_pass::hash_file(&*opened, &plan, observer) {
        Ok(hashed) => hashed,
        Err(error) => return unreadable(SourceError::Io(Arc::new(error))),
    };
    let violations = proof::violations(file, &hashed);
    if violations.is_empty()
        && let Some(store) = wanting
        && let Some(table) = ChunkTable::of_pass(&file.content, &mut hashed)
        && let Err(error) = store.save(&table)
    {
        let path = Escaped::path(store.directory());
        tracing::warn!(%path, %error, file = %file.name, "chunk table not kept");
    }
    let locate = || {
        if let Some(bound) = &bound {
            return locate(bound.digests(), &*opened, observer).ok();
        }
        let shipped = shipped::load(source, &file.content, claimed)?;
        locate(shipped.digests(), &*opened, observer).ok()
    };
    violations
        .into_iter()
        .map(|violation| {
            let places = is_of_whole_file(&violation, file).then(locate).flatten();
            Difference::Content(Box::new(ContentDifference { violation, places }))
        })
        .collect()
}

/// Whether a table could tell more of where the file differs. It couldn't where the digest holds
/// that tables go by.
fn is_of_whole_file(violation: &Violation, file: &ManifestFile) -> bool {
    let SignedContent::Whole(whole) = &file.content else {
        return false;
    };
    let proving = whole.proving_digest().algorithm();
    match violation.kind {
        ViolationKind::Digest { holds, .. } => holds != Some(proving),
        ViolationKind::Truncated { .. } | ViolationKind::Extended { .. } => false,
    }
}
