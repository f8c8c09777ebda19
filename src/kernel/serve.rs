//! Serving a model: all that a mounted [`FileSystem`] needs, in one call.
//!
//! Guarantees: what the command line's `mount` has, a program that embeds this library has too:
//! tuned read-ahead, verified pages pushed into the kernel's cache where there is memory for them,
//! cached pages dropped upon a lockdown, a status that tells of the mount, and a source that never
//! reads through the mount that it serves. Doesn't: change anything of the process, such as its
//! limit for open files or its signal handlers.

use std::path::Path;
use std::sync::{Arc, Weak};

use super::control::{Address, Control};
use super::fuse::FuseAdaptor;
use super::handover::Keeping;
use super::memory_limit;
use super::mount_error::MountError;
use super::mountinfo::DeviceId;
use super::options::{Lane, MountOptions};
use super::page_cache::PageCache;
use super::pages::{self, Attempt, NoPages, NotStarted};
use super::session::MountSession;
use super::shutdown::Shutdown;
use crate::fs::{FileSystem, MountFacts, now};
use crate::manifest::FileIndex;
use crate::name::Escaped;
use crate::reading::{PageSink, Source, VerifiedBytes};

/// Hidden files named in a status, which is of limited size.
const HIDDEN_NAMED: usize = 8;

/// Mounts `fs` on `mountpoint` and serves it on threads of its own, until the session that is
/// returned is [waited for](MountSession::wait) or dropped. `options.source` is the model that the
/// status names.
///
/// Each open file takes a descriptor: a program that serves large models should raise its limit.
/// Reads that hang in the source outlast the session, unless
/// [`Reader::stop`](crate::reading::Reader::stop) ends all reading.
///
/// # Errors
/// [`MountError`]; then nothing is mounted.
pub fn serve(
    fs: &Arc<FileSystem>,
    mountpoint: &Path,
    options: &MountOptions,
    shutdown: Shutdown,
) -> Result<MountSession, MountError> {
    let session = serve_or_go_on(fs, mountpoint, options, shutdown, Keeping::No)?;
    session.show()?;
    Ok(session)
}

/// [`serve`], or going on with what another process served before. Where a dead mount is to be
/// replaced, that takes [`MountSession::show`].
///
/// # Errors
/// As for [`serve`].
pub fn serve_or_go_on(
    fs: &Arc<FileSystem>,
    mountpoint: &Path,
    options: &MountOptions,
    shutdown: Shutdown,
    keeping: Keeping,
) -> Result<MountSession, MountError> {
    let is_kept = !matches!(keeping, Keeping::No);
    let (keeping, since) = keeping.since();
    let (mut session, not_pages) = start(fs, mountpoint, options, shutdown, keeping)?;
    if let Some(command) = session.tuning().command() {
        tracing::info!(command, "an administrator may raise read-ahead");
    }
    let mut not_pushed = None;
    if let Some(pages) = session.page_cache() {
        // A process that is killed while it pushes a page can't end before whoever asks for the
        // page has an answer, which only the next process gives.
        not_pushed = if is_kept {
            Some("the mount is kept alive".to_owned())
        } else {
            push_pages(fs, pages.clone())
        };
        fs.on_lockdown(move |ino| pages.drop_pages(ino))
            .map_err(MountError::Thread)?;
    }
    let known = MountFacts {
        since,
        not_pushed,
        not_pages: not_pages.map(|reason| reason.with_remedy()),
        ..MountFacts::new(session.mountpoint(), &options.source)
    };
    describe(fs, &session, options, known);
    tell_status(fs, &mut session)?;
    Ok(session)
}

/// Has the status tell of the mount, beside what is `known` of it.
fn describe(fs: &FileSystem, session: &MountSession, options: &MountOptions, known: MountFacts) {
    let hidden = fs.reader().manifest().left_out();
    let facts = MountFacts {
        process_since: now(),
        hidden_signed_files: hidden.len(),
        hidden_signed_names: hidden
            .iter()
            .take(HIDDEN_NAMED)
            .map(|name| Escaped::bounded(name.as_str()).to_string())
            .collect(),
        threads: options.threads.get(),
        pushes: session.page_cache().is_some() && known.not_pushed.is_none(),
        lane: if session.is_pages() { "pages" } else { "fuse" }.to_owned(),
        ..known
    };
    let tuned = session.tuning().clone();
    fs.set_mount_facts(move || {
        let tuning = tuned.now();
        MountFacts {
            read_ahead_kib: tuning.read_ahead_kib,
            not_tuned: tuning.shortfall(),
            tuning_command: tuning.command(),
            ..facts.clone()
        }
    });
}

/// Has the status told on a socket as well: in FUSE, where there is a folder for it.
fn tell_status(fs: &Arc<FileSystem>, session: &mut MountSession) -> Result<(), MountError> {
    let stands = session.stands();
    if let Some(control) = session.control() {
        return control.tell(fs, stands).map_err(MountError::Thread);
    }
    let user = rustix::process::getuid().as_raw();
    let control = Control::new(Address::fuse(session.device(), user));
    match control.and_then(|control| control.tell(fs, stands).map(|()| control)) {
        Ok(control) => *session.control() = Some(control),
        Err(error) => tracing::debug!(%error, "no control socket: the status is an attribute only"),
    }
    Ok(())
}

