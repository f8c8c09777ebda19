//! What comparing a model with its signature found, in words.

use std::fmt::Write as _;

use model_fs::reading::whole::verify;

use crate::exit::{Exit, Failure};

/// Failures listed for people; `verify --json` has more.
pub(crate) const LISTED: usize = 20;

/// A number of places that violate a signature, in words.
pub(crate) fn places(count: u64) -> String {
    match count {
        1 => "1 place".to_owned(),
        count => format!("{count} places"),
    }
}

/// What some failures mean for the model.
pub(crate) fn verdict(failures: &[verify::Difference]) -> &'static str {
    match Exit::of_findings(failures) {
        Exit::Content => "the model doesn't match its signature",
        _ => "could not read all of the model; nothing was found to be wrong so far",
    }
}

/// What is wrong, and the exit code for it.
pub(crate) fn content_failure(failures: &[verify::Difference]) -> Failure {
    let exit = Exit::of_findings(failures);
    let mut message = verdict(failures).to_owned();
    for failure in failures.iter().take(LISTED) {
        message.push('\n');
        message.push_str(&failure.to_string());
    }
    if let Some(more) = failures.len().checked_sub(LISTED + 1) {
        let _ = write!(message, "\n… and {} more", more + 1);
    }
    let left_out = |failure: &verify::Difference| matches!(failure, verify::Difference::LeftOut(_));
    let is_unsigned = |it: &verify::Difference| matches!(it, verify::Difference::Unsigned(_));
    let hint = if failures.iter().any(left_out) {
        "--ignore-paths leaves out what isn't signed; a mount may hide signed files, too"
    } else if failures.iter().all(is_unsigned) {
        "remove these files, or leave them out with --ignore-paths or --ignore-unsigned-files"
    } else if exit == Exit::Content {
        "get these files anew from where the model came from; or if it was changed on purpose, \
         have it signed anew"
    } else {
        "see that this user may read these files, and \"journalctl -k\" for what else is in the \
         way"
    };
    Failure::new(exit, anyhow::Error::msg(message)).with_hint(hint.to_owned())
}
