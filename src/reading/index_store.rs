//! The index store: chunk tables of files that this host has already proved.
//!
//! Guarantees: [`IndexStore::load`] gives only tables that this host wrote, for exactly the signed
//! content asked for: files are owned by the user, writable by nobody else, and carry a MAC under a
//! key of this host. Anything damaged, truncated, edited, copied from elsewhere or owned by
//! somebody else counts as absent, and is written anew when the proof has been made again. Doesn't:
//! protect from its own owner, who is trusted.
//!
//! ```text
//! <directory>/            0700, or at least writable by its owner only
//!   host.key              32 random bytes, 0600
//!   v1/<2 hex>/<identity in hex>.table
//! ```
//!
//! The MAC key is derived from `host.key` and the machine's identity (`machine-id(5)`), so that a
//! store that was copied with its key isn't believed on another machine.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::source::{Caching, Source, SourceFile};
use super::table_file::{MacKey, TableFile};
use crate::atomic;
use crate::name::{Escaped, FileName};

/// Chunk tables kept between mounts, by what was signed.
pub struct IndexStore {
    directory: PathBuf,
    key: Zeroizing<MacKey>,
}

/// Why there is no index store.
#[derive(Debug, thiserror::Error)]
pub enum IndexStoreError {
    /// The directory can't be made or looked at.
    #[error("index store {}: {error}", Escaped::path(path))]
    Io {
        /// What was being used.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// Others could put tables there.
    #[error("index store {} is owned by another user or writable by others", Escaped::path(.0))]
    NotOwnerOnly(PathBuf),
}

impl IndexStore {
    /// Where the store is unless the user says otherwise: `$XDG_CACHE_HOME/model-fs/index`,
    /// `$HOME/.cache/model-fs/index`, or `/var/cache/model-fs/index` for a daemon without a home.
    pub fn default_directory() -> PathBuf {
        let absolute = |variable| {
            std::env::var_os(variable)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(|| PathBuf::from("/var/cache"))
            .join("model-fs/index")
    }

    /// Opens a store, making it and its key where they don't exist.
    ///
    /// # Errors
    /// [`IndexStoreError`], also when others may write to it.
    pub fn open(directory: &Path) -> Result<Self, IndexStoreError> {
        Self::open_on(directory, &machine_identity())
    }

    fn open_on(directory: &Path, machine: &[u8]) -> Result<Self, IndexStoreError> {
        let failed = |error| IndexStoreError::Io {
            path: directory.to_owned(),
            error,
        };
        make_directory(directory).map_err(failed)?;
        let metadata = directory.metadata().map_err(failed)?;
        if !is_owner_only(&metadata) {
            return Err(IndexStoreError::NotOwnerOnly(directory.to_owned()));
        }
        let secret = host_key(directory).map_err(failed)?;
        let mut material = Zeroizing::new(secret.to_vec());
        material.extend_from_slice(machine);
        let key = blake3::derive_key("model-fs index store 2026-11-22 binding MAC", &material);
        Ok(Self {
            directory: directory.to_owned(),
            key: Zeroizing::new(key),
        })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The table for signed content, if this host has proved it before.
    pub(super) fn load(&self, identity: &[u8; 32]) -> Option<TableFile> {
        let path = self.path_of(identity);
        let file = match open_owned(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %Escaped::path(&path), %error, "index entry not believed");
                return None;
            }
        };
        match TableFile::read(&mut BufReader::new(file), Some(&self.key)) {
            Ok(table) if table.identity == *identity => Some(table),
            Ok(_) => {
                tracing::warn!(path = %Escaped::path(&path), "index entry is for other content");
                None
            }
            Err(error) => {
                tracing::warn!(path = %Escaped::path(&path), %error, "index entry not believed");
                None
            }
        }
    }

