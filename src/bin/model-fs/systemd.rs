//! Telling the service manager how a mount in the foreground is doing (`sd_notify(3)`).
//!
//! Guarantees: without `NOTIFY_SOCKET`, as anywhere but in a unit of `Type=notify`, nothing is sent
//! and nothing fails. The watchdog is told that all is well only while the status can be had, which
//! takes the locks that reads take. Doesn't: tell whether the model's source answers: a network
//! file system that hangs is no reason to end the mount.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use indicatif::HumanBytes;
use model_fs::StatusHandle;
use model_fs::fs::Status;
use model_fs::name::Escaped;
use sd_notify::NotifyState;

use crate::periodic::Periodic;

/// How often the status line is renewed where there is no watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest time between two messages.
const SHORTEST: Duration = Duration::from_millis(10);

/// Told when the mount ends.
#[derive(Debug)]
pub(crate) struct Service {
    _turns: Periodic,
}

impl Service {
    /// Says that the mount is ready, and from then on how it is doing; `None` where no service
    /// manager asked for that.
    pub(crate) fn start(mount: StatusHandle) -> io::Result<Option<Self>> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(None);
        }
        tell(&[NotifyState::Ready]);
        // Nothing is no time, but the watchdog switched off.
        let watchdog = sd_notify::watchdog_enabled().filter(|time| !time.is_zero());
        // Twice in its time, as sd_watchdog_enabled(3) advises.
        let interval = watchdog.map_or(STATUS_INTERVAL, |time| {
            (time / 2).clamp(SHORTEST, STATUS_INTERVAL)
        });
        let mut said = String::new();
        let turns = Periodic::new("systemd", interval, move || {
            let line = line(&mount.status());
            if watchdog.is_some() {
                tell(&[NotifyState::Watchdog]);
            }
            if line != said {
                tell(&[NotifyState::Status(&line)]);
                said = line;
            }
        })?;
        Ok(Some(Self { _turns: turns }))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        tell(&[NotifyState::Stopping]);
    }
}

/// Does what SIGHUP asks for, told as a reload (`Type=notify-reload`).
pub(crate) fn reload(work: impl FnOnce()) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
    work();
    tell(&[NotifyState::Ready]);
}

/// Without a socket, this does nothing.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager can't be told");
    }
}

/// One line about a mount.
fn line(status: &Status) -> String {
    let Some(owner) = &status.owner else {
        return String::new();
    };
    let mount = owner.mount.as_ref();
    let source = mount.map_or("", |mount| &mount.source);
    let shown_by = mount.map_or("", |mount| &mount.lane);
    let mut line = format!(
        "{}: {} verified, violations: {}",
        // Again, since it ends in a protocol of lines.
        Escaped::again(source),
        HumanBytes(owner.stats.verified_bytes),
        owner.stats.violations,
    );
    if !shown_by.is_empty() {
        // Writing to a string can't fail.
        let _ = write!(line, ", lane: {shown_by}");
    }
    if owner.stats.source_errors > 0 {
        // Writing to a string can't fail.
        let _ = write!(line, ", source errors: {}", owner.stats.source_errors);
    }
    if owner.locked_down {
        line.push_str(", locked down");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line() {
        let status = |more: serde_json::Value| -> Status {
            let mut status = serde_json::json!({
                "signer": "key", "root_digest": "", "files": 1, "locked_down": false,
                "mount": {"mountpoint": "/mnt", "source": "/m\nREADY=1", "lane": "pages"},
                "verified_bytes": 2048,
            });
            let (Some(status), Some(more)) = (status.as_object_mut(), more.as_object()) else {
                panic!("objects");
            };
            status.extend(more.clone());
            serde_json::from_value(status.clone().into()).unwrap()
        };
        assert_eq!(
            line(&status(serde_json::json!({}))),
            "/m\\u{a}READY=1: 2.00 KiB verified, violations: 0, lane: pages"
        );
        let bad = serde_json::json!({"violations": 2, "source_errors": 1, "locked_down": true});
        let line = line(&status(bad));
        let end = ", violations: 2, lane: pages, source errors: 1, locked down";
        assert!(line.ends_with(end), "{line}");
    }
}
