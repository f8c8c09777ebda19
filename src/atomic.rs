//! Files that others see whole or not at all.
//!
//! Guarantees: whoever opens the path finds the old file or all of the new one, after a crash too;
//! where writing fails the old one stays. Doesn't: see to it that the new one is there after a
//! crash, for which its directory has to be synchronised.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Writes a file with these permission bits, less those of the umask, in place of what is there.
///
/// # Errors
/// What the file system or `write` says.
pub fn write_file(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let temporary = tempfile::Builder::new()
        .prefix(".model-fs-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory)?;
    let mut out = BufWriter::with_capacity(1 << 20, temporary.as_file());
    write(&mut out)?;
    out.flush()?;
    drop(out);
    temporary.as_file().sync_data()?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for content in ["one", "two"] {
            write_file(&path, 0o600, |out| out.write_all(content.as_bytes())).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        write_file(&path, 0o600, |out| {
            out.write_all(b"three")?;
            Err(io::Error::other("no"))
        })
        .unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
