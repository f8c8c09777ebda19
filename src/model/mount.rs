//! Mounting a model.
//!
//! Guarantees: what the program's `mount` does is done here: tuned read-ahead, pushed pages, a
//! status, and an end that leaves nothing mounted. Doesn't: change the process, as its limit for
//! open files.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use super::Model;
use crate::fs::{
    Audience, FileSystem, FsOptions, Kept, Prefetch, PrefetchProgress, Status, ViolationHook,
};
use crate::kernel::{
    self, Keeping, Lane, MountError, MountSession, OptionError, SessionEnd, SessionError, Shutdown,
    serve_or_go_on,
};
use crate::manifest::VerifiedManifest;
use crate::reading::{
    Reader, ReaderOptions, ReaderStats, Retain, VerifyTimes, Violation, ViolationLog,
};

/// Threads that read and verify. More than cores: most wait for the source.
const WORKERS: usize = 16;

/// How a model is mounted. The defaults are those of the program's `mount`: for its user only, and
/// a violation fails the reads that meet it.
///
/// ```
/// use model_fs::MountOptions;
/// let options = MountOptions::new().lockdown(true).option_list("noexec")?;
/// # Ok::<(), model_fs::kernel::OptionError>(())
/// ```
#[non_exhaustive]
pub struct MountOptions {
    kernel: kernel::MountOptions,
    lockdown: bool,
    on_violation: Option<ViolationHook>,
    shutdown: Option<Shutdown>,
    prefetch: Prefetch,
    keeping: Keeping,
    kept: Option<Kept>,
    show_later: bool,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            // The model's path replaces it.
            kernel: kernel::MountOptions::new(""),
            lockdown: false,
            on_violation: None,
            shutdown: None,
            prefetch: Prefetch::None,
            keeping: Keeping::No,
            kept: None,
            show_later: false,
        }
    }
}

impl MountOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in options as mount(8) has them after `-o`, separated by commas.
    ///
    /// # Errors
    /// [`OptionError`] for one that doesn't exist, or that a verified mount can't have.
    pub fn option_list(mut self, list: &str) -> Result<Self, OptionError> {
        self.kernel.parse(list)?;
        Ok(self)
    }

    /// Lets other users in.
    ///
    /// # Errors
    /// [`OptionError`] where another option says otherwise.
    pub fn allow_other(mut self) -> Result<Self, OptionError> {
        self.kernel.allow_other()?;
        Ok(self)
    }

    /// Threads that take in requests of the kernel.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.kernel.threads = threads;
        self
    }

    /// By which file system of the kernel the model is shown.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.kernel.lane = lane;
        self
    }

    /// Whether the first violation ends all reading.
    #[must_use]
    pub fn lockdown(mut self, lockdown: bool) -> Self {
        self.lockdown = lockdown;
        self
    }

    /// Has `hook` called for each new violation, on a thread that is serving a read: it must not
    /// wait.
    #[must_use]
    pub fn on_violation(mut self, hook: impl Fn(&Violation) + Send + Sync + 'static) -> Self {
        self.on_violation = Some(Box::new(hook));
        self
    }

    /// What is done in the background once it is mounted, while nothing else has to be.
    #[must_use]
    pub fn prefetch(mut self, what: Prefetch) -> Self {
        self.prefetch = what;
        self
    }

    /// Ends the mount when this says so, as signals do for the program.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = Some(shutdown);
        self
    }

    /// Has a dead mount on the mountpoint replaced by [`Mounted::show`] alone, and not before.
    #[must_use]
    pub fn show_later(mut self) -> Self {
        self.show_later = true;
        self
    }

    /// Whether another process is to go on with the mount when this one ends, or this one goes on
    /// with what another served.
    /// `kept` is what the status tells of it from the start.
    #[must_use]
    pub fn keeping(mut self, keeping: Keeping, kept: Kept) -> Self {
        self.keeping = keeping;
        self.kept = Some(kept);
        self
    }
}

/// A mounted model. Dropping it unmounts.
#[derive(Debug)]
pub struct Mounted {
    session: MountSession,
    reader: StopReading,
    status: StatusHandle,
}

/// Tells the status of a mount, from any thread, also once it has ended. It keeps what the mount
/// has in memory.
#[derive(Debug, Clone)]
pub struct StatusHandle(Arc<FileSystem>);

