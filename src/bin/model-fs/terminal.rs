//! What is told: results on stdout; errors, hints, progress on stderr.
//!
//! The only place that writes to either. Guarantees: nothing that comes from a model or a path acts
//! on a terminal; colours and progress bars appear only on one, and colours not where `NO_COLOR` is
//! set; a result that can't be written is a failure, unless its reader has closed the pipe.
//! Doesn't: take line ends out of what it is given, which are the caller's: names are escaped where
//! texts are made.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model_fs::name::{Escaped, is_hostile, json_string};
use serde_json::Value;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::exit::Failure;

/// Writes lines of a result to stdout, at once.
///
/// A reader that has closed the pipe (`model-fs inspect M | head -1`) has what it wanted: that is
/// no failure, nothing is said about it, and the command's exit code is what it would have been.
///
/// # Errors
/// Whatever else keeps the result from being written, a full disk for instance.
pub(crate) fn print(lines: &str) -> Result<(), Failure> {
    write_result(&mut io::stdout().lock(), harmless(lines).as_bytes())
}

/// Writes to stdout what another process of this program reads.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    write_result(&mut io::stdout().lock(), bytes)
}

/// Writes a JSON document to stdout. What is escaped in other texts is escaped here as JSON has it,
/// so that the document means the same.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_json(document: &Value) -> Result<(), Failure> {
    let text = format!("{}\n", json(document));
    write_result(&mut io::stdout().lock(), text.as_bytes())
}

/// Writes a JSON document in one line.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_json_line(document: &Value) -> Result<(), Failure> {
    write_result(&mut io::stdout().lock(), json_line(document).as_bytes())
}

/// Writes what clap has to say: help to stdout, wrong usage to stderr.
///
/// # Errors
/// As [`print`], for help.
pub(crate) fn show_clap(message: &clap::Error) -> Result<(), Failure> {
    match message.print() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) if !message.use_stderr() => Err(cannot_write(error)),
        // With stderr gone it can't be said.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a line to stderr that is no failure.
pub(crate) fn note(line: &str) {
    // With stderr gone it can't be said.
    let _ = io::stderr()
        .lock()
        .write_all(format!("{}\n", harmless(line)).as_bytes());
}

fn write_result(out: &mut impl io::Write, bytes: &[u8]) -> Result<(), Failure> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(cannot_write(error)),
        Ok(()) => Ok(()),
    }
}

fn cannot_write(error: io::Error) -> Failure {
    anyhow::Error::new(error)
        .context("cannot write the result")
        .into()
}

/// The second lock of results: names are escaped where they are put into a text.
fn harmless(lines: &str) -> Cow<'_, str> {
    if !lines.contains(|c| c != '\n' && is_hostile(c)) {
        return lines.into();
    }
    let lines: Vec<_> = lines.split('\n').map(sanitise).collect();
    lines.join("\n").into()
}

/// A JSON document that is harmless and in which no two names look the same.
fn json(document: &Value) -> String {
    let mut out = String::new();
    write_json(&mut out, document, 0);
    out
}

/// The same in one line. Strings have none of their own: line ends in them are escaped.
fn json_line(document: &Value) -> String {
    let mut line: String = json(document).lines().map(str::trim_start).collect();
    line.push('\n');
    line
}

/// Adds a value of a JSON document, in which it is indented so far.
fn write_json(out: &mut String, value: &Value, indent: usize) {
    let line = |out: &mut String, before: &str, indent: usize| {
        out.push_str(before);
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent));
    };
    let inner = indent + 2;
    match value {
        Value::String(text) => out.push_str(&json_string(text)),
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                line(out, if index == 0 { "[" } else { "," }, inner);
                write_json(out, item, inner);
            }
            line(out, "", indent);
            out.push(']');
        }
        Value::Object(members) if !members.is_empty() => {
            for (index, (name, item)) in members.iter().enumerate() {
                line(out, if index == 0 { "{" } else { "," }, inner);
                out.push_str(&json_string(name));
                out.push_str(": ");
                write_json(out, item, inner);
            }
            line(out, "", indent);
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// How the fields of an event are written in a log for people: one line whatever is in them. Their
/// values are escaped where events are made, and this is the second lock.
pub(crate) fn log_fields() -> impl for<'a> FormatFields<'a> + 'static {
    debug_fn(
        |out: &mut Writer<'_>, field: &Field, value: &dyn std::fmt::Debug| {
            let value = sanitise(&format!("{value:?}"));
            match field.name() {
                "message" => out.write_str(&value),
                // What the crate `log` says about itself, which is shown as any event's is.
                name if name.starts_with("log.") => Ok(()),
                name => write!(out, "{}={value}", name.trim_start_matches("r#")),
            }
        },
    )
    .delimited(" ")
}

