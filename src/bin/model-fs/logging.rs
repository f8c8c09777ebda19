//! Where events of the library go: stderr, a file, or the system log.
//!
//! Guarantees: a process in the background never writes to the terminal that it came from, and
//! logging never blocks on, or fails because of, a log that is gone. Doesn't: keep an event that
//! has nowhere to go.
//!
//! `MODEL_FS_LOG` chooses events as `RUST_LOG` does for other programs (`model_fs=debug`). It
//! changes what is shown, never what is checked.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;
use model_fs::name::Escaped;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::args::{LogArgs, LogFormat};
use crate::terminal;

/// The sockets of the system log: the usual name, and systemd's own, which that is a link to.
const SYSLOG: [&str; 2] = ["/dev/log", "/run/systemd/journal/dev-log"];

/// RFC 3164: the facility for daemons.
const FACILITY_DAEMON: u8 = 3;

/// Where events go that tell the status upon SIGUSR1.
pub(crate) const STATUS_TARGET: &str = "model_fs::status";

/// The variable that chooses events.
const FILTER_VARIABLE: &str = "MODEL_FS_LOG";

/// Sets logging up for this process.
///
/// `background`: the process will leave its terminal. Until [`Detached::switch`] is called events
/// go to stderr, from then on to the system log.
pub(crate) fn init(args: &LogArgs, background: bool) -> anyhow::Result<Detached> {
    let registry = tracing_subscriber::registry().with(filter(args.verbose));
    if let Some(path) = &args.log_file {
        let file = LogFile::open(path)?;
        let detached = Detached {
            file: Some(file.clone()),
            ..Detached::default()
        };
        registry
            .with(layer(args.log_format, file, false, false))
            .init();
        return Ok(detached);
    }
    let there = background && syslog(&SYSLOG).is_some();
    let detached = Detached {
        unheard: background && !there,
        ..Detached::default()
    };
    let syslog = there.then(|| {
        tracing_subscriber::fmt::layer()
            .fmt_fields(terminal::log_fields())
            .with_ansi(false)
            // The system log has its own time and level.
            .without_time()
            .with_level(false)
            .with_writer(Syslog {
                detached: detached.clone(),
            })
    });
    registry
        .with(layer(
            args.log_format,
            io::stderr,
            terminal::colours(),
            io::stderr().is_terminal() && args.verbose == 0,
        ))
        .with(syslog)
        .init();
    Ok(detached)
}

/// A log file, which can be opened anew after it was renamed.
#[derive(Debug, Clone)]
struct LogFile {
    /// Absolute: a process in the background has another directory.
    path: PathBuf,
    file: Arc<RwLock<Arc<File>>>,
}

