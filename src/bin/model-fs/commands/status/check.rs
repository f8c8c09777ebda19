//! `status --check`: whether all is well, as an exit code.
//!
//! Guarantees: well is only what a mount says whose word counts: one of this user, or of root.
//! Doesn't: look at the content; it is what the mounts have met so far.

use std::fmt::Write as _;

use anyhow::Context as _;
use model_fs::fs::Status;
use model_fs::kernel::mountinfo::MountEntry;
use model_fs::name::Escaped;
use serde_json::{Map, Value};

use crate::asked::is_believed;
use crate::exit::{Exit, Failure};
use crate::findings::{LISTED, places};
use crate::terminal;

/// Whether this user mounted it, so that it should tell this user all.
pub(super) fn is_own(entry: &MountEntry) -> bool {
    entry.user == Some(rustix::process::geteuid().as_raw())
}

/// That no violation was met and all content could be had, as far as the mount knows.
pub(super) fn check(user: Option<u32>, facts: Map<String, Value>) -> Result<(), Failure> {
    if !user.is_some_and(is_believed) {
        let error = anyhow::anyhow!("another user mounted this, whose word is no check");
        return Err(error.into());
    }
    let status: Status = serde_json::from_value(facts.into()).context("cannot read the status")?;
    let Some(owner) = status.owner else {
        let error = anyhow::anyhow!("only the mount's owner and root are told of violations");
        return Err(error.into());
    };
    let violations = owner.stats.violations;
    let unread = owner.stats.source_errors;
    if violations == 0 && !owner.locked_down {
        if unread == 0 {
            return Ok(());
        }
        let error = anyhow::anyhow!("the model didn't give content {unread} times");
        let hint = "look at its disk or network: \"journalctl -k\", and the mount's log";
        return Err(Failure::from(error).with_hint(hint.to_owned()));
    }
    let mut message = format!(
        "the content isn't what was signed, in {}",
        places(violations)
    );
    if owner.locked_down {
        message.push_str("; nothing is read any more (lockdown)");
    }
    for violation in owner.recent_violations.iter().take(LISTED) {
        message.push('\n');
        message.push_str(violation);
    }
    let hint = "get these files anew from where the model came from; what is right again is served";
    Err(Failure::new(Exit::Content, anyhow::Error::msg(message)).with_hint(hint.to_owned()))
}

/// The same of all mounts of this user, each for itself. The worst is the exit code.
pub(super) fn check_all(
    mounts: impl Iterator<Item = (MountEntry, Result<Map<String, Value>, Failure>)>,
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for (entry, facts) in mounts {
        let mountpoint = Escaped::path(&entry.mountpoint).to_string();
        let checked = facts.and_then(|facts| check(entry.user, facts));
        failures.extend(checked.err().map(|failure| (mountpoint, failure)));
    }
    worst(failures)
}

fn worst(mut failures: Vec<(String, Failure)>) -> Result<(), Failure> {
    match failures.pop() {
        None => Ok(()),
        Some((mountpoint, mut failure)) if failures.is_empty() => {
            failure.error = failure.error.context(mountpoint);
            Err(failure)
        }
        Some(last) => {
            failures.push(last);
            let content = |(_, failure): &(String, Failure)| failure.exit == Exit::Content;
            let exit = if failures.iter().any(content) {
                Exit::Content
            } else {
                Exit::Failed
            };
            let mut message = format!("something is wrong with {} mounts", failures.len());
            for (mountpoint, failure) in &failures {
                // Writing to a string can't fail.
                let _ = write!(message, "\n{mountpoint}: {}", terminal::plain(failure));
            }
            Err(Failure::new(exit, anyhow::Error::msg(message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_is_the_exit_code() {
        let failed =
            |exit, text: &'static str| (text.to_owned(), Failure::new(exit, anyhow::anyhow!(text)));
        assert!(worst(Vec::new()).is_ok());
        let one = worst(vec![failed(Exit::Failed, "/a")]).unwrap_err();
        assert_eq!(one.exit, Exit::Failed);
        let several = vec![failed(Exit::Content, "/a"), failed(Exit::Failed, "/b")];
        let several = worst(several).unwrap_err();
        assert_eq!(several.exit, Exit::Content);
        let text = terminal::plain(&several);
        assert!(
            text.contains("2 mounts") && text.contains("/a") && text.contains("/b"),
            "{text}"
        );
    }
}
