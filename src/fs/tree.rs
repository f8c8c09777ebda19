//! The inode tree of a mount, frozen when it is made.
//!
//! Guarantees: it holds the signed names, the directories above them, and the signature file, and
//! nothing else, whatever happens in the source later. Doesn't: know sizes or content.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::inode::Inode;
use crate::digest::Hasher;
use crate::manifest::{FileIndex, Manifest};
use crate::name::FileName;

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node<'a> {
    /// A directory, with its children sorted by name.
    Directory(&'a [u32]),
    /// A file of the model, by its index in the manifest.
    File(FileIndex),
    /// The signature file that was verified.
    Signature,
}

/// What is known of an inode. Small, for there may be a million.
#[derive(Debug, Clone, Copy)]
struct Record {
    /// Where its name begins in [`Tree::names`].
    name: u32,
    /// Bytes in its name.
    name_len: u8,
    parent: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Where its children begin and end in [`Tree::children`].
    Directory(u32, u32),
    File(u32),
    Signature,
}

/// The tree. Inode numbers count from [`Inode::ROOT`] and never change.
#[derive(Debug)]
pub struct Tree {
    /// All inodes, the root first.
    inodes: Vec<Record>,
    /// The names of all inodes, one after the other.
    names: String,
    /// The children of all directories, those of one directory together and sorted by name.
    children: Vec<u32>,
}

impl Tree {
    /// The tree of a manifest's files, with the signature file at `signature` unless that name is
    /// taken.
    ///
    /// # Panics
    /// For more than 2³² names or bytes of names, of which a manifest is bounded to have far fewer.
    pub fn new(manifest: &Manifest, signature: Option<&FileName>) -> Self {
        let mut tree = Self {
            inodes: Vec::with_capacity(manifest.files().len() + 1),
            names: String::new(),
            children: Vec::new(),
        };
        tree.push("", 0, Kind::Directory(0, 0));
        // The directories that lead to the file before, and their names. Sorted names keep those of
        // one directory together, so that the next file shares a beginning of this path, or the
        // directory is complete.
        let mut path = Vec::new();
        let mut signature = signature.filter(|name| is_free(manifest, name));
        for (index, file) in manifest.files().iter().enumerate() {
            if let Some(name) = signature.take_if(|name| **name < file.name) {
                tree.insert(name, Kind::Signature, &mut path);
            }
            let index = u32::try_from(index).expect("manifests are bounded far below 2^32 files");
            tree.insert(&file.name, Kind::File(index), &mut path);
        }
        if let Some(name) = signature {
            tree.insert(name, Kind::Signature, &mut path);
        }
        tree.list_children();
        tree
    }

    /// Adds a name that follows all those before it.
    fn insert<'a>(&mut self, name: &'a FileName, kind: Kind, path: &mut Vec<(u32, &'a str)>) {
        let (directories, last) = match name.parent() {
            Some(parent) => (parent, &name.as_str()[parent.len() + 1..]),
            None => ("", name.as_str()),
        };
        let mut depth = 0;
        for component in directories
            .split('/')
            .filter(|component| !component.is_empty())
        {
            if path.get(depth).is_none_or(|&(_, there)| there != component) {
                path.truncate(depth);
                let parent = path.last().map_or(0, |&(at, _)| at);
                let at = self.push(component, parent, Kind::Directory(0, 0));
                path.push((at, component));
            }
            depth += 1;
        }
        path.truncate(depth);
        let parent = path.last().map_or(0, |&(at, _)| at);
        self.push(last, parent, kind);
    }

    fn push(&mut self, name: &str, parent: u32, kind: Kind) -> u32 {
        let at = index_of(self.inodes.len());
        self.inodes.push(Record {
            name: index_of(self.names.len()),
            name_len: u8::try_from(name.len()).expect("components have at most 255 bytes"),
            parent,
            kind,
        });
        self.names.push_str(name);
        at
    }

    /// Gives each directory its children.
    fn list_children(&mut self) {
        let mut children: Vec<u32> = (1..index_of(self.inodes.len())).collect();
        // Nearly sorted as they are, which a stable sort makes use of.
        children.sort_by(|&a, &b| {
            let (a, b) = (self.at(a), self.at(b));
            let names = || self.name(a).cmp(self.name(b));
            a.parent.cmp(&b.parent).then_with(names)
        });
        let mut rest = &children[..];
        while let Some(&first) = rest.first() {
            let parent = self.at(first).parent;
            let count = rest.partition_point(|&child| self.at(child).parent == parent);
            let start = children.len() - rest.len();
            self.inodes[parent as usize].kind =
                Kind::Directory(index_of(start), index_of(start + count));
            rest = &rest[count..];
        }
        self.children = children;
    }

