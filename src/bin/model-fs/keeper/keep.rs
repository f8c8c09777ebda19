//! The keeper: which server there is, and what follows from what it says and from its end.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use model_fs::kernel::{Handover, HandoverFacts, UnmountError};
use model_fs::name::Escaped;
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::channel::{Message, Upgrades, descriptors, handover};
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

/// How often it is looked whether anybody answers, where whoever reads can't be let go.
const LOOK: Duration = Duration::from_secs(5);

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
        upgrades: Upgrades::default(),
        said: None,
        is_there: false,
        stopping: false,
        killed: 0,
        not_started: 0,
        start_at: None,
        silent_since: None,
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
    upgrades: Upgrades,
    /// What the server said of why it fails.
    said: Option<String>,
    /// Whether a server has said that it serves.
    is_there: bool,
    stopping: bool,
    /// Servers in a row that were killed before they served.
    killed: u32,
    /// Attempts in a row to start one that failed.
    not_started: u32,
    /// When the next is started, while there is none.
    start_at: Option<Instant>,
    /// Since when none answers.
    silent_since: Option<Instant>,
}

impl Keeper {
    fn run(mut self, events: &Receiver<Event>) -> anyhow::Result<ExitCode> {
        loop {
            let event = match self.next_look() {
                None => Some(events.recv()?),
                Some(at) => {
                    match events.recv_timeout(at.saturating_duration_since(Instant::now())) {
                        Ok(event) => Some(event),
                        Err(RecvTimeoutError::Timeout) => None,
                        Err(error @ RecvTimeoutError::Disconnected) => return Err(error.into()),
                    }
                }
            };
            let end = match event {
                None => self.look()?,
                Some(Event::Signal(number)) => self.signalled(number)?,
                Some(Event::Said(id, message, descriptors)) => {
                    self.said(id, message, descriptors)?;
                    None
                }
                Some(Event::Ended(id, status)) => self.ended(id, status?)?,
            };
            if let Some(code) = end {
                return Ok(code);
            }
        }
    }

    /// When something is to be done though nothing happens.
    fn next_look(&self) -> Option<Instant> {
        let bounded = self.most_silence().is_some();
        let look = bounded.then(|| Instant::now() + LOOK);
        self.start_at.into_iter().chain(look).min()
    }

    /// How long the mount may go without a server; `None` where those who wait can be let go.
    fn most_silence(&self) -> Option<Duration> {
        self.left.as_ref()?.facts.most_silence()
    }

    /// Starts the next server if it is time to, and ends what nobody answers for.
    fn look(&mut self) -> anyhow::Result<Option<ExitCode>> {
        if self.start_at.is_some_and(|at| at <= Instant::now()) {
            return self.start_next();
        }
        let serving = self.server.as_ref();
        let serving = serving.filter(|server| server.stage == Stage::Serving);
        // It may wait for an answer itself, and then ends only with the mount.
        if self.silent_since.is_none() && serving.is_some_and(Server::is_ending) {
            self.silent_since = Some(Instant::now());
        }
        let silent = self.silent_since.zip(self.most_silence());
        if silent.is_none_or(|(since, most)| since.elapsed() < most) {
            return Ok(None);
        }
        tracing::error!("no process has answered for the mount for too long; it ends");
        let next = self.next.as_ref().map(|(next, _)| next);
        for server in self.server.iter().chain(next) {
            server.signal(Signal::KILL);
        }
        self.take_away();
        if self.stopping {
            return Ok(Some(ExitCode::SUCCESS));
        }
        Err(anyhow!("no process could go on with the mount in time"))
    }