/// Whether stderr takes colours (<https://no-color.org>: any value but an empty one refuses them).
pub(crate) fn colours() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns of the terminal that output goes to, or came from; of none where there is none.
pub(crate) fn columns() -> Option<usize> {
    let stdin = io::stdin();
    let columns = columns_of(io::stdout()).or_else(|| columns_of(io::stderr()));
    columns.or_else(|| columns_of(stdin))
}

fn columns_of(terminal: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    // Zero: it doesn't know itself.
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// Writes `error: cause: cause`, then `hint: …`.
pub(crate) fn show_failure(failure: &Failure) {
    let text = render(failure, colours());
    // With stderr gone it can't be said; the exit code still does.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// The message of a failure, without label, colour and hint.
pub(crate) fn plain(failure: &Failure) -> String {
    // The chain of causes, outermost first. A cause that the text before it ends with adds nothing.
    let mut message = String::new();
    for cause in failure.error.chain() {
        let cause = cause.to_string();
        if message.is_empty() {
            message = cause;
        } else if !message.ends_with(&cause) {
            message.push_str(": ");
            message.push_str(&cause);
        }
    }
    message
}

/// A JSON value as people read it, strings without quotes, and harmless to a terminal.
pub(crate) fn text_of(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => sanitise(text),
        other => sanitise(&other.to_string()),
    }
}

fn render(failure: &Failure, colours: bool) -> String {
    let message = plain(failure);
    let mut text = line("error", "\u{1b}[1;31m", &message, colours);
    if let Some(hint) = failure.remedy() {
        text.push_str(&line("hint", "\u{1b}[1;36m", hint, colours));
    }
    text
}

fn line(label: &str, colour: &str, message: &str, colours: bool) -> String {
    // Names are escaped where errors are made. This is the second lock: a control character that
    // slips through is harmless here. Line ends are ours.
    let message = message
        .split('\n')
        .map(sanitise)
        .collect::<Vec<_>>()
        .join("\n  ");
    if colours {
        format!("{colour}{label}:\u{1b}[0m {message}\n")
    } else {
        format!("{label}: {message}\n")
    }
}

/// Escapes what acts on a terminal, and leaves backslashes, which may be escapes already.
fn sanitise(text: &str) -> String {
    Escaped::again(text).to_string()
}

/// A number of files, in words.
pub(crate) fn files(count: usize) -> String {
    match count {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    }
}

/// Columns that a bar takes with all that there is to tell.
const WIDE: usize = 60;

/// A bar that counts bytes; drawn on a terminal only, and in one line of it.
pub(crate) fn bytes_bar(total: u64, label: &'static str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    *shown_bar() = Some(bar.clone());
    let template = if columns_of(io::stderr()).is_some_and(|columns| columns < WIDE) {
        "{prefix} {percent}% {wide_bar} {bytes_per_sec}"
    } else {
        "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(label);
    bar
}

/// The bar that is drawn, or was.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn shown_bar() -> MutexGuard<'static, Option<ProgressBar>> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the bar off the terminal, if one is drawn, for a process that ends now.
pub(crate) fn clear_bar() {
    let mut shown = shown_bar();
    if let Some(bar) = shown.take() {
        bar.finish_and_clear();
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    // Whoever would draw one now waits for the end.
    std::mem::forget(shown);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn failure(text: &'static str, hint: Option<&str>) -> Failure {
        let error = anyhow::anyhow!(text).context("cannot do it");
        Failure::new(Exit::Failed, error).with_hint(hint.map(str::to_owned))
    }

    #[test]
    fn cause_comes_before_remedy() {
        let text = render(&failure("disk on fire", Some("call 112")), false);
        assert_eq!(text, "error: cannot do it: disk on fire\nhint: call 112\n");
        let text = render(&failure("disk on fire", None), false);
        assert_eq!(text, "error: cannot do it: disk on fire\n");
    }

    #[test]
    fn hostile_text_is_shown_not_sent() {
        let text = render(&failure("a\u{1b}[2J\r\u{202e}b \\u{7}", None), false);
        assert_eq!(
            text,
            "error: cannot do it: a\\u{1b}[2J\\u{d}\\u{202e}b \\u{7}\n"
        );
        let text = render(&failure("one\nerror: forged", None), false);
        assert_eq!(text, "error: cannot do it: one\n  error: forged\n");
    }

    struct Broken(io::ErrorKind);

    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_anything_else_is() {
        write_result(&mut Broken(io::ErrorKind::BrokenPipe), b"x").unwrap();
        let full = write_result(&mut Broken(io::ErrorKind::StorageFull), b"x").unwrap_err();
        assert_eq!(full.exit, Exit::Failed);
        assert!(plain(&full).starts_with("cannot write the result: "));
    }

    #[test]
    fn results_act_on_no_terminal() {
        assert_eq!(harmless("a\\u{7}\nü\n"), "a\\u{7}\nü\n");
        assert_eq!(
            harmless("a\u{1b}[2J\r\n\u{9b}\n"),
            "a\\u{1b}[2J\\u{d}\n\\u{9b}\n"
        );
    }

    #[test]
    fn documents_are_as_ever_and_names_in_them_differ() {
        let document = serde_json::json!({
            "a": [1, -2.5, true, null, "x\n\"\\", [], {}, [[2]]],
            "b": {"c": {"d": "ü"}},
        });
        assert_eq!(json(&document), format!("{document:#}"));
        let document = serde_json::json!({
            "\u{9b}1m": ["\u{1b}\u{202e}\u{e0041}\u{7f}\\ü\u{85}"],
            "names": {"e\u{301}": "caf\u{e9}", "\u{301}x": "cafe\u{301}"},
        });
        let shown = json(&document);
        assert!(!shown.contains(|c| c != '\n' && is_hostile(c)), "{shown}");
        assert!(shown.contains('ü') && shown.contains("\"caf\u{e9}\""));
        assert!(shown.contains(r#""e\u0301""#) && shown.contains(r#""\u0301x""#));
        assert!(shown.contains(r#""cafe\u0301""#), "{shown}");
        let read: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, document);
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        use std::sync::{Arc, Mutex};
        use tracing_subscriber::layer::SubscriberExt as _;

        #[derive(Clone, Default)]
        struct Log(Arc<Mutex<Vec<u8>>>);

        impl io::Write for Log {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let log = Log::default();
        let writer = log.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .fmt_fields(log_fields());
        let hostile = "x\n2026 ERROR forged\u{1b}[2J\u{9b}\u{202e}";
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(field = %hostile, text = hostile, number = 7, "said: {hostile}");
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().contains(is_hostile), "{text}");
        assert!(
            text.ends_with("number=7\n") && text.contains("field=x\\u{a}2026"),
            "{text}"
        );
    }

    #[test]
    fn colours_only_touch_the_label() {
        let text = render(&failure("x", None), true);
        assert_eq!(text, "\u{1b}[1;31merror:\u{1b}[0m cannot do it: x\n");
    }

    #[test]
    fn a_document_in_one_line_is_the_same_document() {
        let document = serde_json::json!({
            "a\u{202e}": ["\u{9b}\n", {"b": " c\n  d"}, [], {}, 1.5, null, true],
        });
        let line = json_line(&document);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.trim_end().contains(is_hostile), "{line:?}");
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read, document);
    }
}
