//! Where events of the library go: stderr, a file, or the system log.
//!
//! Guarantees: a process in the background never writes to the terminal that it came from, and
//! logging never blocks on, or fails because of, a log that is gone. Doesn't: keep an event that
//! nobody takes.
//!
//! `MODEL_FS_LOG` chooses events as `RUST_LOG` does for other programs (`model_fs=debug`). It
//! changes what is shown, never what is checked.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use model_fs::name::Escaped;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::{LogArgs, LogFormat};
use crate::terminal;

/// The socket of the system log.
const SYSLOG: &str = "/dev/log";

/// RFC 3164: the facility for daemons.
const FACILITY_DAEMON: u8 = 3;

/// The variable that chooses events.
const FILTER_VARIABLE: &str = "MODEL_FS_LOG";

/// Sets logging up for this process.
///
/// `background`: the process will leave its terminal. Until [`Detached::switch`] is called events go
/// to stderr, from then on to the system log.
pub(crate) fn init(args: &LogArgs, background: bool) -> anyhow::Result<Detached> {
    let detached = Detached::default();
    let registry = tracing_subscriber::registry().with(filter(args.verbose));
    if let Some(path) = &args.log_file {
        let file = open(path)?;
        registry.with(layer(args.log_format, file, false)).init();
    } else {
        let syslog = (background && Path::new(SYSLOG).exists()).then(|| {
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
            .with(layer(args.log_format, io::stderr, terminal::colours()))
            .with(syslog)
            .init();
    }
    Ok(detached)
}

fn open(path: &Path) -> anyhow::Result<Arc<File>> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .with_context(|| format!("cannot open log file {}", Escaped::path(path)))?;
    Ok(Arc::new(file))
}

fn filter(verbose: u8) -> EnvFilter {
    let default = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    match std::env::var(FILTER_VARIABLE) {
        Ok(directives) if !directives.is_empty() => EnvFilter::builder().parse_lossy(directives),
        _ => EnvFilter::new(default),
    }
}

fn layer<S, W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(writer);
    match format {
        LogFormat::Text => layer.fmt_fields(terminal::log_fields()).boxed(),
        LogFormat::Json => layer.json().boxed(),
    }
}

/// Whether the process has left its terminal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Detached(Arc<AtomicBool>);

impl Detached {
    /// From now on events go to the system log. (Those for stderr end in `/dev/null` by then.)
    pub(crate) fn switch(&self) {
        self.0.store(true, Ordering::Relaxed);
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
        let enabled = self.detached.0.load(Ordering::Relaxed);
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

/// One message, sent when it is dropped; `None` is for nobody.
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
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to(message, SYSLOG).map(drop)
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