/// Mounts in the lane that is wanted, or in FUSE, and then says why.
fn start(
    fs: &Arc<FileSystem>,
    mountpoint: &Path,
    options: &MountOptions,
    shutdown: Shutdown,
    keeping: Keeping,
) -> Result<(MountSession, Option<NoPages>), MountError> {
    // What is there already is known before anything is read.
    let known = keeping.device();
    if let Some(device) = known {
        never_enter(fs, device);
    }
    let (mut keeper, taken_over) = match keeping {
        Keeping::No => (None, None),
        Keeping::Kept(keeper) => (Some(keeper), None),
        Keeping::TakeOver(handover, keeper) if handover.facts.is_pages() => {
            let started = pages::go_on(fs, options, &shutdown, *handover, keeper)?;
            return Ok((MountSession::of_pages(started, options, shutdown), None));
        }
        Keeping::TakeOver(handover, keeper) => (Some(keeper), Some(handover)),
    };
    let attempt = Attempt {
        fs,
        mountpoint,
        options,
        shutdown: &shutdown,
    };
    let not_pages = match &taken_over {
        Some(_) if options.lane == Lane::Pages => NoPages::GoesOn,
        Some(_) => NoPages::NotAsked,
        None => match pages::start(attempt, &mut keeper) {
            Ok(started) => return Ok((MountSession::of_pages(started, options, shutdown), None)),
            Err(NotStarted::Mount(error)) => return Err(error),
            Err(NotStarted::Lane(reason)) => reason,
        },
    };
    if options.lane == Lane::Pages {
        tracing::warn!(reason = %not_pages.with_remedy(), "the model is shown through FUSE");
    }
    let adaptor = FuseAdaptor::new(Arc::clone(fs), options);
    let (keeping, shown) = match (keeper, taken_over) {
        (None, _) => (Keeping::No, String::new()),
        (Some(keeper), None) => (Keeping::Kept(keeper), fs.shown_digest()),
        (Some(keeper), Some(handover)) => (Keeping::TakeOver(handover, keeper), fs.shown_digest()),
    };
    let sources = || fs.reader().sources();
    if known.is_none() {
        sources().for_each(Source::expect_mount);
    }
    let session =
        MountSession::start_or_go_on(adaptor, mountpoint, options, shutdown, keeping, shown)
            .inspect_err(|_| {
                if known.is_none() {
                    sources().for_each(Source::mount_failed);
                }
            })?;
    if known.is_none() {
        never_enter(fs, session.device());
    }
    Ok((session, Some(not_pages)))
}

/// Keeps the sources out of a mount.
fn never_enter(fs: &FileSystem, device: DeviceId) {
    let device = (device.major, device.minor);
    fs.reader().sources().for_each(|it| it.never_enter(device));
}

/// Has verified pages pushed into the kernel's page cache, or says why not.
fn push_pages(fs: &Arc<FileSystem>, cache: PageCache) -> Option<String> {
    if let Err(no_room) = memory_limit::room_for(|| fs.claimed_bytes()) {
        return Some(no_room.to_string());
    }
    let pages = PushedPages {
        fs: Arc::downgrade(fs),
        cache,
    };
    fs.reader().push_into(Arc::new(pages));
    None
}

/// Where pages go that are verified ahead of readers.
struct PushedPages {
    /// Not held: the file system has the reader that has this.
    fs: Weak<FileSystem>,
    cache: PageCache,
}

impl PageSink for PushedPages {
    /// Never after a lockdown, and only for an inode that has the proved length.
    fn push(&self, file: FileIndex, offset: u64, bytes: &VerifiedBytes) -> bool {
        let pages = self.fs.upgrade().and_then(|fs| fs.pages_to_fill(file));
        pages.is_some_and(|(ino, _owed)| self.cache.push(ino, offset, bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::digest::Algorithm;
    use crate::fs::FsOptions;
    use crate::name::FileName;
    use crate::reading::testing::{Memory, sign};
    use crate::reading::{Reader, ReaderOptions, Scan, SourceError, SourceFile};

    /// A source that notes what it is told.
    #[derive(Default)]
    struct Told(Mutex<Vec<&'static str>>);

    impl Source for Told {
        fn open(&self, _: &FileName) -> Result<Arc<dyn SourceFile>, SourceError> {
            Err(SourceError::Missing)
        }

        fn expect_mount(&self) {
            self.0.lock().unwrap().push("expected");
        }

        fn never_enter(&self, _: (u32, u32)) {
            self.0.lock().unwrap().push("mounted");
        }

        fn mount_failed(&self) {
            self.0.lock().unwrap().push("failed");
        }
    }

    #[test]
    fn a_mount_that_fails_is_taken_back_from_the_source() {
        let model = Memory::default();
        model.put("a", b"a");
        let manifest = sign(&model, Algorithm::Blake3, None, false);
        let told = Arc::<Told>::default();
        let source = Arc::clone(&told) as Arc<dyn Source>;
        let reader = Reader::new(manifest, source, None, ReaderOptions::default());
        let options = FsOptions {
            workers: 1,
            lockdown: false,
            on_violation: None,
            signature: None,
            earlier_processes: 0,
        };
        let fs = Arc::new(FileSystem::new(reader, &Scan::default(), options).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let options = MountOptions::new(folder.path().join("model"));
        let served = serve(&fs, &missing, &options, Shutdown::new());
        assert!(matches!(served, Err(MountError::Missing { .. })));
        assert_eq!(*told.0.lock().unwrap(), ["expected", "failed"]);
        let status = fs.status(crate::fs::Audience::Owner);
        assert!(status.owner.unwrap().mount.is_none());
    }
}