    /// Keeps a table that has just been proved, by a full pass of our own: what is kept is believed
    /// later.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, table: &TableFile) -> io::Result<()> {
        let path = self.path_of(&table.identity);
        let parent = path.parent().unwrap_or(&self.directory);
        make_directory(parent)?;
        // A file that loses its content in a crash is noticed, but costs a full pass.
        atomic::write_file(&path, 0o600, |out| table.write(out, Some(&self.key)))
    }

    fn path_of(&self, identity: &[u8; 32]) -> PathBuf {
        let name = hex::encode(identity);
        let mut path = self.directory.join("v1");
        path.push(&name[..2]);
        path.push(name + ".table");
        path
    }
}

impl std::fmt::Debug for IndexStore {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexStore")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// Tables that travel with a model, in a directory that its signature ignores.
///
/// Guarantees nothing: whoever owns the model owns them. They are useful because BLAKE3 tables
/// prove themselves against the signed digest.
pub mod shipped {
    use std::collections::HashSet;

    use super::{
        Arc, BufReader, Caching, FileName, Path, Source, SourceFile, TableFile, atomic, io,
    };

    use crate::manifest::Manifest;

    /// The directory beneath the model root that holds them, one file each, and that `sign` puts
    /// into the signed `ignore_paths`.
    pub const DIRECTORY: &str = ".model-fs";

    fn file_name(identity: &[u8; 32]) -> String {
        format!("{}.table", hex::encode(identity))
    }

    fn relative_path(identity: &[u8; 32]) -> String {
        format!("{DIRECTORY}/{}", file_name(identity))
    }

    /// What the source has for this content, believed by nobody yet.
    pub(in crate::reading) fn load(source: &dyn Source, identity: &[u8; 32]) -> Option<TableFile> {
        let name = FileName::new(&relative_path(identity)).ok()?;
        let file = source.open(&name).ok()?;
        match TableFile::read(&mut BufReader::new(Sequential { file, offset: 0 }), None) {
            Ok(table) => Some(table),
            Err(error) => {
                tracing::warn!(table = %name, %error, "shipped chunk table not usable");
                None
            }
        }
    }

    /// Writes a table into the model directory `root`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(root: &Path, table: &TableFile) -> io::Result<()> {
        let path = root.join(relative_path(&table.identity));
        std::fs::create_dir_all(root.join(DIRECTORY))?;
        // World-readable, unlike the store: it is part of the model.
        atomic::write_file(&path, 0o644, |out| table.write(out, None))
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
            .map(|file| file_name(&file.content.identity()))
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

    /// Reads a source file from its beginning.
    struct Sequential {
        file: Arc<dyn SourceFile>,
        offset: u64,
    }

    impl io::Read for Sequential {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.file.read_at(buffer, self.offset, Caching::Keep)?;
            self.offset += read as u64;
            Ok(read)
        }
    }
}

/// Makes a directory and those above it, for the owner only.
fn make_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Opens a file that only we can have written.
fn open_owned(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() && is_owner_only(&metadata) {
        Ok(file)
    } else {
        Err(io::Error::other(
            "it is owned by another user, writable by others, or no regular file",
        ))
    }
}

fn is_owner_only(metadata: &std::fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

/// The secret of this store, made at first use.
fn host_key(directory: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let path = directory.join("host.key");
    match read_host_key(&path) {
        Ok(key) => return Ok(key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %Escaped::path(&path), %error, "host key not believed, making another");
            std::fs::remove_file(&path)?;
        }
    }
    let mut key = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *key).map_err(|_| io::Error::other("no random numbers"))?;
    let mut temporary = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(directory)?;
    temporary.write_all(&*key)?;
    temporary.as_file().sync_data()?;
    match temporary.persist_noclobber(&path) {
        Ok(_) => Ok(key),
        // Somebody was faster; theirs it is.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => read_host_key(&path),
        Err(error) => Err(error.error),
    }
}

fn read_host_key(path: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let file = open_owned(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        return Err(io::Error::other("it is readable by others"));
    }
    let mut key = Zeroizing::new([0; 32]);
    let mut rest = [0; 1];
    (&file).read_exact(&mut *key)?;
    if (&file).read(&mut rest)? != 0 {
        return Err(io::Error::other("it is too long"));
    }
    Ok(key)
}

