//! Going on with a mount through EROFS that another process served.
//!
//! The kernel's EROFS has an image, and asks the data file for ranges. Both were made by a process
//! that is gone. This one makes them anew, from the signature that it verified and lengths that it
//! proved itself, and goes on only if all of it is the same.
//!
//! Guarantees: no request is taken in, and nothing is left with the keeper, before the image that
//! this process would mount is the one that was mounted, to the byte: by the word of the process
//! before, and by that of the kernel where the mount is in sight. Doesn't: take the mount away if
//! it fails; another process may go on. Doesn't know whether the connection belongs to the mount:
//! whatever asks through it is given what was signed, or an error.

use std::sync::Arc;

use super::answers::Answers;
use super::drop_ranges::{self, Failed};
use super::error::{NoPages, NotStarted};
use super::half::{Half, Parts};
use super::proving::prove_lengths;
use super::settings::Settings;
use super::start::{CONTROL_SOCKET, Started, image_of};
use crate::fs::FileSystem;
use crate::fs::data::DataFile;
use crate::kernel::attach::Attached;
use crate::kernel::control::{Address, Control};
use crate::kernel::handover::{Handover, HandoverFacts, Keeper};
use crate::kernel::mount_error::MountError;
use crate::kernel::options::MountOptions;
use crate::kernel::shutdown::Shutdown;

/// Goes on with what another process left.
pub(in crate::kernel) fn go_on(
    fs: &Arc<FileSystem>,
    options: &MountOptions,
    shutdown: &Shutdown,
    handover: Handover,
    keeper: Keeper,
) -> Result<Started, MountError> {
    let mountpoint = handover.facts.mountpoint();
    take_over(fs, options, shutdown, handover, keeper).map_err(|error| match error {
        NotStarted::Mount(error) => error,
        NotStarted::Lane(reason) => MountError::CannotGoOn {
            mountpoint,
            reason: reason.with_remedy(),
        },
    })
}

fn take_over(
    fs: &Arc<FileSystem>,
    options: &MountOptions,
    shutdown: &Shutdown,
    handover: Handover,
    keeper: Keeper,
) -> Result<Started, NotStarted> {
    let Handover {
        facts,
        connection,
        place,
        device: _,
        listener,
    } = handover;
    let mountpoint = || facts.mountpoint();
    let processes = facts.next_or_end()?;
    let identity = facts.identity();
    prove_lengths(fs, shutdown)?;
    let data = DataFile::new(Arc::clone(fs)).map_err(NoPages::from)?;
    let digest = image_of(&data, options)?.digest().map_err(NoPages::from)?;
    let shown = digest.to_string();
    let another = || MountError::AnotherModel {
        mountpoint: mountpoint(),
    };
    if facts.shown != shown {
        return Err(another().into());
    }
    let (Some(reads_from), Some(listener)) = (facts.reads_from, listener) else {
        return Err(MountError::Vanished {
            mountpoint: mountpoint(),
        }
        .into());
    };
    let breaks = facts.pages_control(&connection).ok_or(NoPages::NoControl)?;
    let attached = Attached::take_over(identity, (&connection, breaks), place, mountpoint())?;
    // Out of sight, it can't be asked.
    if let Ok(root) = attached.open_root() {
        let told = rustix::fs::fstatvfs(&root).map_err(NoPages::step("asking the mount"))?;
        if told.f_fsid != digest.number() {
            return Err(another().into());
        }
    }
    let (failed, told) = Failed::new();
    let answers = Answers::default();
    let parts = Parts {
        data: &data,
        answers: &answers,
        failed: &failed,
        options,
    };
    let (half, device) = Half::again(parts, connection, facts.handshake())?;
    let (connection, place) = attached.descriptors().map_err(MountError::Descriptors)?;
    let attached = Arc::new(attached);
    drop_ranges::start(told, &attached, fs)?;
    let handshake = facts.handshake().clone();
    let left = HandoverFacts::new(attached.mountpoint(), identity, handshake, shown, processes);
    keeper(Handover {
        facts: left.reading_from(reads_from),
        connection,
        place,
        device: Some(device),
        listener: Some(listener.try_clone().map_err(MountError::Descriptors)?),
    })
    .map_err(MountError::Handshake)?;
    let served = half.serve()?;
    let address = Address::pages(identity.device);
    let control = Control::go_on(address, listener).map_err(NoPages::io(CONTROL_SOCKET))?;
    served.gate.open(&shutdown.sender);
    Ok(Started {
        attached,
        tuning: Settings::of(reads_from.settings).tune(),
        requests: served.requests,
        answers,
        control,
    })
}
