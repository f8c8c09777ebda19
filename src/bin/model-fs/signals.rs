//! Signals that come before, or beside, what a verb does about them.
//!
//! Guarantees: none of those that a mount has an answer to is lost, or ends the process, because it
//! came before the handler was there; a process that a signal ends leaves no file on its way to its
//! name and no bar on its terminal, and ends as the signal would have ended it, so that a shell
//! says 130 after Ctrl-C; a signal that the caller has this process ignore (`nohup`) is ignored.
//! Doesn't: keep SIGKILL from leaving things, or take a mount away, which is the library's.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use model_fs::files::abandon_files;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTOU, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::terminal;

/// Those that a mount has an answer to, beside the ones that are to end it.
const ASKING: [i32; 3] = [SIGHUP, SIGUSR1, SIGUSR2];

/// Those by which a user ends a program, or the system does.
const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// How long clearing a terminal may take, which may be one that takes no output now.
const PATIENCE: Duration = Duration::from_millis(200);

/// What every process of this program does first. Holds back what a mount answers, until
/// [`answer`] or [`as_usual`]. And what stops a process in the background that writes to its
/// terminal (`stty tostop`): a mount must not be stopped because it has something to log.
pub(crate) fn hold_back() {
    mask(libc::SIG_BLOCK, &ASKING);
    mask(libc::SIG_BLOCK, &[SIGTTOU]);
}

/// For a process that doesn't serve a mount: signals do what they do to any program.
pub(crate) fn as_usual() {
    mask(libc::SIG_UNBLOCK, &ASKING);
    mask(libc::SIG_UNBLOCK, &[SIGTTOU]);
}

/// For one that does, when its handlers are there: what was held back comes now.
///
/// # Errors
/// When a handler can't be set.
pub(crate) fn answer() -> io::Result<()> {
    // Where nothing else has an answer to it, it is no reason to end.
    signal_hook::flag::register(SIGUSR2, Arc::default())?;
    mask(libc::SIG_UNBLOCK, &ASKING);
    Ok(())
}

/// Sets or clears signals in the mask of this thread, which threads that it starts have too.
#[allow(unsafe_code)]
fn mask(how: i32, signals: &[i32]) {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is made by the first call, and read and written by those after it only while
    // it is there. None can fail with signals and an operation that there are.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), std::ptr::null_mut());
    }
}

/// What [`leave_nothing`] notes.
static NOTED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// From now on, what ends this process does so when nothing is half done.
pub(crate) fn leave_nothing() {
    // Without it, signals end the process as they do any.
    if let Ok(noted) = before_the_end(|| {}) {
        let _ = NOTED.set(noted);
    }
}

/// For a command that has failed: never returns where that is because of a signal that is about to
/// end this process, and has ended a child before.
pub(crate) fn wait_where_ending() {
    while NOTED.get().is_some_and(|it| it.load(Ordering::SeqCst) != 0) {
        thread::park();
    }
}

/// The same, and does `last` before. Gives what [`noted`] does, which is set at once.
///
/// # Errors
/// When a handler can't be set or a thread can't be started.
pub(crate) fn before_the_end(last: impl Fn() + Send + 'static) -> io::Result<Arc<AtomicUsize>> {
    let (sender, begun) = sync_channel(1);
    // The handlers are the thread's: where there can't be one, signals do what they always do.
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            // Noted last, so that nothing is noted that isn't seen here.
            let made = Signals::new(not_ignored()).and_then(|made| Ok((made, noted()?)));
            let (mut signals, noted) = made.map_or_else(
                |error| (None, Err(error)),
                |(signals, noted)| (Some(signals), Ok(noted)),
            );
            // It is waited for.
            let _ = sender.send(noted);
            for signal in signals.iter_mut().flat_map(Signals::forever) {
                abandon_files();
                clear_terminal();
                last();
                let _ = emulate_default_handler(signal);
            }
        })?;
    begun
        .recv()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

/// The number of the signal that is to end this process, zero before it comes. What has to be taken
/// back is for whoever looks, and then [`end_by`].
///
/// # Errors
/// When a handler can't be set.
pub(crate) fn noted() -> io::Result<Arc<AtomicUsize>> {
    let noted = Arc::<AtomicUsize>::default();
    for signal in not_ignored() {
        let number = usize::try_from(signal).unwrap_or_default();
        signal_hook::flag::register_usize(signal, Arc::clone(&noted), number)?;
    }
    Ok(noted)
}

/// Ends this process as the signal of this number would have. Does nothing for zero.
pub(crate) fn end_by(signal: usize) {
    if let (1.., Ok(signal)) = (signal, i32::try_from(signal)) {
        let _ = emulate_default_handler(signal);
    }
}

/// The bar goes from a terminal, if there is one and it takes output.
fn clear_terminal() {
    let (sender, cleared) = sync_channel(1);
    let clear = move || {
        terminal::clear_bar();
        // Fails where nothing waits any longer.
        let _ = sender.send(());
    };
    if thread::Builder::new().spawn(clear).is_ok() {
        // Too late: it stays as it is.
        let _ = cleared.recv_timeout(PATIENCE);
    }
}

/// Those of [`ENDING`] that this process wasn't started to ignore.
fn not_ignored() -> impl Iterator<Item = i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored_in(&status);
    ENDING
        .into_iter()
        .filter(move |signal| ignored & (1 << (signal - 1)) == 0)
}

/// Signals that a process ignores, bit 0 for signal 1; none where its status (proc(5)) isn't known.
fn ignored_in(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read() {
        let status = "Name:\tmodel-fs\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored_in(status), 0x1001);
        assert_eq!(ignored_in("Name:\tmodel-fs\n"), 0);
        assert_eq!(ignored_in("SigIgn:\tx\n"), 0);
    }
}
