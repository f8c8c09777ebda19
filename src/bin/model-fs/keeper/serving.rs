//! The server's side: what it says to its keeper.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, bail};
use model_fs::StatusHandle;
use model_fs::fs::Kept;
use model_fs::kernel::{Handover, Keeper, Keeping};

use super::channel::{Channel, Message};

/// The variable by which a server knows that it is one: the number of its keeper, which is its
/// parent, and where that is. Its standard input is the channel.
pub(super) const KEEPER_VARIABLE: &str = "MODEL_FS_KEEPER";

/// A keeper in the foreground.
pub(super) const FOREGROUND: &str = "foreground";

/// A keeper that leaves its terminal once the mount is there.
pub(super) const BACKGROUND: &str = "background";

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
        let keeping = match self.channel.receive().context(lost)? {
            Some((Message::Mount, _)) => Keeping::Kept(self.keeper()),
            Some((Message::TakeOver(facts), descriptors)) => {
                let Ok([connection, place]) = <[_; 2]>::try_from(descriptors) else {
                    bail!("the process that keeps the mount left descriptors out");
                };
                let handover = Handover {
                    facts,
                    connection,
                    place,
                    device: None,
                };
                Keeping::TakeOver(Box::new(handover), self.keeper())
            }
            Some((other, _)) => bail!("the process that keeps the mount said {other:?}"),
            None => bail!(lost),
        };
        let kept = Kept::new(self.pid, keeping.earlier_processes());
        Ok((keeping, kept))
    }

    /// Leaves with the keeper what another process takes to go on with the mount.
    fn keeper(&self) -> Keeper {
        let channel = Arc::clone(&self.channel);
        Box::new(move |left: Handover| {
            let message = Message::Left(left.facts);
            let mut descriptors = vec![left.connection.as_fd(), left.place.as_fd()];
            descriptors.extend(left.device.as_ref().map(OwnedFd::as_fd));
            channel.send(&message, &descriptors)
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

/// Takes in what the keeper says while the mount is served.
fn listen(channel: &Channel, mut kept: Kept, status: &StatusHandle) {
    loop {
        match channel.receive() {
            Ok(Some((Message::UpgradeFailed(why), _))) => {
                tracing::error!(why, "the upgrade failed; this process serves on");
                kept.failed_upgrades += 1;
                kept.last_failed_upgrade = Some(why);
                status.set_kept(kept.clone());
            }
            Ok(Some((Message::Upgraded, _))) => {
                kept.upgraded = true;
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