/// Bytes that differ between machines; empty where the machine has none.
fn machine_identity() -> Vec<u8> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|path| std::fs::read(path).ok().filter(|id| !id.is_empty()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::chunk::SubtreeSize;
    use crate::reading::subtree::VALUE_LEN;

    fn table(identity: u8) -> TableFile {
        TableFile {
            size: SubtreeSize::MIN,
            len: 2 * 16384,
            identity: [identity; 32],
            root: [2; 32],
            values: vec![3; 2 * VALUE_LEN].into(),
        }
    }

    fn store(dir: &Path) -> IndexStore {
        IndexStore::open_on(dir, b"this machine").unwrap()
    }

    #[test]
    fn keeps_tables_between_openings() {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path()).save(&table(1)).unwrap();
        assert_eq!(store(dir.path()).load(&[1; 32]), Some(table(1)));
        assert_eq!(store(dir.path()).load(&[9; 32]), None);
        store(dir.path()).save(&table(1)).unwrap();
    }

    #[test]
    fn entries_of_another_host_are_not_believed() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ours, theirs) = (store(ours.path()), store(theirs.path()));
        theirs.save(&table(1)).unwrap();
        ours.save(&table(2)).unwrap();
        let copied = ours.path_of(&[1; 32]);
        std::fs::create_dir_all(copied.parent().unwrap()).unwrap();
        std::fs::copy(theirs.path_of(&[1; 32]), copied).unwrap();
        assert_eq!(ours.load(&[1; 32]), None);
        // Not even the whole directory, key included.
        let elsewhere = IndexStore::open_on(ours.directory(), b"another machine").unwrap();
        assert_eq!(elsewhere.load(&[2; 32]), None);
        assert!(ours.load(&[2; 32]).is_some());
    }

    #[test]
    fn an_entry_under_another_name_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.save(&table(1)).unwrap();
        let other = store.path_of(&[2; 32]);
        std::fs::create_dir_all(other.parent().unwrap()).unwrap();
        std::fs::rename(store.path_of(&[1; 32]), other).unwrap();
        assert_eq!(store.load(&[2; 32]), None);
    }

    #[test]
    fn writable_by_others_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.save(&table(1)).unwrap();
        let chmod = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let entry = store.path_of(&[1; 32]);
        chmod(&entry, 0o622);
        assert_eq!(store.load(&[1; 32]), None);
        chmod(&entry, 0o600);
        assert!(store.load(&[1; 32]).is_some());
        chmod(dir.path(), 0o777);
        assert!(matches!(
            IndexStore::open(dir.path()),
            Err(IndexStoreError::NotOwnerOnly(_))
        ));
    }

    #[test]
    fn links_are_not_followed_and_damaged_entries_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.save(&table(1)).unwrap();
        let entry = store.path_of(&[1; 32]);
        let moved = dir.path().join("moved");
        std::fs::rename(&entry, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &entry).unwrap();
        assert_eq!(store.load(&[1; 32]), None);
        store.save(&table(1)).unwrap();
        assert!(store.load(&[1; 32]).is_some());
        let len = entry.metadata().unwrap().len();
        let file = OpenOptions::new().write(true).open(&entry).unwrap();
        file.set_len(len - 1).unwrap();
        assert_eq!(store.load(&[1; 32]), None);
        store.save(&table(1)).unwrap();
        assert!(store.load(&[1; 32]).is_some());
    }

    #[test]
    fn a_key_that_others_could_know_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path()).save(&table(1)).unwrap();
        let key = dir.path().join("host.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(store(dir.path()).load(&[1; 32]), None);
        std::fs::write(&key, b"short").unwrap();
        store(dir.path()).save(&table(1)).unwrap();
        assert!(store(dir.path()).load(&[1; 32]).is_some());
    }
}