impl StatusHandle {
    /// What the mount did and met, as its owner may know it.
    pub fn status(&self) -> Status {
        self.0.status(Audience::Owner)
    }

    /// How long the chunks verified for reads so far took.
    pub fn verify_times(&self) -> VerifyTimes {
        self.0.reader().verify_times()
    }

    /// Adds who keeps the mount alive, and how that goes. The last call counts.
    pub fn set_kept(&self, kept: Kept) {
        self.0.set_kept(kept);
    }
}

/// Ends reading when the mount has ended, however that was: what hangs in a source is let go.
#[derive(Debug)]
struct StopReading(Arc<Reader>);

impl Drop for StopReading {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Model {
    /// Mounts the model on a directory, and serves it on threads of its own.
    ///
    /// # Errors
    /// [`MountError`]; then nothing is mounted.
    pub fn mount(
        self,
        mountpoint: impl AsRef<Path>,
        options: MountOptions,
    ) -> Result<Mounted, MountError> {
        let MountOptions {
            mut kernel,
            lockdown,
            on_violation,
            shutdown,
            prefetch,
            keeping,
            kept,
            show_later,
        } = options;
        let reader = self.new_reader(ReaderOptions {
            retain: Retain::Partial,
            ..self.signed.options.reader()
        });
        let location = self.signed.location();
        let earlier_processes = keeping.earlier_processes();
        let fs = FileSystem::new(
            Arc::clone(&reader),
            self.signed.scan(),
            FsOptions {
                workers: WORKERS,
                lockdown,
                on_violation,
                signature: location.mounted_signature_name(),
                earlier_processes,
            },
        );
        let fs = Arc::new(fs.map_err(MountError::Thread)?);
        fs.set_to_hash(self.to_hash());
        fs.set_trust(self.signed.trust_decision());
        if let Some(kept) = kept {
            fs.set_kept(kept);
        }
        // A model that is a file is that file alone: the mountpoint may lie beside it.
        kernel.source = location.path();
        // The scan is as large as the model has files, and isn't needed any more.
        drop(self);
        let reader = StopReading(reader);
        let shutdown = shutdown.unwrap_or_default();
        let session = serve_or_go_on(&fs, mountpoint.as_ref(), &kernel, shutdown, keeping)?;
        if prefetch != Prefetch::None {
            let files = reader.0.manifest().files().len();
            let progress = Arc::new(PrefetchProgress::new(prefetch, files));
            fs.set_prefetch(Arc::clone(&progress));
            super::prefetch::start(Arc::clone(&reader.0), progress).map_err(MountError::Thread)?;
        }
        if !show_later {
            session.show()?;
        }
        Ok(Mounted {
            session,
            reader,
            status: StatusHandle(fs),
        })
    }
}

impl Mounted {
    /// Where it is mounted: absolute, without links.
    pub fn mountpoint(&self) -> &Path {
        self.session.mountpoint()
    }

    /// Takes the place of the dead mount that is on the mountpoint, if one is.
    ///
    /// # Errors
    /// [`MountError`]; then the dead mount stays.
    pub fn show(&self) -> Result<(), MountError> {
        self.session.show()
    }

    /// The kernel's side of it.
    pub fn session(&self) -> &MountSession {
        &self.session
    }

    /// What was signed, and by whom.
    pub fn manifest(&self) -> &VerifiedManifest {
        self.reader.0.manifest()
    }

    /// What the mount did and met so far.
    pub fn status(&self) -> Status {
        self.status.status()
    }

    /// A way to the status, for as long as it is of interest.
    pub fn status_handle(&self) -> StatusHandle {
        self.status.clone()
    }

    /// What was done so far.
    pub fn stats(&self) -> ReaderStats {
        self.reader.0.stats()
    }

    /// The violations met so far.
    pub fn violations(&self) -> &ViolationLog {
        self.reader.0.violations()
    }

    /// Waits until the mount is taken away, or ended by its [`Shutdown`].
    ///
    /// # Errors
    /// [`SessionError`] if the connection to the kernel broke.
    pub fn wait(self) -> Result<SessionEnd, SessionError> {
        self.session.wait()
    }
}
