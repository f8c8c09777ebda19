//! The index store: chunk tables of files that this host has already proved.
//!
//! Guarantees: [`TableStore::save`] takes a [`ChunkTable`], which is a proof, and files it under
//! what it proves; [`TableStore::load`] gives only tables that this host wrote, for exactly the
//! signed content asked for: files are owned by the user, writable by no other, and carry a MAC
//! under a key of this host. Anything damaged, truncated, edited, copied from elsewhere or owned by
//! another user counts as absent, and is written anew when the proof has been made again. The
//! directory is opened once; everything in it is reached from there and through no link. Doesn't:
//! protect from its own owner, who is trusted.
//!
//! ```text
//! <directory>/            0700, or at least writable by its owner only
//!   host.key              32 random bytes, 0600
//!   v2/<2 hex>/<identity in hex>.table
//!   v1.ignored            where there is a v1/ and this was said
//! ```
//!
//! The MAC key is derived from `host.key` and the machine's identity (`machine-id(5)`), so that a
//! store that was copied with its key isn't believed on another machine. Version 1 (`v1/`) kept
//! tables that came with a model under the identity that *they* named, so its entries are worth
//! nothing, whatever their MAC: its directory is never looked into, and its MAC key is another one.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::file::{self, OpenTable, TableFileError};
use super::proved::{Bound, ChunkTable, HostKey, ProvedLength};
use crate::files::{Directory, OpenError, is_user, is_writable_by_others, open_entry};
use crate::manifest::SignedContent;
use crate::name::Escaped;
use crate::reading::source::LocalFile;

/// The directory that holds this version's tables.
const VERSION: &str = "v2";

/// The directories of versions whose tables are no longer believed.
const OLD_VERSIONS: [&str; 1] = ["v1"];

/// Chunk tables kept between mounts, by what was signed.
pub struct TableStore {
    directory: Directory,
    key: HostKey,
}

/// Why there is no index store.
#[derive(Debug, thiserror::Error)]
pub enum TableStoreError {
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

impl TableStore {
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
    /// [`TableStoreError`], also when others may write to it.
    pub fn open(directory: &Path) -> Result<Self, TableStoreError> {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        let opened = made.and_then(|()| Directory::open(directory));
        Self::open_in(opened.map_err(|error| TableStoreError::Io {
            path: directory.to_owned(),
            error,
        })?)
    }

    /// Opens the store in a directory that is open, making its key where it has none.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(directory: Directory) -> Result<Self, TableStoreError> {
        let machine = machine_identity().map_err(|error| TableStoreError::Io {
            path: directory.path().to_owned(),
            error,
        })?;
        Self::open_on(directory, &machine)
    }

    fn open_on(directory: Directory, machine: &[u8]) -> Result<Self, TableStoreError> {
        let failed = |error| TableStoreError::Io {
            path: directory.path().to_owned(),
            error,
        };
        let stat = rustix::fs::fstat(&directory).map_err(|errno| failed(errno.into()))?;
        if !is_owner_only(&stat) {
            return Err(TableStoreError::NotOwnerOnly(directory.path().to_owned()));
        }
        let secret = host_key(&directory).map_err(failed)?;
        let mut material = Zeroizing::new(secret.to_vec());
        material.extend_from_slice(machine);
        Ok(Self {
            key: HostKey::derive(&material),
            directory,
        })
    }

