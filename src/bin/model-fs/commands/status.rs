//! `model-fs status`.
//!
//! Guarantees: only a mount is believed that the kernel's table calls one of ours, and the file
//! system at the path is asked nothing before that is known; a mount that is dead or doesn't answer
//! is said to be; the kernel says which user's word the status is. Doesn't: know whether the
//! process behind a mount of that type is this program: any user who may mount may call it so.

use std::fmt::Write as _;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::HumanBytes;
use model_fs::fs::{STATUS_ATTRIBUTE, Status};
use model_fs::kernel::FS_TYPE;
use model_fs::kernel::mountinfo::{MountEntry, MountTable};
use model_fs::name::{Escaped, shell_word};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Map, Value};

use crate::args::StatusArgs;
use crate::exit::Failure;
use crate::terminal;

/// `XATTR_SIZE_MAX` of Linux.
const MAX_ATTRIBUTE: usize = 64 * 1024;

/// How long a mount may take to answer. It reads nothing for that, so it answers at once or never.
const PATIENCE: Duration = Duration::from_secs(5);

/// The flag of the process that asks a mount, see [`Mount::ask`].
const CHILD_FLAG: &str = "--status-child";

/// What the child's answer begins with where it is the attribute, not an error's number.
const VALUE: u8 = b'v';

/// Facts that come first, in this order, and what they are called.
const FIRST: [(&str, &str); 15] = [
    ("source", "model"),
    ("mountpoint", "mountpoint"),
    ("mounted_by", "mounted by user"),
    ("signer", "signer"),
    ("root_digest", "root digest"),
    ("shortened", "shortened"),
    ("violations", "violations"),
    ("recent_violations", "recent violations"),
    ("locked_down", "locked down"),
    ("source_errors", "source errors"),
    ("recent_source_errors", "recent source errors"),
    ("hidden_signed_files", "hidden signed files"),
    ("hidden_signed_names", "hidden, for instance"),
    ("files", "files"),
    ("bytes", "bytes"),
];

/// Facts that come last: nothing is wrong where they are missing, and little where they aren't.
const LAST: [(&str, &str); 3] = [
    ("not_pushed", "not pushed"),
    ("not_tuned", "read-ahead"),
    ("tuning_command", "faster, as root"),
];

/// Characters shown of a text; `--json` has all of it.
const MAX_TEXT: usize = 500;

pub(crate) fn run(args: &StatusArgs) -> Result<(), Failure> {
    if args.status_child {
        return answer();
    }
    let mount = Mount::find(&args.mountpoint)?;
    let mut facts = mount.facts()?;
    // The kernel's word, whatever the mount says.
    facts.insert("mounted_by".to_owned(), mount.entry.user.into());
    if args.json {
        return terminal::print_json(&Value::Object(facts));
    }
    if let Some(user) = mount.entry.user
        && user != 0
        && user != rustix::process::geteuid().as_raw()
    {
        terminal::note(&format!(
            "what follows is the word of user {user}, who mounted this"
        ));
    }
    terminal::print(&to_text(facts))
}

/// A mount of ours, as far as the kernel knows.
struct Mount {
    /// Its root; not open for anything, so the file system knows nothing of it.
    root: OwnedFd,
    entry: MountEntry,
}

