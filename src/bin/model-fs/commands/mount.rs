//! `model-fs mount`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use model_fs::fs::{FileSystem, FsOptions, MountFacts, ViolationHook};
use model_fs::kernel::options::Access;
use model_fs::kernel::{FuseAdaptor, MountOptions, MountSession, SessionEnd, Shutdown, page_cache};
use model_fs::name::Escaped;
use model_fs::reading::{Reader, ReaderOptions, Retain, Source, Violation};

use super::signed_model::{SignedModel, open_store};
use crate::background;
use crate::cli::{MountArgs, OnViolation};
use crate::exit::{Exit, Failure};
use crate::logging::Detached;
use crate::size::ByteSize;

/// Memory for verified chunks unless `--cache-size` says otherwise.
pub(crate) const DEFAULT_CACHE: usize = 256 << 20;

/// Threads that read and verify. More than cores: most wait for the source.
pub(crate) const WORKERS: usize = 16;

/// Violations that may wait for `--on-violation-exec`.
const MAX_WAITING_HOOKS: usize = 64;

pub(crate) fn run(
    args: MountArgs,
    is_background_child: bool,
    logging: &Detached,
) -> Result<ExitCode, Failure> {
    let mut options = MountOptions::new(&args.model.model);
    for list in &args.options {
        options.parse(list)?;
    }
    if args.allow_other {
        options.allow_other()?;
    }
    if let Some(threads) = args.threads {
        options.threads = threads;
    }
    if !args.foreground && !is_background_child {
        return Ok(background::spawn()?);
    }
    let log = logging.clone();
    let shutdown = Shutdown::on_signals(move || log.reopen())?;
    raise_descriptor_limit();

    let model = SignedModel::open(&args.model, &args.ignore, args.trust)?;
    model.require_names()?;
    let store = open_store(args.index_dir.as_deref(), &model.location)?;
    let cache = args.cache_size.map(ByteSize::bytes);
    let reader = Reader::new(
        Arc::clone(&model.manifest),
        Arc::clone(&model.directory) as Arc<dyn Source>,
        store,
        ReaderOptions {
            cache_bytes: cache.map_or(DEFAULT_CACHE, |bytes| {
                usize::try_from(bytes).unwrap_or(usize::MAX)
            }),
            retain: Retain::Partial,
            ..ReaderOptions::default()
        },
    );
    let fs = FileSystem::new(
        Arc::clone(&reader),
        &model.scan,
        FsOptions {
            workers: WORKERS,
            lockdown: args.on_violation == OnViolation::Lockdown,
            on_violation: args.on_violation_exec.map(exec_hook).transpose()?,
            signature: model.location.mounted_signature_name(),
        },
    )?;
    let fs = Arc::new(fs);
    // A model that is a file is that file alone: the mountpoint may lie beside it.
    options.source = model.location.path();
    model.directory.expect_mount();
    let mut adaptor = FuseAdaptor::new(Arc::clone(&fs));
    if options.access == Access::OwnerAndRoot {
        adaptor = adaptor.asked_each_time();
    }
    let session = MountSession::start(adaptor, &args.mountpoint, &options, shutdown)?;
    let device = session.device();
    model.directory.never_enter((device.major, device.minor));
    if let Some(command) = session.tuning().command() {
        tracing::info!(command, "an administrator may raise read-ahead");
    }
    let not_pushed = push_pages(&fs, &session);
    let pages = session.page_cache();
    fs.on_lockdown(move |ino| pages.drop_pages(ino))?;
    let hidden = model.manifest.left_out().len();
    fs.set_mount_facts(MountFacts {
        hidden_signed_files: hidden,
        hidden_signed_names: model.hidden_names(),
        not_tuned: session.tuning().shortfall(),
        tuning_command: session.tuning().command(),
        not_pushed,
        ..MountFacts::new(session.mountpoint(), &model.location.path())
    });
    if hidden > 0 {
        tracing::warn!(
            files = hidden,
            "signed files are hidden, as --ignore-paths says"
        );
    }
    tracing::info!(
        model = %Escaped::path(model.location.path()),
        mountpoint = %Escaped::path(session.mountpoint()),
        signer = %model.signer(),
        root_digest = %model.manifest.root_digest(),
        "mounted"
    );
    // The scan is as large as the model has files, and nobody needs it any more.
    drop(model);
    if is_background_child {
        background::detach(logging)?;
    }
    let end = session.wait();
    reader.stop();
    match end.map_err(anyhow::Error::new)? {
        SessionEnd::Unmounted | SessionEnd::Stopped(_) => Ok(Exit::Done.into()),
        SessionEnd::Aborted(_) => {
            Err(anyhow::anyhow!("files were still open when the mount ended").into())
        }
    }
}

/// Has verified pages pushed into the kernel's page cache, or says why not.
fn push_pages(fs: &Arc<FileSystem>, session: &MountSession) -> Option<String> {
    match page_cache::room_for(|| fs.claimed_bytes()) {
        Ok(()) => {
            let pages = session.page_cache();
            fs.push_into(move |ino, offset, bytes| pages.store(ino, offset, bytes));
            None
        }
        Err(no_room) => Some(no_room.to_string()),
    }
}

/// Each open file takes a descriptor, and the usual soft limit is 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit for open files stays as it is");
    }
}

/// Runs a shell command for each new violation, one at a time.
fn exec_hook(command: String) -> Result<ViolationHook, Failure> {
    let (sender, receiver) = sync_channel::<Violation>(MAX_WAITING_HOOKS);
    std::thread::Builder::new()
        .name("on-violation".to_owned())
        .spawn(move || {
            for violation in receiver {
                let status = std::process::Command::new("/bin/sh")
                    .args(["-c", &command])
                    // Escaped as everywhere: a name is the adversary's.
                    .env("MODEL_FS_FILE", violation.file.to_string())
                    .env("MODEL_FS_START", violation.range.start.to_string())
                    .env("MODEL_FS_END", violation.range.end.to_string())
                    .env("MODEL_FS_MESSAGE", violation.to_string())
                    .stdin(std::process::Stdio::null())
                    .stdout(std::process::Stdio::null())
                    .status();
                match status {
                    Ok(status) if status.success() => {}
                    Ok(status) => tracing::warn!(%status, "the command for violations failed"),
                    Err(error) => tracing::warn!(%error, "the command for violations didn't start"),
                }
            }
        })?;
    Ok(Box::new(move |violation| {
        if sender.try_send(violation.clone()).is_err() {
            tracing::warn!("too many violations wait for their command; one is left out");
        }
    }))
}
