//! Open files: opening, reading, closing.
//!
//! Guarantees: a handle is given out only once the length of its file is proved, and only of the
//! inode that has that length; what is read is verified bytes, or an error. A handle that an
//! earlier process gave out is opened anew when it is first read, under the same conditions.
//! Doesn't: bound how many are open at a time; the programs that open them have limits of their
//! own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::errno::FsError;
use super::file_system::FileSystem;
use super::handle::{Handle, Opened};
use super::inode::Inode;
use super::tree::Node;
use crate::reading::{OpenFile, VerifiedBytes};
use crate::sync::{read, write};

impl FileSystem {
    /// Opens a file for reading, and hands `then` its handle once its length is proved. That may
    /// take a full pass, which goes on as long as `wanted` says so; meanwhile everything else
    /// works.
    ///
    /// An inode that was shown with another length than the proved one is never opened: its error
    /// is [`FsError::Stale`], upon which the kernel looks the name up again and finds another inode
    /// (`open_last_lookups`, `LOOKUP_REVAL`).
    pub fn open(
        self: &Arc<Self>,
        ino: Inode,
        wanted: impl Fn() -> bool + Send + 'static,
        then: impl FnOnce(Result<Handle, FsError>) + Send + 'static,
    ) {
        let fs = Arc::clone(self);
        self.opened(ino, wanted, move |opened| {
            then(opened.map(|opened| fs.new_handle(opened)));
        });
    }

    /// What a handle of `ino` stands for.
    fn opened(
        self: &Arc<Self>,
        ino: Inode,
        wanted: impl Fn() -> bool + Send + 'static,
        then: impl FnOnce(Result<Opened, FsError>) + Send + 'static,
    ) {
        let index = match self.node(ino) {
            _ if self.lockdown.is_met() => return then(self.counted(Err(FsError::LockedDown))),
            Err(error) => return then(Err(error)),
            Ok(Node::Directory(_)) => return then(Err(FsError::IsADirectory)),
            Ok(Node::Signature) => return then(Ok(Opened::Signature)),
            Ok(Node::File(index)) => index,
        };
        let fs = Arc::clone(self);
        self.workers.run(index.number(), move || {
            let reader = Arc::clone(&fs.reader);
            reader.open_while(index, wanted, move |opened| {
                let opened = fs.counted(opened.map_err(FsError::from));
                then(opened.and_then(|file| {
                    if !fs.has_proved_length(ino, index) {
                        return Err(FsError::Stale);
                    }
                    Ok(Opened::Model(ino, file))
                }));
            });
        });
    }

    fn new_handle(&self, opened: Opened) -> Handle {
        let handle = Handle::new(self.next_handle.fetch_add(1, Ordering::Relaxed));
        write(&self.handles).insert(handle, opened);
        handle
    }

    /// Reads from an open file, fewer bytes than asked for only at its end. At once if nothing
    /// has to be waited for.
    ///
    /// `ino` is what the handle was opened for, perhaps by an earlier process.
    pub fn read(self: &Arc<Self>, ino: Inode, handle: Handle, offset: u64, len: usize) -> Read {
        let opened = read(&self.handles).get(&handle).cloned();
        let from = match opened {
            _ if self.lockdown.is_met() => {
                return Read::Done(self.counted(Err(FsError::LockedDown)));
            }
            None if handle.is_earlier_than(self.own_handle()) => Origin::Earlier(ino, handle),
            None => return Read::Done(Err(FsError::BadHandle)),
            Some(Opened::Signature) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                return Read::Done(Ok(self.signature.slice(start..start.saturating_add(len))));
            }
            // The numbers of handles say nothing by themselves.
            Some(Opened::Model(opened, _)) if opened != ino => {
                return Read::Done(Err(FsError::BadHandle));
            }
            Some(Opened::Model(_, file)) => match file.read_now(offset, len) {
                Some(bytes) => return Read::Done(Ok(bytes)),
                None => Origin::Open(file),
            },
        };
        Read::Waits(PendingRead {
            fs: Arc::clone(self),
            from,
            offset,
            len,
        })
    }

    /// A handle of this process.
    fn own_handle(&self) -> Handle {
        Handle::new(self.next_handle.load(Ordering::Relaxed))
    }

    /// Closes a handle.
    pub fn release(&self, handle: Handle) {
        write(&self.handles).remove(&handle);
    }
}

/// How a read goes.
#[derive(Debug)]
pub enum Read {
    /// This is the answer.
    Done(Result<VerifiedBytes, FsError>),
    /// It has to be waited for.
    Waits(PendingRead),
}

/// A read that has to be waited for.
pub struct PendingRead {
    fs: Arc<FileSystem>,
    from: Origin,
    offset: u64,
    len: usize,
}

/// What is read.
#[derive(Debug)]
enum Origin {
    Open(Arc<OpenFile>),
    /// What an earlier process had opened under this handle.
    Earlier(Inode, Handle),
}

impl PendingRead {
    /// Hands `then` the bytes, on another thread. `wanted` tells whether they still are, where a
    /// full pass comes first.
    pub fn wait(
        self,
        wanted: impl Fn() -> bool + Send + 'static,
        then: impl FnOnce(Result<VerifiedBytes, FsError>) + Send + 'static,
    ) {
        let Self {
            fs,
            from,
            offset,
            len,
        } = self;
        match from {
            Origin::Open(file) => fs.read_file(&file, offset, len, then),
            Origin::Earlier(ino, handle) => {
                let reading = Arc::clone(&fs);
                fs.opened(ino, wanted, move |opened| {
                    let read = opened.map(|opened| {
                        write(&reading.handles).entry(handle).or_insert(opened);
                        reading.read(ino, handle, offset, len)
                    });
                    match read {
                        Ok(Read::Done(read)) => then(read),
                        Ok(Read::Waits(PendingRead { from, .. })) => match from {
                            Origin::Open(file) => reading.read_file(&file, offset, len, then),
                            // Closed meanwhile.
                            Origin::Earlier(..) => then(Err(FsError::BadHandle)),
                        },
                        Err(error) => then(Err(error)),
                    }
                });
            }
        }
    }
}

impl FileSystem {
    /// Reads from a file on another thread.
    fn read_file(
        self: &Arc<Self>,
        file: &Arc<OpenFile>,
        offset: u64,
        len: usize,
        then: impl FnOnce(Result<VerifiedBytes, FsError>) + Send + 'static,
    ) {
        let Some(owed) = self.lockdown.owe(file.index()) else {
            return then(self.counted(Err(FsError::LockedDown)));
        };
        let (fs, file) = (Arc::clone(self), Arc::clone(file));
        self.workers.run(file.index().number(), move || {
            then(fs.counted(file.read(offset, len).map_err(FsError::from)));
            drop(owed);
        });
    }
}

impl std::fmt::Debug for PendingRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingRead")
            .field("from", &self.from)
            .field("offset", &self.offset)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
