//! The server's side: what it says to its keeper.

use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, bail};
use model_fs::StatusHandle;
use model_fs::fs::Kept;
use model_fs::kernel::{Handover, Keeper, Keeping};

use super::channel::{Channel, Message, Upgrades, descriptors, handover};

/// The variable by which a server knows that it is one: the number of its keeper, which is its
/// parent, and where that is. Its standard input is the channel.
pub(super) const KEEPER_VARIABLE: &str = "MODEL_FS_KEEPER";

/// A keeper in the foreground.
pub(super) const FOREGROUND: &str = "foreground";

/// A keeper that leaves its terminal once the mount is there.
pub(super) const BACKGROUND: &str = "background";

/// Most characters of a reason.
const MOST_SAID: usize = 1000;

/// The number of this process's keeper, and where it is.
fn keeper() -> Option<(u32, String)> {
    let set = std::env::var(KEEPER_VARIABLE).ok()?;
    let (pid, place) = set.split_once(' ')?;
    let pid: i32 = pid.parse().ok()?;
    let parent = rustix::process::getppid()?.as_raw_pid();
    (pid == parent).then_some((pid.unsigned_abs(), place.to_owned()))
}

/// Whether this process serves for a keeper that is in the background, or will be.
pub(crate) fn is_kept_in_background() -> bool {
    keeper().is_some_and(|(_, place)| place == BACKGROUND)
}

/// A process that serves for a keeper.
#[derive(Debug)]
pub(crate) struct Served {
    /// The keeper's number.
    pid: u32,
    channel: Arc<Channel>,
}

/// This process as one that serves for a keeper, if it is. Once: the channel takes the place of
/// standard input, which is empty then.
pub(crate) fn of_this_process() -> anyhow::Result<Option<Served>> {
    let Some((pid, _)) = keeper() else {
        return Ok(None);
    };
    let channel = rustix::stdio::stdin().try_clone_to_owned()?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(Some(Served {
        pid,
        channel: Arc::new(Channel::new(channel)),
    }))
}

impl Served {
    /// Says that the model is verified, and waits to be told what to mount.
    pub(crate) fn prepared(&self) -> anyhow::Result<(Keeping, Kept)> {
        let lost = "the process that keeps the mount is gone";
        self.channel.send(&Message::Prepared, &[]).context(lost)?;
        let (keeping, upgrades) = match self.channel.receive().context(lost)? {
            Some((Message::Mount, _)) => (Keeping::Kept(self.keeper()), Upgrades::default()),
            Some((Message::TakeOver(facts, upgrades), descriptors)) => {
                let Some(left) = handover(facts, descriptors) else {
                    bail!("the process that keeps the mount left descriptors out");
                };
                (Keeping::TakeOver(Box::new(left), self.keeper()), upgrades)
            }
            Some((other, _)) => bail!("the process that keeps the mount said {other:?}"),
            None => bail!(lost),
        };
        let mut kept = Kept::new(self.pid, keeping.earlier_processes());
        note(&mut kept, upgrades);
        Ok((keeping, kept))
    }

    /// Says why the mount can't be served.
    pub(crate) fn failed(&self, error: &anyhow::Error) {
        let why: String = format!("{error:#}").chars().take(MOST_SAID).collect();
        if let Err(error) = self.channel.send(&Message::Failed(why), &[]) {
            tracing::debug!(%error, "the keeper can't be told");
        }
    }

    /// Leaves with the keeper what another process takes to go on with the mount.
    fn keeper(&self) -> Keeper {
        let channel = Arc::clone(&self.channel);
        Box::new(move |left: Handover| {
            let message = Message::Left(left.facts.clone());
            channel.send(&message, &descriptors(&left, true))
        })
    }

    /// Says that the mount is served, and has its status tell how it is kept.
    pub(crate) fn serving(&self, mounted: &StatusHandle, kept: Kept) -> anyhow::Result<()> {
        let lost = "the process that keeps the mount is gone";
        self.channel.send(&Message::Serving, &[]).context(lost)?;
        let (channel, status) = (Arc::clone(&self.channel), mounted.clone());
        thread::Builder::new()
            .name("keeper".into())
            .spawn(move || listen(&channel, kept, &status))?;
        Ok(())
    }
}

/// Has the status tell of upgrades.
fn note(kept: &mut Kept, upgrades: Upgrades) {
    kept.upgrades = upgrades.done;
    kept.failed_upgrades = upgrades.failed;
    kept.last_failed_upgrade = upgrades.last_failed;
}

/// Takes in what the keeper says while the mount is served.
fn listen(channel: &Channel, mut kept: Kept, status: &StatusHandle) {
    loop {
        match channel.receive() {
            Ok(Some((Message::UpgradeFailed(upgrades), _))) => {
                let why = upgrades.last_failed.as_deref().unwrap_or_default();
                tracing::error!(why, "the upgrade failed; this process serves on");
                note(&mut kept, upgrades);
                status.set_kept(kept.clone());
            }
            Ok(Some((other, _))) => tracing::debug!(?other, "said by the keeper"),
            Ok(None) => {
                tracing::warn!(
                    "the process that keeps this mount is gone; it is served on, but ends with \
                     this process"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the process that keeps this mount can't be heard any more");
                return;
            }
        }
    }
}
