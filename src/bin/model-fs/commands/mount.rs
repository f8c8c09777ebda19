//! `model-fs mount`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};

use indicatif::HumanBytes;
use model_fs::fs::Status;
use model_fs::kernel::{Lane, SessionEnd, Shutdown};
use model_fs::name::{Escaped, shell_word};
use model_fs::reading::Violation;
use model_fs::{Model, MountOptions, StatusHandle};

use crate::args::{ByteSize, LaneChoice, MountArgs, OnViolation};
use crate::background;
use crate::exit::{Exit, Failure};
use crate::index_store::warn_of_old_tables;
use crate::logging::{Detached, STATUS_TARGET};
use crate::pid_file::PidFile;
use crate::systemd::{self, Service};
use crate::{metrics, signed_model};

/// Violations that may wait for `--on-violation-exec`.
const MAX_WAITING_HOOKS: usize = 64;

pub(crate) fn run(
    args: MountArgs,
    is_background_child: bool,
    logging: &Detached,
) -> Result<ExitCode, Failure> {
    let mut options = MountOptions::new();
    for list in &args.options {
        options = options.option_list(list)?;
    }
    if args.allow_other {
        options = options.allow_other()?;
    }
    if let Some(threads) = args.threads {
        options = options.threads(threads);
    }
    options = options.lane(match args.lane {
        LaneChoice::Auto => Lane::Auto,
        LaneChoice::Fuse => Lane::Fuse,
        LaneChoice::Pages => Lane::Pages,
    });
    if !args.foreground && !is_background_child {
        return Ok(background::spawn()?);
    }
    let status = Arc::<OnceLock<StatusHandle>>::default();
    options = options.shutdown(signals(args.foreground, logging.clone(), &status)?);
    raise_descriptor_limit();
    // What can't be done is found before anything is mounted.
    let mut pid_file = args.pid_file.as_deref().map(PidFile::prepare).transpose()?;
    let metrics = metrics::Prepared::new(&args)?;

    let mut opening = signed_model::options(&args.model, &args.ignore, args.index_dir.as_deref());
    if let Some(bytes) = args.cache_size.map(ByteSize::bytes) {
        opening.cache_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    let found = signed_model::open(&args.model, args.trust, opening)?;
    let model = Model::new(found)?;
    model
        .table_store()
        .iter()
        .copied()
        .for_each(warn_of_old_tables);
    options = options.lockdown(args.on_violation == OnViolation::Lockdown);
    let (count, exec) = (
        metrics.count(),
        args.on_violation_exec.map(exec_hook).transpose()?,
    );
    options = options.on_violation(move |violation| {
        count(violation);
        if let Some(exec) = &exec {
            exec(violation);
        }
    });
    let (path, author) = (model.signed().location().path(), model.signed().signer());
    let mounted = model.mount(&args.mountpoint, options)?;
    let hidden = mounted.manifest().left_out().len();
    if hidden > 0 {
        tracing::warn!(
            files = hidden,
            "signed files are hidden, as --ignore-paths says"
        );
    }
    tell_what_is_hashed(path.as_ref(), &mounted.status());
    tracing::info!(
        model = %Escaped::path(path),
        mountpoint = %Escaped::path(mounted.mountpoint()),
        signer = %author,
        root_digest = %mounted.manifest().root_digest(),
        "mounted"
    );
    let handle = status.get_or_init(|| mounted.status_handle());
    if let Some(file) = &mut pid_file {
        file.write()?;
    }
    // Each ends when this function does, whatever the end of the mount is.
    let _metrics = metrics.start(handle.clone())?;
    let _service = if args.foreground {
        Service::start(handle.clone())?
    } else {
        None
    };
    if is_background_child {
        background::detach(logging)?;
    }
    match mounted.wait().map_err(anyhow::Error::new)? {
        SessionEnd::Unmounted | SessionEnd::Stopped(_) => Ok(Exit::Done.into()),
        SessionEnd::Aborted(_) => {
            Err(anyhow::anyhow!("files were still open when the mount ended").into())
        }
    }
}

/// Says what will keep the first readers waiting, and how to have it done before.
fn tell_what_is_hashed(model: &Path, status: &Status) {
    let to_hash = status.owner.as_ref().map(|owner| owner.to_hash);
    let to_hash = to_hash.unwrap_or_default();
    if to_hash.to_hash_files > 0 {
        tracing::warn!(
            files = to_hash.to_hash_files,
            bytes = %HumanBytes(to_hash.to_hash_bytes),
            "not proved on this host yet: each of these files is hashed as a whole before its \
             first byte is served; \"model-fs index {}\" does that beforehand",
            shell_word(model)
        );
    }
}

/// What signals do. SIGHUP has the log opened anew, and nothing about trust: whom to believe was
/// decided when the model was mounted.
fn signals(
    foreground: bool,
    log: Detached,
    status: &Arc<OnceLock<StatusHandle>>,
) -> Result<Shutdown, Failure> {
    let hang_up = move || {
        if foreground {
            systemd::reload(|| log.reopen());
        } else {
            log.reopen();
        }
    };
    let status = Arc::clone(status);
    let tell = move || {
        let told = status
            .get()
            .map(|mount| serde_json::to_string(&mount.status()));
        match told {
            Some(Ok(text)) => tracing::info!(target: STATUS_TARGET, status = %text, "status"),
            Some(Err(error)) => tracing::warn!(%error, "the status can't be told"),
            None => tracing::info!(target: STATUS_TARGET, "not mounted yet"),
        }
    };
    Ok(Shutdown::on_signals(hang_up, tell)?)
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
fn exec_hook(command: String) -> Result<impl Fn(&Violation) + Send + Sync, Failure> {
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
    Ok(move |violation: &Violation| {
        if sender.try_send(violation.clone()).is_err() {
            tracing::warn!("too many violations wait for their command; one is left out");
        }
    })
}
