//! What people see on stderr: errors, hints, progress.
//!
//! Guarantees: nothing that comes from a model or a path acts on the terminal; colours and progress
//! bars appear only on one, and colours not where `NO_COLOR` is set. Doesn't: write to stdout.

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model_fs::name::Escaped;

use crate::exit::Failure;

/// Whether stderr takes colours (<https://no-color.org>: any value but an empty one refuses them).
pub(crate) fn colours() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Writes `error: cause: cause`, then `hint: …`.
pub(crate) fn show_failure(failure: &Failure) {
    let text = render(failure, colours());
    // With stderr gone there is nobody to tell; the exit code still does.
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
        other => other.to_string(),
    }
}

fn render(failure: &Failure, colours: bool) -> String {
    let message = plain(failure);
    let mut text = line("error", "\u{1b}[1;31m", &message, colours);
    if let Some(hint) = &failure.hint {
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
    text.split('\\')
        .map(|part| Escaped::new(part).to_string())
        .collect::<Vec<_>>()
        .join("\\")
}

/// A bar that counts bytes; drawn on a terminal only.
pub(crate) fn bytes_bar(total: u64, label: &'static str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(label);
    bar
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

    #[test]
    fn colours_only_touch_the_label() {
        let text = render(&failure("x", None), true);
        assert_eq!(text, "\u{1b}[1;31merror:\u{1b}[0m cannot do it: x\n");
    }
}
