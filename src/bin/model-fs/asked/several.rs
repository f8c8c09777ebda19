//! Several mounts, asked at the same time.
//!
//! Guarantees: one that doesn't answer costs no more time than all that don't; of those that are
//! asked again and again, each has one question that it hasn't answered.

use std::time::Instant;

use model_fs::kernel::mountinfo::MountEntry;
use serde_json::{Map, Value};

use super::question::Question;
use super::{Mount, PATIENCE};
use crate::exit::Failure;

/// How many are asked at the same time: each takes a process.
const AT_ONCE: usize = 256;

/// A mount, and what came of asking it.
pub(crate) type Answer = (MountEntry, Result<Map<String, Value>, Failure>);

/// Those that were asked and haven't answered yet.
#[derive(Default)]
pub(crate) struct Questions(Vec<Asked>);

/// A mount that was asked.
struct Asked {
    mount: Mount,
    question: Question,
    /// Whether it had all its time before.
    is_late: bool,
}

impl Asked {
    fn new(entry: &MountEntry) -> Result<Self, Failure> {
        let mount = Mount::find(&entry.mountpoint)?;
        // The path may lead elsewhere by now: to another user's mount, who says other things.
        if !mount.is(entry) {
            return Err(anyhow::anyhow!("it isn't there any more").into());
        }
        Ok(Self {
            question: mount.ask()?,
            mount,
            is_late: false,
        })
    }

    /// The same question, or another one where no answer can come any more.
    fn again(mut self) -> Result<Self, Failure> {
        if !self.question.is_open() {
            self.question = self.mount.ask()?;
        }
        Ok(self)
    }
}

impl Questions {
    /// What these mounts say, each for itself. Of those that didn't answer the last time, the
    /// answer is looked for and not waited for.
    pub(crate) fn ask(&mut self, entries: Vec<MountEntry>) -> Vec<Answer> {
        let mut late = std::mem::take(&mut self.0);
        let mut answers = Vec::with_capacity(entries.len());
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let asked: Vec<_> = entries
                .by_ref()
                .take(AT_ONCE)
                .map(|entry| {
                    let before = late.iter().position(|asked| asked.mount.is(&entry));
                    let asked = match before {
                        Some(index) => late.swap_remove(index).again(),
                        None => Asked::new(&entry),
                    };
                    (entry, asked)
                })
                .collect();
            let deadline = Instant::now() + PATIENCE;
            for (entry, asked) in asked {
                let facts = asked.and_then(|asked| self.await_answer(asked, deadline));
                answers.push((entry, facts));
            }
        }
        answers
    }

    /// Waits for an answer, and keeps the question where there is none.
    fn await_answer(
        &mut self,
        mut asked: Asked,
        deadline: Instant,
    ) -> Result<Map<String, Value>, Failure> {
        let deadline = if asked.is_late {
            Instant::now()
        } else {
            deadline
        };
        let said = asked.question.wait(deadline)?;
        let is_silent = said.is_none();
        let facts = asked.mount.facts_of(said);
        if is_silent {
            asked.is_late = true;
            self.0.push(asked);
        }
        facts
    }
}