impl Mount {
    fn find(path: &Path) -> Result<Self, Failure> {
        let shown = Escaped::path(path);
        let failed = |error: std::io::Error| anyhow::Error::new(error).context(shown.to_string());
        let root = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed(errno.into()))?;
        let table = MountTable::read().context("cannot read the mount table")?;
        let at = std::fs::read_link(magic_link(&root)).map_err(failed)?;
        let entry = mount_id(&root)
            .map_err(failed)?
            .and_then(|id| table.by_id(id))
            .with_context(|| format!("{shown} is in no mount that is known here"))?;
        let is_root = entry.mountpoint == at;
        if entry.fs_type != FS_TYPE {
            let error = if is_root {
                let fs_type = Escaped::bounded(&entry.fs_type);
                anyhow::anyhow!("{shown} is a {fs_type} mount, not a mount of model-fs")
            } else {
                anyhow::anyhow!("{shown} is not a mount of model-fs")
            };
            return Err(error.into());
        }
        if !is_root {
            let error = anyhow::anyhow!("{shown} is not a mountpoint, but lies beneath one");
            let hint = format!("model-fs status {}", shell_word(&entry.mountpoint));
            return Err(Failure::from(error).with_hint(hint));
        }
        Ok(Self {
            root,
            entry: entry.clone(),
        })
    }

    /// What the mount says: a [`Status`], and what a later version of it may add.
    fn facts(&self) -> Result<Map<String, Value>, Failure> {
        let path = Escaped::path(&self.entry.mountpoint);
        let umount = || format!("model-fs umount {}", shell_word(&self.entry.mountpoint));
        let value = match self.ask()? {
            Some(Ok(value)) => value,
            None => {
                let error = anyhow::anyhow!("the mount at {path} doesn't answer");
                let hint = "the process that serves it is stopped or stuck: see ps and its log";
                return Err(Failure::from(error).with_hint(hint.to_owned()));
            }
            Some(Err(Errno::NODATA | Errno::NOTSUP)) => {
                let error = anyhow::anyhow!("the mount at {path} has no status of model-fs");
                return Err(error.into());
            }
            Some(Err(Errno::NOTCONN | Errno::CONNABORTED)) => {
                let error = anyhow::anyhow!("the mount at {path} is dead");
                return Err(Failure::from(error).with_hint(umount()));
            }
            Some(Err(Errno::ACCESS | Errno::PERM)) => {
                let error = anyhow::anyhow!("the mount at {path} isn't open to this user");
                let hint = "only the user who mounted it may look, unless with --allow-other";
                return Err(Failure::from(error).with_hint(hint.to_owned()));
            }
            Some(Err(errno)) => {
                return Err(anyhow::Error::new(errno).context(path.to_string()).into());
            }
        };
        serde_json::from_slice::<Status>(&value)
            .and_then(|_| serde_json::from_slice(&value))
            .map_err(|_| anyhow::anyhow!("the mount at {path} has no status of model-fs").into())
    }

    /// The status attribute; `None` if the mount doesn't answer in time.
    ///
    /// Another process asks: one that waits for a request that a daemon has taken, and doesn't
    /// answer, can't be ended, and nor could this one.
    fn ask(&self) -> Result<Option<Result<Vec<u8>, Errno>>, Failure> {
        let mut child = Command::new("/proc/self/exe")
            .args(["status", CHILD_FLAG, "."])
            .stdin(self.root.try_clone()?)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a process")?;
        let (sender, receiver) = sync_channel(1);
        let stdout = child.stdout.take();
        std::thread::Builder::new().spawn(move || {
            let mut said = Vec::new();
            let limit = MAX_ATTRIBUTE as u64 + 1;
            let read = stdout.map(|stdout| stdout.take(limit).read_to_end(&mut said));
            // Fails where this process waits no longer.
            let _ = sender.send(read.map(|read| read.map(|_| said)));
        })?;
        match receiver.recv_timeout(PATIENCE) {
            Ok(said) => {
                child.wait()?;
                let said = said.transpose()?.unwrap_or_default();
                let (&first, rest) = said.split_first().context("lost the process that asks")?;
                if first == VALUE {
                    return Ok(Some(Ok(rest.to_vec())));
                }
                let errno = std::str::from_utf8(rest)
                    .ok()
                    .and_then(|text| text.parse().ok());
                Ok(Some(Err(errno.map_or(Errno::IO, Errno::from_raw_os_error))))
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                // It ends now, or with the daemon.
                let _ = child.kill();
                Ok(None)
            }
        }
    }
}

/// In the child: asks the file system that stdin lies in, and says on stdout what came of it.
fn answer() -> Result<(), Failure> {
    let mut value = vec![0; MAX_ATTRIBUTE];
    let asked = rustix::fs::getxattr("/proc/self/fd/0", STATUS_ATTRIBUTE, &mut value[..]);
    let said = match asked {
        Ok(len) => [&[VALUE], &value[..len]].concat(),
        Err(errno) => format!("e{}", errno.raw_os_error()).into_bytes(),
    };
    terminal::print_bytes(&said)
}

/// A path that leads to what is open, whatever has the name now (proc(5)).
fn magic_link(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// The number of the mount that something open lies in. The kernel knows it, without a
/// question to the file system (proc(5), `fdinfo`).
fn mount_id(fd: &OwnedFd) -> std::io::Result<Option<u64>> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    Ok(id.and_then(|id| id.trim().parse().ok()))
}

