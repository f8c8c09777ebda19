//! A server, as its keeper has it: a child process and a channel to it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::Context as _;
use model_fs::files::descriptor_path;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::channel::{Channel, Message};
use super::event::Event;
use super::serving::{BACKGROUND, FOREGROUND, KEEPER_VARIABLE};

/// A program that can be started as it is now, whatever becomes of its path.
#[derive(Debug)]
pub(super) struct Program(OwnedFd);

impl Program {
    /// The program at `path`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }
}

/// How a server is started.
#[derive(Debug)]
pub(super) struct Start {
    /// All that follows the program's name.
    args: Vec<OsString>,
    /// The program's name, as it was called.
    name: OsString,
    /// The directory that paths in `args` are relative to, also when it has been removed.
    directory: OwnedFd,
    foreground: bool,
}

impl Start {
    /// As this process was started.
    pub(super) fn like_this(foreground: bool) -> anyhow::Result<Self> {
        let mut args = std::env::args_os();
        Ok(Self {
            name: args.next().unwrap_or_else(|| OsString::from("model-fs")),
            args: args.collect(),
            directory: rustix::fs::open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .context("cannot tell the directory")?,
            foreground,
        })
    }
}

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) id: u64,
    number: u32,
    /// The process, also when its number is another's by then.
    process: OwnedFd,
    channel: Channel,
    pub(super) stage: Stage,
}

/// How far a server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It verifies.
    Starting,
    /// It waits for the mount.
    Prepared,
    /// It has been told to go on.
    Told,
    /// It serves.
    Serving,
}

impl Server {
    /// Starts one, whose messages and end become `events`.
    pub(super) fn start(
        id: u64,
        program: &Program,
        start: &Start,
        events: &Sender<Event>,
    ) -> anyhow::Result<Self> {
        let (channel, other) = Channel::pair()?;
        let place = if start.foreground {
            FOREGROUND
        } else {
            BACKGROUND
        };
        let child = Command::new(descriptor_path(program.0.as_fd()))
            .arg0(&start.name)
            .args(&start.args)
            .current_dir(descriptor_path(start.directory.as_fd()))
            .env(KEEPER_VARIABLE, format!("{} {place}", std::process::id()))
            // The server is who tells the service manager that all is well.
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(other))
            // A signal from the terminal reaches the keeper alone, which passes it on.
            .process_group(0)
            .spawn()
            .context("cannot start the process that serves")?;
        let number = child.id();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let listening = channel.try_clone()?;
        let events = events.clone();
        thread::Builder::new()
            .name("server".into())
            .spawn(move || listen(id, &listening, child, &events))?;
        Ok(Self {
            id,
            number,
            process,
            channel,
            stage: Stage::Starting,
        })
    }

    /// Tells it something; if it is gone, that is told by its end.
    pub(super) fn tell(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) {
        if let Err(error) = self.channel.send(message, descriptors) {
            tracing::debug!(%error, "the server can't be told");
        }
    }

    /// Whether it was killed, and some of its threads can't end (proc(5): the first one has).
    pub(super) fn is_ending(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.number));
        let state = stat.ok().and_then(|stat| {
            let (_, after) = stat.rsplit_once(") ")?;
            after.chars().next()
        });
        state == Some('Z')
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        if let Err(error) = pidfd_send_signal(&self.process, signal) {
            tracing::debug!(%error, "the server can't be signalled");
        }
    }
}

/// Passes on what a server says, and then its end.
fn listen(id: u64, channel: &Channel, mut child: Child, events: &Sender<Event>) {
    loop {
        match channel.receive() {
            Ok(Some((message, descriptors))) => {
                // Fails once the keeper ends.
                let _ = events.send(Event::Said(id, message, descriptors));
            }
            Ok(None) => break,
            Err(error) => {
                tracing::error!(%error, "what the server said can't be understood");
                break;
            }
        }
    }
    let _ = events.send(Event::Ended(id, child.wait()));
}
