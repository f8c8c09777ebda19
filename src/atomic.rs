//! Files that others see whole or not at all.
//!
//! Guarantees: whoever opens the path finds the old file or all of the new one, after a crash too;
//! where writing fails the old one stays. Doesn't: see to it that the new one is there after a
//! crash, for which its directory has to be synchronised; or follow a link at the end of the path, which
//! is replaced.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use crate::files::Directory;

/// Writes a file with these permission bits, less those of the umask, in place of what is there.
///
/// # Errors
/// What the file system or `write` says.
pub fn write_file(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let directory = Directory::open(parent.unwrap_or(Path::new(".")))?;
    directory.write_file(path.file_name().unwrap_or_default(), mode, write)
}
