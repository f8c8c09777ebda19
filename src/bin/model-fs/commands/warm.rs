//! `model-fs warm`.
//!
//! Guarantees: what is read is read through the mount, as any program would, so that its chunk
//! tables are proved and its content is in the memory of this host, as far as there is room; all
//! that is wrong with the command line or the mount is told before it goes to the background.
//! Doesn't: keep anything in memory that the kernel wants for something else.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use indicatif::HumanBytes;
use model_fs::name::Escaped;
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, openat2};

use crate::args::WarmArgs;
use crate::asked::Mount;
use crate::background::{self, Home};
use crate::exit::{Exit, Failure};
use crate::logging::Detached;
use crate::progress::Bar;
use crate::signals;
use crate::terminal::{self, files};

/// Bytes that are read at a time.
const STEP: usize = 1 << 20;

pub(crate) fn run(
    args: &WarmArgs,
    is_background_child: bool,
    logging: &Detached,
) -> Result<ExitCode, Failure> {
    if !args.wait && !is_background_child {
        return background::spawn(&Home::AsGiven);
    }
    signals::leave_nothing();
    let mount = Mount::find(&args.mountpoint)?;
    // One that is dead or stuck is told as such, before anything waits for it.
    mount.facts()?;
    let root = mount.open_root().context("cannot open the mount")?;
    let mut found = Vec::new();
    let all = [PathBuf::from(".")];
    let wanted = if args.files.is_empty() {
        &all[..]
    } else {
        &args.files
    };
    for path in wanted {
        let shown = || Escaped::path(path).to_string();
        let is_within = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !path.components().all(is_within) {
            let error = anyhow::anyhow!("{}: no path within the mount", shown());
            let hint = "name files as they are called beneath MOUNTPOINT".to_owned();
            return Err(Failure::new(Exit::Usage, error).with_hint(hint));
        }
        collect(&root, path, &mut found).with_context(shown)?;
    }
    if is_background_child {
        background::detach_quietly(logging)?;
    }
    let read = read_all(&root, &found);
    if read.failed.is_empty() {
        if !is_background_child {
            let (count, bytes) = (files(found.len()), HumanBytes(read.bytes));
            terminal::print(&format!("warmed: {count}, {bytes}\n"))?;
        }
        return Ok(Exit::Done.into());
    }
    Err(failure(&mount, &read.failed))
}

/// A file that is to be read.
struct Found {
    path: PathBuf,
    /// Bytes, as the mount says; of a file that isn't proved yet, as its source says.
    len: u64,
}

/// Opens something in the mount, and nothing outside of it.
fn open(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(root, path, flags, Mode::empty(), resolve)
}

/// Adds the files at and beneath `path`.
fn collect(root: &OwnedFd, path: &Path, found: &mut Vec<Found>) -> anyhow::Result<()> {
    let opened = open(root, path, OFlags::PATH)?;
    let stat = rustix::fs::fstat(&opened)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        found.push(Found {
            path: path.to_owned(),
            len: u64::try_from(stat.st_size).unwrap_or(0),
        });
        return Ok(());
    }
    let directory = open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut names = Vec::new();
    for entry in Dir::new(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_str()?;
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    names.sort();
    for name in names {
        let beneath = path.join(name);
        // A file whose size can't be proved can't be looked up. Reading it says why.
        match collect(root, &beneath, found) {
            Ok(()) => {}
            Err(error) if error.is::<rustix::io::Errno>() => found.push(Found {
                path: beneath,
                len: 0,
            }),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What came of reading.
#[derive(Default)]
struct Done {
    bytes: u64,
    failed: Vec<(PathBuf, std::io::Error)>,
}

fn read_all(root: &OwnedFd, found: &[Found]) -> Done {
    let total = found.iter().map(|file| file.len).sum();
    let bar = Bar::new(total, "warming");
    let mut buffer = vec![0; STEP];
    let mut done = Done::default();
    for file in found {
        let before = done.bytes;
        let mut read = || {
            let mut opened = File::from(open(root, &file.path, OFlags::RDONLY | OFlags::NONBLOCK)?);
            loop {
                match opened.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(len) => {
                        done.bytes += len as u64;
                        bar.set(done.bytes);
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        };
        let read = read();
        if let Err(error) = read {
            let path = Escaped::path(&file.path);
            let bytes = done.bytes - before;
            tracing::warn!(%path, %error, bytes, "not all of a file could be read");
            done.failed.push((file.path.clone(), error));
        }
    }
    bar.finish();
    done
}

/// Whether it is the content that is wrong, the mount knows.
fn failure(mount: &Mount, failed: &[(PathBuf, std::io::Error)]) -> Failure {
    let facts = mount.facts().unwrap_or_default();
    let texts = |key: &str| {
        let texts = facts.get(key).and_then(|it| it.as_array());
        texts.cloned().unwrap_or_default()
    };
    let violations = texts("recent_violations");
    let is_violated = |(path, _): &&(PathBuf, std::io::Error)| {
        let path = path.strip_prefix(".").unwrap_or(path);
        let begin = format!("\"{}\" bytes ", Escaped::path(path));
        let mut texts = violations.iter().filter_map(|it| it.as_str());
        texts.any(|text| text.starts_with(&begin))
    };
    let violated = failed.iter().filter(is_violated).count();
    let locked = facts
        .get("locked_down")
        .and_then(serde_json::Value::as_bool)
        == Some(true);
    let exit = if violated > 0 || locked {
        Exit::Content
    } else {
        Exit::Failed
    };
    let (path, error) = &failed[0];
    let (count, path) = (files(failed.len()), Escaped::path(path));
    let mut message = format!("{count} couldn't be read, the first: {path}: {error}");
    if exit == Exit::Content {
        message.push_str("; the content isn't what was signed");
    }
    let hint = format!(
        "model-fs status {}",
        model_fs::name::shell_word(mount.mountpoint())
    );
    Failure::new(exit, anyhow::Error::msg(message)).with_hint(hint)
}
