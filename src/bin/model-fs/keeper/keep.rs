//! The keeper: which server there is, and what follows from what it says and from its end.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use model_fs::kernel::{Handover, HandoverFacts, unmount_or_detach};
use model_fs::name::Escaped;
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::channel::Message;
use super::event::Event;
use super::server::{Program, Server, Stage, Start};
use crate::args::MountArgs;
use crate::background;
use crate::exit::{Exit, Failure};
use crate::logging::Detached;
use crate::pid_file::PidFile;
use crate::signals;

/// Servers in a row that may be killed before they serve. A server that fails by itself isn't
/// followed by another.
const MOST_KILLED: u32 = 8;

/// How long the keeper waits before it starts the one after; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Whether another process can be started with these arguments later. What a shell passes on by a
/// descriptor is gone once it was read.
pub(crate) fn check_arguments(args: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    const PASSED: [&str; 3] = ["/dev/fd/", "/dev/stdin", "/proc/self/fd/"];
    for arg in args {
        let text = arg.to_string_lossy();
        let value = text.split_once('=').map_or(&*text, |(_, value)| value);
        let found = std::fs::metadata(value).map(|found| found.file_type());
        let is_stream = found.is_ok_and(|found| found.is_fifo() || found.is_socket());
        if is_stream || PASSED.iter().any(|start| value.starts_with(start)) {
            let said = anyhow!(
                "{} can be read only once, and a mount that is kept alive reads it again: give a \
                 file",
                Escaped::path(std::path::Path::new(value))
            );
            return Err(Failure::new(Exit::Usage, said));
        }
    }
    Ok(())
}

/// Keeps the mount that the command line of this process asks for, until it ends.
pub(crate) fn run(
    args: &MountArgs,
    is_background_child: bool,
    logging: &Detached,
) -> Result<ExitCode, Failure> {
    let pid_file = args.pid_file.as_deref().map(PidFile::prepare).transpose()?;
    let (events, received) = channel();
    answers(&events, logging.clone())?;
    // Not by name: the file at that path may be another one by now.
    let program = Program::open("/proc/self/exe".as_ref()).context("cannot tell the program")?;
    let path = std::env::current_exe().context("cannot tell the program's path")?;
    let start = Start::like_this(args.foreground)?;
    let server = Server::start(0, &program, &start, &events)?;
    let keeper = Keeper {
        start,
        program,
        replaced: None,
        path,
        pid_file,
        background: is_background_child.then(|| logging.clone()),
        events,
        server: Some(server),
        next: None,
        started: 1,
        left: None,
        is_there: false,
        stopping: false,
        killed: 0,
    };
    Ok(keeper.run(&received)?)
}

/// Has signals become events. SIGHUP opens this process's own log anew as well.
fn answers(events: &Sender<Event>, log: Detached) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
    let events = events.clone();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for number in signals.forever() {
                if number == SIGHUP {
                    log.reopen();
                }
                // Fails once the keeper ends.
                let _ = events.send(Event::Signal(number));
            }
        })?;
    signals::answer()
}

struct Keeper {
    start: Start,
    /// What servers run.
    program: Program,
    /// What they ran before an upgrade that isn't through yet.
    replaced: Option<Program>,
    /// Where this program lay, and an upgrade is to be found.
    path: PathBuf,
    pid_file: Option<PidFile>,
    /// Whether this process leaves its terminal once the mount is there; then its log goes along.
    background: Option<Detached>,
    events: Sender<Event>,
    server: Option<Server>,
    /// The one that is to follow by an upgrade, and its program.
    next: Option<(Server, Program)>,
    /// Servers that were started.
    started: u64,
    /// What the last server left.
    left: Option<Handover>,
    /// Whether a server has said that it serves.
    is_there: bool,
    stopping: bool,
    /// Servers in a row that were killed before they served.
    killed: u32,
}

impl Keeper {
    fn run(mut self, events: &Receiver<Event>) -> anyhow::Result<ExitCode> {
        loop {
            let end = match events.recv()? {
                Event::Signal(number) => {
                    self.signalled(number);
                    None
                }
                Event::Said(id, message, descriptors) => {
                    self.said(id, message, descriptors)?;
                    None
                }
                Event::Ended(id, status) => self.ended(id, status?)?,
            };
            if let Some(code) = end {
                return Ok(code);
            }
        }
    }

