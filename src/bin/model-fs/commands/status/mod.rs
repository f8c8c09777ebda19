//! `model-fs status`.
//!
//! Guarantees: what is shown is the word of the mount (see [`asked`](crate::asked)), but for the
//! user who mounted it, which is the kernel's. Of all mounts, each is asked for itself: one that
//! doesn't answer hides no other. Doesn't: believe more than that.

mod check;
mod text;

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use model_fs::kernel::mountinfo::MountEntry;
use model_fs::name::Escaped;
use serde_json::{Map, Value, json};

use crate::args::StatusArgs;
use crate::asked::{self, Mount, Questions};
use crate::exit::Failure;
use crate::terminal;

/// How often `--watch` looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// To the upper left corner, and nothing beneath (ECMA-48, CUP and ED).
const CLEAR: &[u8] = b"\x1b[H\x1b[J";

pub(crate) fn run(args: &StatusArgs) -> Result<(), Failure> {
    if args.status_child {
        return asked::answer();
    }
    let mut questions = Questions::default();
    let mut look = || match &args.mountpoint {
        Some(mountpoint) => one(args, mountpoint),
        None => all(args, &mut questions),
    };
    if !args.watch {
        return look().map(drop);
    }
    loop {
        if !args.json && std::io::stdout().is_terminal() {
            terminal::print_bytes(CLEAR)?;
        }
        // What nobody takes any more needs no further look.
        if look()? == Taken::No {
            return Ok(());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Whether somebody takes what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    No,
}

/// The mount at a path.
fn one(args: &StatusArgs, mountpoint: &Path) -> Result<Taken, Failure> {
    let mount = Mount::find(mountpoint)?;
    let facts = with_user(mount.facts()?, mount.user());
    if args.json {
        print_json(args, &Value::Object(facts.clone()))?;
    }
    if args.check {
        check::check(mount.user(), facts)?;
    } else if !args.json {
        print_text(args, mount.user(), facts)?;
    }
    Ok(taken())
}

/// All mounts of this host that are called ours.
fn all(args: &StatusArgs, questions: &mut Questions) -> Result<Taken, Failure> {
    let mut mounts = asked::all()?;
    if args.check {
        // Others' are not even asked.
        mounts.retain(|entry| {
            let is_own = check::is_own(entry);
            if !is_own {
                let mountpoint = Escaped::path(&entry.mountpoint);
                terminal::note(&format!("left out: {mountpoint}, mounted by another user"));
            }
            is_own
        });
    }
    let asked = questions.ask(mounts).into_iter().map(Asked::of);
    let asked: Vec<Asked> = asked.collect();
    if args.json {
        let documents = asked.iter().map(Asked::document).collect();
        print_json(args, &Value::Array(documents))?;
    }
    if args.check {
        check::check_all(asked.into_iter().map(|it| (it.entry, it.facts)))?;
        return Ok(taken());
    }
    let failed = asked.iter().filter(|it| it.is_failure()).count();
    if !args.json {
        if asked.is_empty() {
            terminal::note("no model is mounted here");
        }
        for (index, it) in asked.into_iter().enumerate() {
            if index > 0 {
                terminal::print("\n")?;
            }
            match it.facts {
                Ok(facts) => print_text(args, it.entry.user, facts)?,
                Err(_) => terminal::print(&text::to_text(it.map()))?,
            }
        }
    }
    match failed {
        // What is there now may not be in a moment.
        _ if args.watch => Ok(taken()),
        0 => Ok(taken()),
        1 => Err(not_asked("a mount can't be asked".to_owned())),
        failed => Err(not_asked(format!("{failed} mounts can't be asked"))),
    }
}

fn not_asked(said: String) -> Failure {
    let hint = "\"model-fs status MOUNTPOINT\" says what helps, for each";
    Failure::from(anyhow::Error::msg(said)).with_hint(hint.to_owned())
}

/// A mount, and what came of asking it.
struct Asked {
    entry: MountEntry,
    facts: Result<Map<String, Value>, Failure>,
}

impl Asked {
    fn of((entry, facts): (MountEntry, Result<Map<String, Value>, Failure>)) -> Self {
        let facts = facts.map(|facts| with_user(facts, entry.user));
        Self { entry, facts }
    }

    /// Whether it should have been told: another user's mount needn't be open to this one.
    fn is_failure(&self) -> bool {
        self.facts.is_err() && check::is_own(&self.entry)
    }

    fn document(&self) -> Value {
        match &self.facts {
            Ok(facts) => Value::Object(facts.clone()),
            Err(_) => Value::Object(self.map()),
        }
    }

    /// What is known of a mount that can't be asked.
    fn map(&self) -> Map<String, Value> {
        let mut facts = Map::new();
        let source = Escaped::path(&self.entry.source).to_string();
        let mountpoint = Escaped::path(&self.entry.mountpoint).to_string();
        facts.insert(
            "mount".to_owned(),
            json!({"mountpoint": mountpoint, "source": source}),
        );
        facts.insert("mounted_by".to_owned(), self.entry.user.into());
        if let Err(failure) = &self.facts {
            facts.insert("error".to_owned(), terminal::plain(failure).into());
        }
        facts
    }
}

/// What a mount says, and who mounted it: that is the kernel's word, whatever the mount says.
fn with_user(mut facts: Map<String, Value>, user: Option<u32>) -> Map<String, Value> {
    facts.insert("mounted_by".to_owned(), user.into());
    facts
}

fn print_json(args: &StatusArgs, document: &Value) -> Result<(), Failure> {
    if args.watch {
        return terminal::print_json_line(document);
    }
    terminal::print_json(document)
}

fn print_text(
    args: &StatusArgs,
    user: Option<u32>,
    facts: Map<String, Value>,
) -> Result<(), Failure> {
    if let Some(user) = user
        && !asked::is_believed(user)
        && !args.watch
    {
        terminal::note(&format!(
            "what follows is the word of user {user}, who mounted this"
        ));
    }
    terminal::print(&text::to_text(facts))
}

/// Whether the other end of a pipe is still there.
fn taken() -> Taken {
    use rustix::event::{PollFd, PollFlags, Timespec};

    let stdout = std::io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec::default();
    let gone = rustix::event::poll(&mut polled, Some(&now)).is_ok()
        && polled[0].revents().contains(PollFlags::ERR);
    if gone { Taken::No } else { Taken::Yes }
}