    fn signalled(&mut self, number: i32) -> anyhow::Result<Option<ExitCode>> {
        match number {
            SIGUSR2 => self.upgrade(),
            SIGHUP | SIGUSR1 => self.pass_on(number),
            _ => {
                self.stopping = true;
                if let Some((next, _)) = &self.next {
                    next.signal(Signal::KILL);
                }
                // Between two servers.
                if self.server.is_none() {
                    self.take_away();
                    if self.is_there {
                        return Ok(Some(ExitCode::SUCCESS));
                    }
                    return Err(not_ready());
                }
                // One that doesn't serve yet has nothing to end in good order, and may hang.
                let later = self.server.as_ref().filter(|_| self.is_there);
                match later.filter(|server| server.stage != Stage::Serving) {
                    Some(server) => server.signal(Signal::KILL),
                    None => self.pass_on(number),
                }
            }
        }
        Ok(None)
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
            Message::Failed(why) if self.is_next(id) => self.said = Some(why),
            _ if self.server.as_ref().is_none_or(|server| server.id != id) => {}
            Message::Prepared => {
                self.set_stage(Stage::Prepared);
                self.tell_to_serve();
            }
            Message::Left(facts) => self.left(facts, descriptors)?,
            Message::Serving => self.serving()?,
            Message::Failed(why) => self.said = Some(why),
            Message::Mount | Message::TakeOver(..) | Message::UpgradeFailed(_) => {}
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
                let mut upgrades = self.upgrades.clone();
                upgrades.done += u32::from(self.replaced.is_some());
                let message = Message::TakeOver(left.facts.clone(), upgrades);
                server.tell(&message, &descriptors(left, false));
            }
        }
        self.set_stage(Stage::Told);
    }

    fn left(&mut self, facts: HandoverFacts, descriptors: Vec<OwnedFd>) -> anyhow::Result<()> {
        let left = handover(facts, descriptors);
        self.left = Some(left.context("the process that serves left descriptors out")?);
        Ok(())
    }

    fn serving(&mut self) -> anyhow::Result<()> {
        self.set_stage(Stage::Serving);
        self.killed = 0;
        self.silent_since = None;
        self.upgrades.done += u32::from(self.replaced.take().is_some());
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
            self.upgrade_failed(format!("{error:#}"));
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

    fn upgrade_failed(&mut self, why: String) {
        tracing::error!(why, "the upgrade failed");
        self.upgrades.failed += 1;
        self.upgrades.last_failed = Some(why);
        // Any other is told when it takes over.
        let serving = |server: &&Server| server.stage == Stage::Serving;
        if let Some(server) = self.server.as_ref().filter(serving) {
            server.tell(&Message::UpgradeFailed(self.upgrades.clone()), &[]);
        }
    }

    /// Why a new version failed that ended like this.
    fn why(&mut self, status: ExitStatus) -> String {
        let said = self.said.take();
        let said = said.map_or_else(String::new, |why| format!(": {why}"));
        format!("the new version ended with {status}{said}")
    }

    /// The next server is ready, so the one that serves makes way.
    fn prepared_to_follow(&mut self) {
        if let Some((next, _)) = &mut self.next {
            next.stage = Stage::Prepared;
        }
        match &self.server {
            Some(server) => server.signal(Signal::KILL),
            None => {
                self.follow();
            }
        }
    }

    /// Has the next server go on, if it is ready: whether it is.
    fn follow(&mut self) -> bool {
        let ready = |(next, _): &mut (Server, Program)| next.stage == Stage::Prepared;
        let Some((next, program)) = self.next.take_if(ready) else {
            return false;
        };
        self.start_at = None;
        self.server = Some(next);
        self.replaced = Some(std::mem::replace(&mut self.program, program));
        self.tell_to_serve();
        true
    }

    /// What follows from the end of a server: the exit code, if it is the end of all.
    fn ended(&mut self, id: u64, status: ExitStatus) -> anyhow::Result<Option<ExitCode>> {
        if self.is_next(id) {
            self.next = None;
            if !self.stopping {
                let why = self.why(status);
                self.upgrade_failed(why);
            }
            return Ok(None);
        }
        if self.server.as_ref().is_none_or(|server| server.id != id) {
            return Ok(None);
        }
        let ended = self.server.take();
        let stage = ended.map_or(Stage::Starting, |server| server.stage);
        self.silent_since.get_or_insert_with(Instant::now);
        if self.left.as_ref().is_none_or(|left| !left.stands()) {
            // It has said why. Or the mount was taken away: while nobody served it, or by the
            // server, which says how that went.
            let nobody = self.left.is_some() && stage != Stage::Serving && self.is_there;
            self.left.take().into_iter().for_each(Handover::forget);
            return end(nobody, status);
        }
        // Also one that was killed before it could say that it serves: no other may follow.
        if status.success() || self.stopping {
            // A clean end leaves nothing; this one was killed, or failed on the way.
            self.take_away();
            if self.stopping && !self.is_there {
                return Err(not_ready());
            }
            let clean = matches!(status.code(), None | Some(0)) || stage != Stage::Serving;
            return end(clean, status);
        }
        if self.follow() {
            return Ok(None);
        }
        let mut pause = Duration::ZERO;
        if stage != Stage::Serving {
            self.killed += 1;
            if let Some(replaced) = self.replaced.take() {
                let why = self.why(status);
                self.upgrade_failed(why);
                self.program = replaced;
            } else if status.code().is_some() || self.killed > MOST_KILLED {
                tracing::error!(%status, "no process can go on with the mount, which ends");
                self.take_away();
                return end(false, status);
            }
            pause = pause_after(self.killed.saturating_sub(1));
        }
        tracing::warn!(%status, "the process that serves has ended; another one goes on");
        self.said = None;
        if pause.is_zero() {
            return self.start_next();
        }
        self.start_at = Some(Instant::now() + pause);
        Ok(None)
    }

    /// Starts the next server; later, where no process can be started for a moment.
    fn start_next(&mut self) -> anyhow::Result<Option<ExitCode>> {
        self.start_at = None;
        match Server::start(self.started, &self.program, &self.start, &self.events) {
            Ok(server) => {
                self.started += 1;
                self.not_started = 0;
                self.server = Some(server);
            }
            Err(error) if self.not_started == MOST_KILLED => {
                tracing::error!("no process can be started to go on; the mount ends");
                self.take_away();
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(%error, "no process can be started now");
                self.start_at = Some(Instant::now() + pause_after(self.not_started));
                self.not_started += 1;
            }
        }
        Ok(None)
    }

    /// Unmounts what nobody serves any more, so whoever has a file open there gets an error.
    fn take_away(&mut self) {
        let Some(left) = self.left.take() else {
            return;
        };
        let mountpoint = left.facts.mountpoint();
        if let Err(error) = left.give_up()
            && !matches!(error, UnmountError::NotMounted { .. })
        {
            let mountpoint = Escaped::path(&mountpoint);
            tracing::error!(%error, %mountpoint, "cannot unmount");
        }
    }
}

/// The pause after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE * 2_u32.pow(failures.min(MOST_KILLED))
}

/// A stop was asked for too early.
fn not_ready() -> anyhow::Error {
    anyhow!("interrupted before the mount was ready")
}

/// The end of this process: clean, or as that of its server.
fn end(is_clean: bool, status: ExitStatus) -> anyhow::Result<Option<ExitCode>> {
    match status.code() {
        _ if is_clean => Ok(Some(ExitCode::SUCCESS)),
        Some(code) => Ok(Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))),
        None => Err(anyhow!("the process that serves was ended: {status}")),
    }
}