    fn signalled(&mut self, number: i32) {
        match number {
            SIGUSR2 => self.upgrade(),
            SIGHUP | SIGUSR1 => self.pass_on(number),
            _ => {
                self.stopping = true;
                if let Some((next, _)) = &self.next {
                    next.signal(Signal::KILL);
                }
                // One that doesn't serve yet has nothing to end in good order, and may hang.
                let later = self.server.as_ref().filter(|_| self.is_there);
                match later.filter(|server| server.stage != Stage::Serving) {
                    Some(server) => server.signal(Signal::KILL),
                    None => self.pass_on(number),
                }
            }
        }
    }

    /// Passes a signal on. A server that doesn't know signals yet ends by one.
    fn pass_on(&self, number: i32) {
        let signal = match number {
            SIGHUP => Signal::HUP,
            SIGUSR1 => Signal::USR1,
            SIGINT => Signal::INT,
            _ => Signal::TERM,
        };
        if let Some(server) = &self.server {
            server.signal(signal);
        }
    }

    fn said(&mut self, id: u64, message: Message, descriptors: Vec<OwnedFd>) -> anyhow::Result<()> {
        match message {
            Message::Prepared if self.is_next(id) => self.prepared_to_follow(),
            _ if self.server.as_ref().is_none_or(|server| server.id != id) => {}
            Message::Prepared => {
                self.set_stage(Stage::Prepared);
                self.tell_to_serve();
            }
            Message::Left(facts) => self.left(facts, descriptors)?,
            Message::Serving => self.serving()?,
            Message::Mount
            | Message::TakeOver(_)
            | Message::Upgraded
            | Message::UpgradeFailed(_) => {}
        }
        Ok(())
    }

    fn is_next(&self, id: u64) -> bool {
        let next = self.next.as_ref();
        next.is_some_and(|(server, _)| server.id == id)
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(server) = &mut self.server {
            server.stage = stage;
        }
    }

    /// The server goes on with what the last one left, or makes the mount.
    fn tell_to_serve(&mut self) {
        let Some(server) = &self.server else {
            return;
        };
        match &self.left {
            None => server.tell(&Message::Mount, &[]),
            Some(left) => {
                let message = Message::TakeOver(left.facts.clone());
                server.tell(&message, &[&left.connection, &left.place]);
            }
        }
        self.set_stage(Stage::Told);
    }

    fn left(&mut self, facts: HandoverFacts, descriptors: Vec<OwnedFd>) -> anyhow::Result<()> {
        let mut descriptors = descriptors.into_iter();
        let (Some(connection), Some(place)) = (descriptors.next(), descriptors.next()) else {
            return Err(anyhow!("the process that serves left descriptors out"));
        };
        self.left = Some(Handover {
            facts,
            connection,
            place,
            device: descriptors.next(),
        });
        Ok(())
    }

    fn serving(&mut self) -> anyhow::Result<()> {
        self.set_stage(Stage::Serving);
        self.killed = 0;
        if let (Some(_), Some(server)) = (self.replaced.take(), &self.server) {
            server.tell(&Message::Upgraded, &[]);
        }
        let is_first = !std::mem::replace(&mut self.is_there, true);
        if is_first {
            if let Some(file) = &mut self.pid_file {
                file.write()?;
            }
            if let Some(logging) = &self.background {
                background::detach(logging)?;
            }
        }
        Ok(())
    }

    /// Starts a server with the program that has the path of this one now.
    fn upgrade(&mut self) {
        if let Err(error) = self.try_upgrade() {
            self.upgrade_failed(&format!("{error:#}"));
        }
    }

    fn try_upgrade(&mut self) -> anyhow::Result<()> {
        let left = self.left.as_ref();
        let left = left.filter(|_| !self.stopping && self.next.is_none());
        let left = left.context("there is no mount that could be upgraded now")?;
        if !left.facts.can_resend() {
            return Err(anyhow!(
                "this kernel can't ask again what the process that ends didn't answer \
                 (Linux 6.9 can): unmount, and mount again"
            ));
        }
        let program = Program::open(&self.path)
            .with_context(|| format!("cannot open {}", Escaped::path(&self.path)))?;
        let server = Server::start(self.started, &program, &self.start, &self.events)?;
        self.started += 1;
        self.next = Some((server, program));
        Ok(())
    }