    /// Whether there are tables of earlier versions, which are no longer believed, so that files
    /// may be hashed once more; each store says so once. [`clean`](Self::clean) removes them.
    pub fn tells_of_old_tables(&self) -> bool {
        mark_old_versions(&self.directory)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The table for signed content, if this host has proved it before.
    pub(in crate::reading) fn load(&self, content: &SignedContent) -> Option<ChunkTable> {
        places(content).find_map(|place| {
            let table = self.open_table(&place)?;
            let loaded = Bound::admit(content, table.header(), &self.key)
                .and_then(|bound| bound.merge(table.values()?));
            self.believed(&place, loaded)
        })
    }

    /// Whether this host has proved signed content before. Reads a header only.
    pub fn has(&self, content: &SignedContent) -> bool {
        self.proved_len(content).is_some()
    }

    /// The length of signed content, if this host has proved it before. Reads a header only.
    pub(in crate::reading) fn proved_len(&self, content: &SignedContent) -> Option<ProvedLength> {
        places(content).find_map(|place| {
            let table = self.open_table(&place)?;
            let bound = Bound::admit(content, table.header(), &self.key);
            self.believed(&place, bound).map(|bound| bound.len())
        })
    }

    fn open_table(&self, place: &Place) -> Option<OpenTable> {
        let opened = self
            .directory
            .open_beneath(VERSION.as_ref())
            .and_then(|version| version.open_beneath(place.folder().as_ref()))
            .and_then(|folder| open_owned(&folder, &place.name));
        match opened {
            Ok(file) => {
                let table = OpenTable::open(Arc::new(LocalFile::new(file)));
                self.believed(place, table)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => self.believed(place, Err(error.into())),
        }
    }

    fn believed<T>(&self, place: &Place, found: Result<T, TableFileError>) -> Option<T> {
        found
            .inspect_err(|error| {
                let folder = self.directory().join(VERSION).join(place.folder());
                let path = folder.join(&place.name);
                tracing::warn!(path = %Escaped::path(path), %error, "chunk table not believed");
            })
            .ok()
    }

    /// Keeps a table, which is believed later. One that the manifest has anyway is left out.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, table: &ChunkTable) -> io::Result<()> {
        let Some((header, values)) = table.to_bind(&self.key) else {
            return Ok(());
        };
        let place = Place::of(table.content().identity());
        let version = self.directory.make(VERSION.as_ref(), 0o700)?;
        let folder = version.make(place.folder().as_ref(), 0o700)?;
        // A file that loses its content in a crash is noticed, but costs a full pass.
        folder.write_file(place.name.as_ref(), 0o600, |out| {
            out.write_all(&header.encode())?;
            out.write_all(values)
        })
    }

    /// Removes the tables that earlier versions kept, which are no longer believed. Whether there
    /// were any. Nothing else is touched: a directory that isn't only a store keeps the rest of
    /// what it has.
    ///
    /// # Errors
    /// What the file system says.
    pub fn clean(&self) -> io::Result<bool> {
        let mut removed = false;
        for version in OLD_VERSIONS {
            let tables = match self.directory.open_beneath(version.as_ref()) {
                Ok(tables) => tables,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for name in names(&tables, |name| file::is_hex(name, 2))? {
                let folder = tables.open_beneath(name.as_ref())?;
                for table in names(&folder, file::is_name)? {
                    folder.remove_file(table.as_ref())?;
                    removed = true;
                }
                remove_if_empty(&tables, &name)?;
            }
            if remove_if_empty(&self.directory, version)? {
                removed = true;
                match self.directory.remove_file(mention(version).as_ref()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(removed)
    }
}

impl std::fmt::Debug for TableStore {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableStore")
            .field("directory", &self.directory())
            .finish_non_exhaustive()
    }
}

/// Where a table is kept.
struct Place {
    name: String,
}

impl Place {
    fn of(identity: [u8; 32]) -> Self {
        let name = file::name(identity);
        Self { name }
    }

    fn folder(&self) -> &str {
        &self.name[..2]
    }
}

/// Where the table for signed content may be: by what proves it, and by its listed digest, where an
/// earlier signature that had no annotations was proved here.
fn places(content: &SignedContent) -> impl Iterator<Item = Place> {
    let (identity, listed) = (content.identity(), content.listed_identity());
    let other = (listed != identity).then_some(listed);
    std::iter::once(identity).chain(other).map(Place::of)
}

/// The names in a directory that are as they are wanted.
fn names(directory: &Directory, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    directory.for_each_name(|name| {
        names.extend(name.to_str().filter(|name| wanted(name)).map(str::to_owned));
        Ok(())
    })?;
    Ok(names)
}

/// Whether there is nothing in a directory, which then is no more.
fn remove_if_empty(directory: &Directory, name: &str) -> io::Result<bool> {
    match directory.remove_directory(name.as_ref()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(error) => Err(error),
    }
}

/// Marks tables of earlier versions as known. Whether any weren't, so that each store says so once.
fn mark_old_versions(directory: &Directory) -> bool {
    let mut found = false;
    for version in OLD_VERSIONS {
        if rustix::fs::statat(directory, version, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            continue;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let marked = rustix::fs::openat(directory, mention(version), flags, mode);
        found |= !matches!(marked, Err(Errno::EXIST));
    }
    found
}

/// The file that says that an old version was mentioned.
fn mention(version: &str) -> String {
    format!("{version}.ignored")
}

/// Opens a file that only we can have written.
fn open_owned(directory: &Directory, name: &str) -> io::Result<File> {
    let (file, stat) = open_entry(directory, name.as_ref())?;
    if is_owner_only(&stat) {
        Ok(file)
    } else {
        Err(io::Error::other(
            "it is owned by another user, or writable by others",
        ))
    }
}

fn is_owner_only(stat: &Stat) -> bool {
    is_user(stat.st_uid) && !is_writable_by_others(stat)
}

/// The name of the file with the secret.
const HOST_KEY: &str = "host.key";

/// The secret of this store, made at first use. One that others know, or that isn't one, is
/// replaced; one that can't be read now stays.
fn host_key(directory: &Directory) -> io::Result<Zeroizing<[u8; 32]>> {
    match read_host_key(directory) {
        Ok(Ok(key)) => return Ok(key),
        Ok(Err(why)) => {
            tracing::warn!(why, "host key not believed, making another");
            directory.remove_file(HOST_KEY.as_ref())?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut key = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *key).map_err(|_| io::Error::other("no random numbers"))?;
    match directory.create_file(HOST_KEY.as_ref(), 0o600, |out| out.write_all(&*key)) {
        Ok(()) => Ok(key),
        // Another process was faster; its key it is.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read_host_key(directory)?.map_err(io::Error::other)
        }
        Err(error) => Err(error),
    }
}

/// The secret that is there, or why it isn't to be believed.
fn read_host_key(directory: &Directory) -> io::Result<Result<Zeroizing<[u8; 32]>, &'static str>> {
    let (file, stat) = match open_entry(directory, HOST_KEY.as_ref()) {
        Err(OpenError::NotRegular(FileType::Symlink)) => return Ok(Err("it is a symbolic link")),
        Err(OpenError::NotRegular(_)) => return Ok(Err("it is no regular file")),
        opened => opened?,
    };
    if !is_owner_only(&stat) || stat.st_mode & 0o077 != 0 {
        return Ok(Err(
            "it is owned by another user, or not for its owner only",
        ));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(64));
    (&file).take(33).read_to_end(&mut bytes)?;
    match <[u8; 32]>::try_from(bytes.as_slice()) {
        Ok(key) => Ok(Ok(Zeroizing::new(key))),
        Err(_) => Ok(Err("it isn't 32 bytes long")),
    }
}

/// Bytes that differ between machines; empty where the machine has none.
fn machine_identity() -> io::Result<Vec<u8>> {
    for path in ["/etc/machine-id", "/var/lib/dbus/machine-id"] {
        match std::fs::read(path) {
            Ok(id) if !id.is_empty() => return Ok(id),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Without it, what was kept with it wouldn't be believed.
            Err(error) => return Err(error),
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::digest::Algorithm;
    use crate::reading::table::full_pass::hash_file;
    use crate::reading::table::proof;
    use crate::reading::testing::{Memory, random};

    /// A proof: three chunks of a file that was read.
    fn table(seed: u64) -> ChunkTable {
        let bytes = random((1 << 20) + 150_000, seed);
        let source = Memory::default();
        source.put("file", &bytes);
        let content = SignedContent::Whole(Algorithm::Sha256.hash(&bytes).into());
        let plan = proof::plan_of(&content);
        let mut hashed = hash_file(&*source.file("file"), &plan, &()).unwrap();
        ChunkTable::of_pass(&content, &mut hashed).unwrap()
    }

    fn content(seed: u64) -> SignedContent {
        table(seed).content().clone()
    }

    fn path_of(store: &TableStore, seed: u64) -> PathBuf {
        let place = Place::of(content(seed).identity());
        let (folder, name) = (place.folder(), &place.name);
        store.directory().join(VERSION).join(folder).join(name)
    }

    fn has(store: &TableStore, seed: u64) -> bool {
        let loaded = store.load(&content(seed));
        assert_eq!(store.proved_len(&content(seed)).is_some(), loaded.is_some());
        loaded.is_some_and(|loaded| {
            let table = table(seed);
            assert_eq!(loaded.len(), table.len());
            assert_eq!(loaded.to_ship(), table.to_ship());
            true
        })
    }

    fn store(dir: &Path) -> TableStore {
        TableStore::open_on(Directory::open(dir).unwrap(), b"this machine").unwrap()
    }

    #[test]
    fn keeps_tables_between_openings() {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path()).save(&table(1)).unwrap();
        assert!(has(&store(dir.path()), 1));
        assert!(!has(&store(dir.path()), 9));
        store(dir.path()).save(&table(1)).unwrap();
        let folder = path_of(&store(dir.path()), 1).parent().unwrap().to_owned();
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1);
    }

    #[test]
    fn entries_of_another_host_are_not_believed() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ours, theirs) = (store(ours.path()), store(theirs.path()));
        theirs.save(&table(1)).unwrap();
        ours.save(&table(2)).unwrap();
        let copied = path_of(&ours, 1);
        std::fs::create_dir_all(copied.parent().unwrap()).unwrap();
        std::fs::copy(path_of(&theirs, 1), copied).unwrap();
        assert!(!has(&ours, 1));
        // Not even the whole directory, key included.
        let elsewhere = TableStore::open_on(
            Directory::open(ours.directory()).unwrap(),
            b"another machine",
        )
        .unwrap();
        assert!(!has(&elsewhere, 2));
        assert!(has(&ours, 2));
    }

    #[test]
    fn an_entry_under_another_name_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.save(&table(1)).unwrap();
        let other = path_of(&store, 2);
        std::fs::create_dir_all(other.parent().unwrap()).unwrap();
        std::fs::rename(path_of(&store, 1), other).unwrap();
        assert!(!has(&store, 2));
    }

    /// A file that is small enough to be checked directly is checked directly.
    #[test]
    fn nothing_is_kept_for_what_needs_no_table() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = random(1000, 3);
        let source = Memory::default();
        source.put("file", &bytes);
        let content = SignedContent::Whole(Algorithm::Sha256.hash(&bytes).into());
        let mut hashed = hash_file(&*source.file("file"), &proof::plan_of(&content), &()).unwrap();
        let table = ChunkTable::of_pass(&content, &mut hashed).unwrap();
        store(dir.path()).save(&table).unwrap();
        assert!(!dir.path().join(VERSION).exists());
    }