    fn at(&self, at: u32) -> Record {
        self.inodes[at as usize]
    }

    fn name(&self, record: Record) -> &str {
        let start = record.name as usize;
        &self.names[start..start + usize::from(record.name_len)]
    }

    fn record(&self, ino: Inode) -> Option<Record> {
        let at = ino.number().checked_sub(Inode::ROOT.number())?;
        self.inodes.get(usize::try_from(at).ok()?).copied()
    }

    /// All inodes, the root first.
    pub fn inodes(&self) -> impl Iterator<Item = Inode> + use<> {
        (0..index_of(self.inodes.len())).map(ino_of)
    }

    /// What `ino` is; `None` if there is no such inode.
    pub fn node(&self, ino: Inode) -> Option<Node<'_>> {
        Some(match self.record(ino)?.kind {
            Kind::Directory(start, end) => {
                Node::Directory(&self.children[start as usize..end as usize])
            }
            Kind::File(index) => Node::File(FileIndex::new(index as usize)),
            Kind::Signature => Node::Signature,
        })
    }

    /// The inode of `name` in the directory `parent`.
    pub fn lookup(&self, parent: Inode, name: &OsStr) -> Option<Inode> {
        let Some(Node::Directory(children)) = self.node(parent) else {
            return None;
        };
        let child = children
            .binary_search_by(|&child| {
                let found = self.name(self.at(child));
                found.as_bytes().cmp(name.as_bytes())
            })
            .ok()?;
        Some(ino_of(children[child]))
    }

    /// The inode of a file, given by its index in the manifest.
    pub fn of_file(&self, index: FileIndex) -> Option<Inode> {
        // Files have inodes in the order of their indices, with others between them.
        let (mut low, mut high) = (index.get() + 1, self.inodes.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.file_from(middle) {
                Some((at, file)) if file < index => low = at + 1,
                Some((at, file)) if file == index => return Some(ino_of(index_of(at))),
                Some(_) | None => high = middle,
            }
        }
        None
    }

    /// The first file from that inode on.
    fn file_from(&self, at: usize) -> Option<(usize, FileIndex)> {
        let rest = (at..).zip(&self.inodes[at..]);
        rest.into_iter().find_map(|(at, record)| match record.kind {
            Kind::File(index) => Some((at, FileIndex::new(index as usize))),
            Kind::Directory(..) | Kind::Signature => None,
        })
    }

    /// Inode and name of a directory's entry, `.` and `..` first; `None` beyond the last.
    pub fn entry(&self, directory: Inode, position: u64) -> Option<(Inode, &str)> {
        let Some(Node::Directory(children)) = self.node(directory) else {
            return None;
        };
        match position {
            0 => Some((directory, ".")),
            1 => Some((ino_of(self.record(directory)?.parent), "..")),
            _ => {
                let child = *children.get(usize::try_from(position - 2).ok()?)?;
                Some((ino_of(child), self.name(self.at(child))))
            }
        }
    }

    /// The path of an inode from the root on, which is empty itself; `None` if there is no such
    /// inode.
    pub fn path(&self, ino: Inode) -> Option<String> {
        let mut record = self.record(ino)?;
        let mut names = Vec::new();
        while record.name_len > 0 {
            names.push(self.name(record));
            record = self.at(record.parent);
        }
        names.reverse();
        Some(names.join("/"))
    }

    /// Subdirectories of a directory.
    pub fn subdirectories(&self, children: &[u32]) -> usize {
        children
            .iter()
            .filter(|&&child| matches!(self.at(child).kind, Kind::Directory(..)))
            .count()
    }

    /// Has `hasher` take in all that the tree is, numbers included.
    pub(super) fn hash_into(&self, hasher: &mut Hasher) {
        for record in &self.inodes {
            let (kind, number) = match record.kind {
                Kind::Directory(start, _) => (0, start),
                Kind::File(index) => (1, index),
                Kind::Signature => (2, 0),
            };
            let numbers = [record.parent, kind, number, u32::from(record.name_len)];
            for number in numbers {
                hasher.update(&number.to_le_bytes());
            }
        }
        for child in &self.children {
            hasher.update(&child.to_le_bytes());
        }
        // Of lengths that are told above.
        hasher.update(self.names.as_bytes());
    }

    /// Inodes in the tree.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.inodes.len()
    }
}