    fn upgrade_failed(&self, why: &str) {
        tracing::error!(why, "the upgrade failed");
        // Any other waits to be told something else.
        let serving = |server: &&Server| server.stage == Stage::Serving;
        if let Some(server) = self.server.as_ref().filter(serving) {
            server.tell(&Message::UpgradeFailed(why.to_owned()), &[]);
        }
    }

    /// The next server is ready, so the one that serves makes way.
    fn prepared_to_follow(&mut self) {
        if let Some((next, _)) = &mut self.next {
            next.stage = Stage::Prepared;
        }
        if let Some(server) = &self.server {
            server.signal(Signal::KILL);
        }
    }

    /// What follows from the end of a server: the exit code, if it is the end of all.
    fn ended(&mut self, id: u64, status: ExitStatus) -> anyhow::Result<Option<ExitCode>> {
        if self.is_next(id) {
            self.next = None;
            if !self.stopping {
                self.upgrade_failed(&format!("the new version ended with {status}"));
            }
            return Ok(None);
        }
        if self.server.as_ref().is_none_or(|server| server.id != id) {
            return Ok(None);
        }
        let ended = self.server.take();
        let stage = ended.map_or(Stage::Starting, |server| server.stage);
        let Some(left) = &self.left else {
            // It has said why.
            return end(false, status);
        };
        if !left.stands() {
            // Taken away while nobody served it; or by the server, which says how that went.
            let nobody = stage != Stage::Serving && self.is_there;
            return end(nobody, status);
        }
        if status.success() || (self.stopping && self.is_there) {
            // A clean end leaves nothing; this one was killed, or failed on the way.
            self.take_away();
            let clean = matches!(status.code(), None | Some(0)) || stage != Stage::Serving;
            return end(clean, status);
        }
        if let Some((next, program)) = self.next.take_if(|(next, _)| next.stage == Stage::Prepared)
        {
            self.server = Some(next);
            self.replaced = Some(std::mem::replace(&mut self.program, program));
            self.tell_to_serve();
            return Ok(None);
        }
        if stage != Stage::Serving {
            self.killed += 1;
            if let Some(replaced) = self.replaced.take() {
                tracing::error!(%status, "the upgrade failed; the version before goes on");
                self.program = replaced;
            } else if status.code().is_some() || self.killed > MOST_KILLED {
                tracing::error!(%status, "no process can go on with the mount, which ends");
                self.take_away();
                return end(false, status);
            }
            thread::sleep(FIRST_PAUSE * 2_u32.pow(self.killed.saturating_sub(1).min(MOST_KILLED)));
        }
        tracing::warn!(%status, "the process that serves has ended; another one goes on");
        self.start_next()
    }

    /// Starts the next server, also where no process can be started for a moment.
    fn start_next(&mut self) -> anyhow::Result<Option<ExitCode>> {
        for attempt in 0..=MOST_KILLED {
            match Server::start(self.started, &self.program, &self.start, &self.events) {
                Ok(server) => {
                    self.started += 1;
                    self.server = Some(server);
                    return Ok(None);
                }
                Err(error) if attempt == MOST_KILLED => {
                    tracing::error!("no process can be started to go on; the mount ends");
                    self.take_away();
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(%error, "no process can be started now");
                    thread::sleep(FIRST_PAUSE * 2_u32.pow(attempt));
                }
            }
        }
        Ok(None)
    }

    /// Unmounts what nobody serves any more. The connection ends with this process, so whoever has
    /// a file open there gets an error.
    fn take_away(&mut self) {
        let Some(left) = self.left.take() else {
            return;
        };
        let mountpoint = left.facts.mountpoint();
        // Broken first, so that nothing waits while it is looked at.
        drop(left);
        if let Err(error) = unmount_or_detach(&mountpoint) {
            let mountpoint = Escaped::path(&mountpoint);
            tracing::error!(%error, %mountpoint, "cannot unmount");
        }
    }
}

/// The end of this process: clean, or as that of its server.
fn end(is_clean: bool, status: ExitStatus) -> anyhow::Result<Option<ExitCode>> {
    match status.code() {
        _ if is_clean => Ok(Some(ExitCode::SUCCESS)),
        Some(code) => Ok(Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))),
        None => Err(anyhow!("the process that serves was ended: {status}")),
    }
}
