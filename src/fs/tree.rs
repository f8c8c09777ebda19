//! The inode tree of a mount, frozen when it is made.
//!
//! Guarantees: it holds the signed names, the directories above them, and the signature file, and
//! nothing else, whatever happens in the source later. Doesn't: know sizes or content.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::manifest::Manifest;
use crate::name::FileName;

/// Inode number of the root directory (`FUSE_ROOT_ID`).
pub const ROOT: u64 = 1;

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node<'a> {
    /// A directory, with its children sorted by name.
    Directory(&'a [u32]),
    /// A file of the model, by its index in the manifest.
    File(usize),
    /// The signature file that was verified.
    Signature,
}

#[derive(Debug)]
struct Inode {
    name: Box<str>,
    parent: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Directory(Vec<u32>),
    File(u32),
    Signature,
}

/// The tree. Inode numbers count from [`ROOT`] and never change.
#[derive(Debug)]
pub struct Tree {
    inodes: Vec<Inode>,
}

impl Tree {
    /// The tree of a manifest's files, with the signature file at `signature` unless that name is
    /// taken.
    ///
    /// # Panics
    /// For more than 2³² names, of which a manifest is bounded to have far fewer.
    pub fn new(manifest: &Manifest, signature: Option<&FileName>) -> Self {
        let mut tree = Self {
            inodes: vec![Inode {
                name: "".into(),
                parent: 0,
                kind: Kind::Directory(Vec::new()),
            }],
        };
        // The directories that lead to the file before. Sorted names keep those of one directory
        // together, so that the next file shares a beginning of this path, or the directory is
        // complete.
        let mut path = Vec::<u32>::new();
        for (index, file) in manifest.files().iter().enumerate() {
            let index = u32::try_from(index).expect("manifests are bounded far below 2^32 files");
            tree.insert(&file.name, Kind::File(index), &mut path);
        }
        if let Some(name) = signature
            && tree.is_free(name)
        {
            tree.insert(name, Kind::Signature, &mut Vec::new());
        }
        tree.sort();
        tree
    }

    fn insert(&mut self, name: &FileName, kind: Kind, path: &mut Vec<u32>) {
        let components: Vec<&str> = name.components().collect();
        let (last, directories) = components.split_last().expect("a name has a component");
        let shared = path
            .iter()
            .zip(directories)
            .take_while(|&(&at, component)| *self.inodes[at as usize].name == **component)
            .count();
        path.truncate(shared);
        for component in &directories[shared..] {
            let parent = path.last().copied().unwrap_or(0);
            // Only the signature comes out of order, and may meet a directory that exists.
            let directory = self
                .children(parent)
                .iter()
                .copied()
                .filter(|_| matches!(kind, Kind::Signature))
                .find(|&child| *self.inodes[child as usize].name == **component)
                .unwrap_or_else(|| self.push(component, parent, Kind::Directory(Vec::new())));
            path.push(directory);
        }
        let parent = path.last().copied().unwrap_or(0);
        self.push(last, parent, kind);
    }

    fn push(&mut self, name: &str, parent: u32, kind: Kind) -> u32 {
        let at = u32::try_from(self.inodes.len()).expect("fewer than 2^32 inodes");
        self.inodes.push(Inode {
            name: name.into(),
            parent,
            kind,
        });
        if let Kind::Directory(children) = &mut self.inodes[parent as usize].kind {
            children.push(at);
        }
        at
    }

    /// Whether `name` could be added: neither it nor a file above it exists.
    fn is_free(&self, name: &FileName) -> bool {
        let mut at = 0;
        for component in name.components() {
            let found = self
                .children(at)
                .iter()
                .find(|&&child| *self.inodes[child as usize].name == *component);
            match found {
                None => return matches!(self.inodes[at as usize].kind, Kind::Directory(_)),
                Some(&child) => at = child,
            }
        }
        false
    }

    fn sort(&mut self) {
        for at in 0..self.inodes.len() {
            if let Kind::Directory(children) = &mut self.inodes[at].kind {
                let mut children = std::mem::take(children);
                children.sort_unstable_by(|&a, &b| {
                    self.inodes[a as usize]
                        .name
                        .cmp(&self.inodes[b as usize].name)
                });
                self.inodes[at].kind = Kind::Directory(children);
            }
        }
    }

    fn children(&self, at: u32) -> &[u32] {
        match &self.inodes[at as usize].kind {
            Kind::Directory(children) => children,
            Kind::File(_) | Kind::Signature => &[],
        }
    }

    fn inode(&self, ino: u64) -> Option<&Inode> {
        self.inodes
            .get(usize::try_from(ino.checked_sub(ROOT)?).ok()?)
    }

    /// What `ino` is; `None` if there is no such inode.
    pub fn node(&self, ino: u64) -> Option<Node<'_>> {
        Some(match &self.inode(ino)?.kind {
            Kind::Directory(children) => Node::Directory(children),
            Kind::File(index) => Node::File(*index as usize),
            Kind::Signature => Node::Signature,
        })
    }

    /// The inode of `name` in the directory `parent`.
    pub fn lookup(&self, parent: u64, name: &OsStr) -> Option<u64> {
        let Some(Node::Directory(children)) = self.node(parent) else {
            return None;
        };
        let child = children
            .binary_search_by(|&child| {
                self.inodes[child as usize]
                    .name
                    .as_bytes()
                    .cmp(name.as_bytes())
            })
            .ok()?;
        Some(ino_of(children[child]))
    }

    /// Inode and name of a directory's entry, `.` and `..` first; `None` beyond the last.
    pub fn entry(&self, directory: u64, position: u64) -> Option<(u64, &str)> {
        let Some(Node::Directory(children)) = self.node(directory) else {
            return None;
        };
        match position {
            0 => Some((directory, ".")),
            1 => Some((ino_of(self.inode(directory)?.parent), "..")),
            _ => {
                let child = *children.get(usize::try_from(position - 2).ok()?)?;
                Some((ino_of(child), &self.inodes[child as usize].name))
            }
        }
    }

    /// Subdirectories of a directory.
    pub fn subdirectories(&self, children: &[u32]) -> usize {
        children
            .iter()
            .filter(|&&child| matches!(self.inodes[child as usize].kind, Kind::Directory(_)))
            .count()
    }

    /// Inodes in the tree.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.inodes.len()
    }
}

const fn ino_of(at: u32) -> u64 {
    at as u64 + ROOT
}
