//! `model-fs mount`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use indicatif::HumanBytes;
use model_fs::fs::Status;
use model_fs::kernel::{Lane, SessionEnd, Shutdown};
use model_fs::name::{Escaped, shell_word};
use model_fs::{Model, MountOptions, StatusHandle};

use crate::args::{ByteSize, LaneChoice, MountArgs, OnViolation};
use crate::background;
use crate::exit::{Exit, Failure};
use crate::hook::Hook;
use crate::index_store::warn_of_old_tables;
use crate::keeper;
use crate::logging::{Detached, STATUS_TARGET};
use crate::pid_file::PidFile;
use crate::systemd::{self, Service};
use crate::{hints, metrics, signals, signed_model};

pub(crate) fn run(
    args: MountArgs,
    is_background_child: bool,
    logging: &Detached,
) -> Result<ExitCode, Failure> {
    let options = mount_options(&args)?;
    let hook = args.on_violation_exec.as_deref().map(Hook::new);
    let hook = hook.transpose()?;
    let served = keeper::of_this_process()?;
    if served.is_none() && !args.foreground && !is_background_child {
        return background::spawn(&args.home);
    }
    if args.keep_alive && args.on_violation == OnViolation::Lockdown {
        let error = anyhow::anyhow!("--keep-alive and --on-violation lockdown exclude each other");
        let hint = "after a lockdown, no other process may go on with what the kernel has cached";
        return Err(Failure::new(Exit::Usage, error).with_hint(hint.to_owned()));
    }
    if args.keep_alive && served.is_none() {
        keeper::check_arguments(std::env::args_os())?;
        return keeper::run(&args, is_background_child, logging);
    }
    let told = served.as_ref();
    serve(args, options, hook, told, is_background_child, logging).inspect_err(|failure| {
        if let Some(served) = told {
            served.failed(&failure.error);
        }
    })
}

/// Mounts, and serves until the end.
fn serve(
    args: MountArgs,
    mut options: MountOptions,
    hook: Option<Hook>,
    served: Option<&keeper::Served>,
    is_background_child: bool,
    logging: &Detached,
) -> Result<ExitCode, Failure> {
    raise_descriptor_limit();
    // What can't be done is found before anything is mounted.
    let pid_file = args.pid_file.as_deref().filter(|_| served.is_none());
    let mut pid_file = pid_file.map(PidFile::prepare).transpose()?;
    let (metrics_file, port) = (args.metrics_file.as_deref(), args.metrics_listen);
    let prepare = || metrics::Prepared::new(metrics_file, port);
    // A server that goes on with a mount gets the port when the one before has ended.
    let metrics = served.is_none().then(prepare).transpose()?;

    let mut opening = signed_model::options(&args.model, &args.ignore, args.index_dir.as_deref());
    if let Some(bytes) = args.cache_size.map(ByteSize::bytes) {
        opening.cache_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    opening.repair_from.clone_from(&args.repair_from);
    let found = signed_model::open(&args.model, args.trust, opening)?;
    // Not before: while nothing is made or mounted, a signal ends this process at once.
    let status = Arc::<OnceLock<StatusHandle>>::default();
    options = options.shutdown(answers(args.foreground, logging.clone(), &status)?);
    let model = Model::new(found)?;
    model
        .table_store()
        .iter()
        .copied()
        .for_each(warn_of_old_tables);
    let (path, author) = (model.signed().location().path(), model.signed().signer());
    let mut served_as = None;
    if let Some(served) = served {
        let (keeping, kept) = served.prepared()?;
        options = options.keeping(keeping, kept.clone());
        served_as = Some((served, kept));
    }
    let metrics = metrics.map_or_else(prepare, Ok)?;
    let (count, exec) = (metrics.count(), hook.map(Hook::start).transpose()?);
    options = options.on_violation(move |violation| {
        count(violation);
        if let Some(exec) = &exec {
            exec(violation);
        }
    });
    let mounted = model.mount(&args.mountpoint, options.show_later())?;
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
    // In the place of a dead mount: after all that may fail.
    mounted.show()?;
    let _service = if args.foreground {
        Service::start(handle.clone())?
    } else {
        None
    };
    if is_background_child {
        background::detach(logging)?;
    }
    if let Some((served, kept)) = served_as {
        served.serving(handle, kept)?;
        if keeper::is_kept_in_background() {
            background::leave(logging)?;
        }
    }
    match mounted.wait().map_err(anyhow::Error::new)? {
        SessionEnd::Unmounted | SessionEnd::Stopped(_) => Ok(Exit::Done.into()),
        SessionEnd::Aborted(_) => {
            Err(anyhow::anyhow!("files were still open when the mount ended").into())
        }
    }
}

/// What the flags say that the library does by itself.
fn mount_options(args: &MountArgs) -> Result<MountOptions, Failure> {
    let mut options = MountOptions::new()
        .prefetch(args.prefetch.into())
        .lockdown(args.on_violation == OnViolation::Lockdown);
    for list in &args.options {
        options = options.option_list(list)?;
    }
    if args.allow_other {
        options = options.allow_other()?;
    }
    if let Some(threads) = args.threads {
        options = options.threads(threads);
    }
    Ok(options.lane(match args.lane {
        LaneChoice::Auto => Lane::Auto,
        LaneChoice::Fuse => Lane::Fuse,
        LaneChoice::Pages => Lane::Pages,
    }))
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
fn answers(
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
    let shutdown = Shutdown::on_signals(hang_up, tell);
    let answered = shutdown.and_then(|shutdown| signals::answer().map(|()| shutdown));
    answered.map_err(|error| {
        let hint = hints::start(&error);
        let error = anyhow::Error::new(error).context("cannot listen for signals");
        Failure::from(error).with_hint(hint)
    })
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