impl LogFile {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot open log file {}", Escaped::path(path));
        let absolute = std::path::absolute(path).with_context(context)?;
        let file = append_to(&absolute).with_context(context)?;
        Ok(Self {
            path: absolute,
            file: Arc::new(RwLock::new(Arc::new(file))),
        })
    }

    /// Goes on in the file that has the name now; with the old one where that can't be.
    fn reopen(&self) -> io::Result<()> {
        let file = Arc::new(append_to(&self.path)?);
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Arc<File>;

    fn make_writer(&'a self) -> Arc<File> {
        Arc::clone(&self.file.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn filter(verbose: u8) -> EnvFilter {
    let default = match verbose {
        // The FUSE library has an error for each answer that nobody waited for any more: of a
        // program that was killed, or of a mount that was taken away at that moment.
        0 => "warn,fuser::reply=off",
        1 => "info,fuser::reply=off",
        // The FUSE library tells each request at that level.
        2 => "debug,fuser=info",
        _ => "trace",
    };
    let chosen = match std::env::var(FILTER_VARIABLE) {
        Ok(directives) if !directives.is_empty() => EnvFilter::builder().parse_lossy(directives),
        _ => EnvFilter::new(default),
    };
    // What was asked for is shown, whatever else is.
    match format!("{STATUS_TARGET}=info").parse() {
        Ok(directive) => chosen.add_directive(directive),
        Err(_) => chosen,
    }
}

/// `brief`: without the time and the module, for a person who has just called the program.
fn layer<S, W>(
    format: LogFormat,
    writer: W,
    colours: bool,
    brief: bool,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(writer);
    match format {
        LogFormat::Text if brief => layer
            .fmt_fields(terminal::log_fields())
            .without_time()
            .with_target(false)
            .boxed(),
        LogFormat::Text => layer.fmt_fields(terminal::log_fields()).boxed(),
        LogFormat::Json => layer.json().boxed(),
    }
}

/// The log of a process that may leave its terminal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Detached {
    gone: Arc<AtomicBool>,
    file: Option<LogFile>,
    /// Events have nowhere to go once the process is detached.
    unheard: bool,
}

impl Detached {
    /// Says so where events are lost from now on.
    pub(crate) fn warn_if_unheard(&self) {
        if self.unheard {
            tracing::warn!(
                "there is no system log here (/dev/log): violations will show in \
                 \"model-fs status\" only; with --log-file FILE they are kept"
            );
        }
    }

    /// From now on events go to the system log. (Those for stderr end in `/dev/null` by then.)
    pub(crate) fn switch(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Opens the log file anew, if there is one: its old name may be another file's now.
    pub(crate) fn reopen(&self) {
        let Some(file) = &self.file else {
            return;
        };
        match file.reopen() {
            Ok(()) => tracing::info!("log file opened anew"),
            Err(error) => tracing::error!(%error, "the log file can't be opened anew"),
        }
    }
}

/// The system log, silent until the process is detached.
struct Syslog {
    detached: Detached,
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = SyslogMessage;

    fn make_writer(&'a self) -> SyslogMessage {
        self.message(Level::INFO)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> SyslogMessage {
        self.message(*meta.level())
    }
}

impl Syslog {
    fn message(&self, level: Level) -> SyslogMessage {
        let enabled = self.detached.gone.load(Ordering::Relaxed);
        SyslogMessage(enabled.then(|| header(level, std::process::id())))
    }
}

/// The beginning of a message: priority and tag. The time is left to the receiver, as RFC 3164
/// (4.3.2) allows; local time would need the time zone database.
fn header(level: Level, pid: u32) -> Vec<u8> {
    let severity = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    };
    format!("<{}>model-fs[{pid}]: ", FACILITY_DAEMON * 8 + severity).into_bytes()
}

/// One message, sent when it is dropped; `None` goes nowhere.
struct SyslogMessage(Option<Vec<u8>>);

impl Write for SyslogMessage {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(message) = &mut self.0 {
            message.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SyslogMessage {
    fn drop(&mut self) {
        if let Some(message) = &self.0 {
            // A log that is gone or full must not stop a read.
            let _ = send(message.trim_ascii_end());
        }
    }
}

fn send(message: &[u8]) -> io::Result<()> {
    // A socket for each message: the log may be restarted, and messages are rare.
    let socket = syslog(&SYSLOG).ok_or(io::ErrorKind::NotFound)?;
    socket.send(message).map(drop)
}

/// A connection to the first of these sockets that a process listens at.
fn syslog(names: &[&str]) -> Option<UnixDatagram> {
    let connect = |name: &&str| -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(name)?;
        Ok(socket)
    };
    names.iter().find_map(|name| connect(name).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_become_priorities() {
        for (level, priority) in [
            (Level::ERROR, 27),
            (Level::WARN, 28),
            (Level::INFO, 30),
            (Level::DEBUG, 31),
            (Level::TRACE, 31),
        ] {
            assert_eq!(
                header(level, 7),
                format!("<{priority}>model-fs[7]: ").into_bytes()
            );
        }
    }

    #[test]
    fn the_system_log_is_where_a_process_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (dead, alive) = (path("dead"), path("alive"));
        drop(UnixDatagram::bind(&dead).unwrap());
        assert!(syslog(&[&dead, &alive]).is_none());
        let log = UnixDatagram::bind(&alive).unwrap();
        let socket = syslog(&[&dead, &alive]).unwrap();
        socket.send(b"event").unwrap();
        let mut message = [0; 8];
        assert_eq!(log.recv(&mut message).unwrap(), 5);
    }

    #[test]
    fn a_log_file_that_was_renamed_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let file = LogFile::open(&path).unwrap();
        file.make_writer().write_all(b"one\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        file.make_writer().write_all(b"two\n").unwrap();
        file.reopen().unwrap();
        file.make_writer().write_all(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        // Where that can't be, nothing is lost.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(file.reopen().is_err());
        file.make_writer().write_all(b"four\n").unwrap();
    }

    #[test]
    fn nothing_is_collected_before_the_switch() {
        let detached = Detached::default();
        let syslog = Syslog {
            detached: detached.clone(),
        };
        let mut message = syslog.make_writer();
        assert_eq!(message.write(b"secret").unwrap(), 6);
        assert!(message.0.is_none());
        detached.switch();
        let mut message = syslog.make_writer();
        message.write_all(b"event\n").unwrap();
        assert!(message.0.take().unwrap().ends_with(b": event\n"));
    }
}