    /// As the released version wrote it: the adversary's table under the identity that it named.
    #[test]
    fn what_version_1_kept_is_not_believed_and_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        drop(store(dir.path()));
        let secret = std::fs::read(dir.path().join("host.key")).unwrap();
        let material = [&secret[..], b"this machine"].concat();
        let old_key = blake3::derive_key("model-fs index store 2026-11-22 binding MAC", &material);
        let (victim, forged) = (content(1), table(2));
        let (mut header, values) = forged.to_ship().unwrap();
        header.identity = victim.identity();
        let mac = blake3::keyed_hash(&old_key, &header.authenticated());
        header.mac = *mac.as_bytes();
        let file = [&header.encode()[..], values].concat();
        let place = Place::of(victim.identity());
        let (folder, name) = (place.folder(), &place.name);
        for version in ["v1", VERSION] {
            let folder = dir.path().join(version).join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), &file).unwrap();
        }
        let store = store(dir.path());
        assert!(!has(&store, 1));
        assert!(store.tells_of_old_tables());
        assert!(dir.path().join("v1.ignored").exists());
        assert!(!self::store(dir.path()).tells_of_old_tables());
        assert!(store.clean().unwrap());
        assert!(!dir.path().join("v1").exists());
        assert!(!dir.path().join("v1.ignored").exists());
        assert!(!store.clean().unwrap());
    }

    #[test]
    fn nothing_but_tables_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let at = |name: &str| dir.path().join("v1").join(name);
        let place = Place::of(content(1).identity());
        let (folder, name) = (place.folder(), &place.name);
        let table = format!("{folder}/{name}");
        let kept = [
            "README",
            "ab/notes.table",
            "abc/0.table",
            "deep/er/file",
            "ab/00.table",
        ];
        for name in kept.iter().copied().chain([table.as_str()]) {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), at("cd")).unwrap();
        assert!(store.clean().is_err(), "a link isn't followed");
        std::fs::remove_file(at("cd")).unwrap();
        store.clean().unwrap();
        assert!(!at(&table).exists());
        assert!(kept.iter().all(|name| at(name).exists()));
    }

    #[test]
    fn writable_by_others_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.save(&table(1)).unwrap();
        let chmod = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let entry = path_of(&store, 1);
        chmod(&entry, 0o622);
        assert!(!has(&store, 1));
        chmod(&entry, 0o600);
        assert!(has(&store, 1));
        chmod(dir.path(), 0o777);
        assert!(matches!(
            TableStore::open(dir.path()),
            Err(TableStoreError::NotOwnerOnly(_))
        ));
    }

    #[test]
    fn links_are_not_followed_and_damaged_entries_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.save(&table(1)).unwrap();
        let entry = path_of(&store, 1);
        let moved = dir.path().join("moved");
        std::fs::rename(&entry, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &entry).unwrap();
        assert!(!has(&store, 1));
        store.save(&table(1)).unwrap();
        assert!(has(&store, 1));
        let len = entry.metadata().unwrap().len();
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(&entry)
            .unwrap();
        file.set_len(len - 1).unwrap();
        assert!(!has(&store, 1));
        store.save(&table(1)).unwrap();
        assert!(has(&store, 1));
    }

    #[test]
    fn a_key_that_others_could_know_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path()).save(&table(1)).unwrap();
        let key = dir.path().join("host.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!has(&store(dir.path()), 1));
        std::fs::write(&key, b"short").unwrap();
        store(dir.path()).save(&table(1)).unwrap();
        assert!(has(&store(dir.path()), 1));
    }
}
