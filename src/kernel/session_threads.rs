//! The threads that `fuser` serves a session with, seen from outside.
//!
//! `fuser` starts them by itself and waits for them in order: it says when starting fails, but not
//! that it worked, and of a thread that ended early it tells only after those before it. They have
//! names, and `/proc/self/task` has those.
//!
//! Guarantees: none are missed that are there. Doesn't: tell those of several sessions in one
//! process apart; then it takes the threads of one for those of another, and notices less.

use std::collections::HashSet;
use std::io;

use super::proc_thread::is_gone;

/// Whether `count` session threads are there.
///
/// # Errors
/// When it can't be seen, for instance because no descriptor is left to look with.
pub(super) fn all_there(count: usize) -> io::Result<bool> {
    let mut names = HashSet::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        match std::fs::read_to_string(task?.path().join("comm")) {
            Ok(name) => names.insert(name.trim_end().to_owned()),
            // It has just ended.
            Err(error) if is_gone(&error) => false,
            Err(error) => return Err(error),
        };
    }
    Ok((0..count).all(|index| names.contains(&format!("fuser-{index}"))))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_missing_thread_is_noticed() {
        let (end, ended) = channel::<()>();
        let ended = std::sync::Arc::new(std::sync::Mutex::new(ended));
        let start = |name: &str| {
            let (ready, started) = channel();
            let ended = std::sync::Arc::clone(&ended);
            let thread = std::thread::Builder::new()
                .name(name.into())
                .spawn(move || {
                    ready.send(()).unwrap();
                    let _ = ended.lock().unwrap().recv();
                })
                .unwrap();
            started.recv().unwrap();
            thread
        };
        assert!(all_there(0).unwrap());
        let mut threads = vec![start("fuser-0")];
        assert!(all_there(1).unwrap());
        assert!(!all_there(2).unwrap());
        threads.push(start("fuser-2"));
        assert!(!all_there(3).unwrap());
        threads.push(start("fuser-1"));
        assert!(all_there(3).unwrap());
        drop(end);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