/// A line for each fact, what matters first.
fn to_text(facts: Map<String, Value>) -> String {
    let mut facts = flat(facts);
    let mut lines = Vec::new();
    for (name, label) in FIRST {
        take(&mut facts, name, label, &mut lines);
    }
    let mut last = Vec::new();
    for (name, label) in LAST {
        take(&mut facts, name, label, &mut last);
    }
    for (name, value) in &facts {
        show(name, &label_of(name), value, &mut lines);
    }
    lines.append(&mut last);
    let width = lines.iter().map(|(label, _)| label.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for (label, value) in lines {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{label:<width$}  {value}");
    }
    text
}

/// The facts of groups among the others.
fn flat(facts: Map<String, Value>) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (name, value) in facts {
        match value {
            Value::Object(group) => all.extend(flat(group)),
            value => all.push((name, value)),
        }
    }
    all
}

/// A name of JSON as a label. It is the mount's word, as the values are.
fn label_of(name: &str) -> String {
    Escaped::bounded(&name.replace('_', " ")).to_string()
}

fn take(
    facts: &mut Vec<(String, Value)>,
    name: &str,
    label: &str,
    lines: &mut Vec<(String, String)>,
) {
    facts.retain(|(there, value)| {
        if there == name {
            show(name, label, value, lines);
        }
        there != name
    });
}

fn show(name: &str, label: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let mut line = |text: String| lines.push((label.to_owned(), text));
    match value {
        Value::Null => {}
        Value::Array(values) => values.iter().map(bounded).for_each(line),
        Value::Bool(true) if name == "shortened" => {
            line("yes: there is more than fits into a status".to_owned());
        }
        Value::Bool(yes) => line(if *yes { "yes" } else { "no" }.to_owned()),
        Value::Number(number) if name.ends_with("bytes") => match number.as_u64() {
            Some(bytes @ 1024..) => line(format!("{bytes} ({})", HumanBytes(bytes))),
            _ => line(number.to_string()),
        },
        value => line(bounded(value)),
    }
}

/// A text that is harmless and not too long.
fn bounded(value: &Value) -> String {
    let text = terminal::text_of(value);
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(facts: Value) -> String {
        match facts {
            Value::Object(facts) => to_text(facts),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_matters_comes_first_and_hints_come_last() {
        let shown = text(json!({
            "bytes": 2048,
            "cache_hits": 7,
            "files": 3,
            "mount": {
                "mountpoint": "/mnt",
                "not_tuned": "too low",
                "source": "/m",
                "hidden_signed_files": 0,
                "hidden_signed_names": [],
                "not_pushed": null,
            },
            "signer": "key 12",
            "violations": 0,
            "recent_violations": [],
        }));
        assert_eq!(
            shown,
            "model                /m\n\
             mountpoint           /mnt\n\
             signer               key 12\n\
             violations           0\n\
             hidden signed files  0\n\
             files                3\n\
             bytes                2048 (2.00 KiB)\n\
             cache hits           7\n\
             read-ahead           too low\n"
        );
    }

    #[test]
    fn what_has_a_place_of_its_own_is_in_a_status() {
        let status: Status = serde_json::from_value(json!({
            "signer": "", "root_digest": "", "payload_digest": "", "files": 0, "mounted_by": 0,
            "shortened": true, "locked_down": false, "mount": {"mountpoint": "", "source": ""},
        }))
        .unwrap();
        let Value::Object(facts) = serde_json::to_value(status).unwrap() else {
            panic!("a status is an object");
        };
        let facts = flat(facts);
        for (name, _) in FIRST.iter().chain(&LAST) {
            assert!(facts.iter().any(|(there, _)| there == name), "{name}");
        }
    }

    #[test]
    fn each_violation_has_a_line_and_none_is_endless() {
        let long = "x".repeat(100_000);
        let shown = text(json!({
            "recent_violations": ["\"a\" is wrong", "\"b\"\nsigner  forged \u{1b}[2J", long],
            "violations": 3,
            "shortened": true,
            "new\n_fact": {"deeper": {"still": [1, {"a": "\u{202e}"}]}},
        }));
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 7, "{shown}");
        assert!(lines[0].starts_with("shortened"), "{shown}");
        assert!(lines[3].contains("\"b\"\\u{a}signer  forged \\u{1b}[2J"));
        assert!(lines[4].ends_with("x…") && lines[4].len() < 600);
        assert!(lines[6].contains("\\u{202e}"), "{shown}");
        assert_eq!(text(json!({})), "");
    }
}