/// Whether `name` could be added: it is no file and no directory, and no file is above it.
fn is_free(manifest: &Manifest, name: &FileName) -> bool {
    let path = name.as_str();
    let mut above = path.match_indices('/').map(|(end, _)| &path[..end]);
    manifest.file(path).is_none()
        && !manifest.lists_within(name)
        && above.all(|above| manifest.file(above).is_none())
}

fn index_of(len: usize) -> u32 {
    u32::try_from(len).expect("fewer than 2^32 inodes, and bytes in their names")
}

const fn ino_of(at: u32) -> Inode {
    Inode::new(at as u64 + Inode::ROOT.number())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use crate::reading::testing::{Memory, sign};

    fn tree(names: &[&str], signature: &str) -> Tree {
        let source = Memory::default();
        for name in names {
            source.put(name, name.as_bytes());
        }
        let manifest = sign(&source, Algorithm::Blake3, None, false);
        Tree::new(&manifest, FileName::new(signature).ok().as_ref())
    }

    fn find(tree: &Tree, path: &str) -> Option<Inode> {
        path.split('/')
            .try_fold(Inode::ROOT, |ino, name| tree.lookup(ino, OsStr::new(name)))
    }

    fn list(tree: &Tree, ino: Inode) -> Vec<String> {
        (0..)
            .map_while(|position| tree.entry(ino, position))
            .map(|(_, name)| name.to_owned())
            .collect()
    }

    #[test]
    fn holds_the_signed_names_and_nothing_else() {
        // Sorted as a whole, "a-b/x" and "a.txt" come between "a" and "a/x".
        let names = ["a-b/x", "a.txt", "a/x", "a/y/z", "b", "ü/ö"];
        let tree = tree(&names, "model.sig");
        for (index, name) in (0..).map(FileIndex::new).zip(&names) {
            let ino = find(&tree, name).unwrap();
            assert_eq!(tree.node(ino), Some(Node::File(index)), "{name}");
            assert_eq!(tree.of_file(index), Some(ino), "{name}");
            assert_eq!(tree.path(ino).as_deref(), Some(*name));
        }
        assert_eq!(
            list(&tree, Inode::ROOT),
            [".", "..", "a", "a-b", "a.txt", "b", "model.sig", "ü"]
        );
        assert_eq!(
            list(&tree, find(&tree, "a").unwrap()),
            [".", "..", "x", "y"]
        );
        for absent in ["c", "a/z", "a/y/z/w", "", "A"] {
            assert_eq!(find(&tree, absent), None, "{absent}");
        }
        assert_eq!(tree.of_file(FileIndex::new(names.len())), None);
        assert_eq!(tree.node(Inode::new(0)), None);
        assert_eq!(tree.path(Inode::ROOT).as_deref(), Some(""));
        assert_eq!(tree.node(Inode::new(tree.len() as u64 + 1)), None);
        // 6 files, the directories a, a-b, a/y and ü, the root, the signature.
        assert_eq!(tree.len(), 12);
    }

    #[test]
    fn dot_dot_leads_up() {
        let tree = tree(&["a/b/c"], "model.sig");
        let (a, b) = (find(&tree, "a").unwrap(), find(&tree, "a/b").unwrap());
        assert_eq!(tree.entry(b, 1), Some((a, "..")));
        assert_eq!(tree.entry(a, 1), Some((Inode::ROOT, "..")));
        assert_eq!(tree.entry(Inode::ROOT, 1), Some((Inode::ROOT, "..")));
    }

    #[test]
    fn the_signature_takes_no_signed_name() {
        let signature = |names: &[&str], name| {
            let tree = tree(names, name);
            find(&tree, name).and_then(|ino| tree.node(ino)) == Some(Node::Signature)
        };
        assert!(signature(&["a"], "model.sig"));
        assert!(signature(&["sub/a"], "sub/model.sig"));
        assert!(signature(&["a"], "new/model.sig"));
        assert!(!signature(&["model.sig", "a"], "model.sig"));
        assert!(!signature(&["model.sig/a"], "model.sig"), "a directory");
        assert!(!signature(&["a"], "a/model.sig"), "beneath a file");
    }
}
