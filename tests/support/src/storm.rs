//! Readers at random while another thread changes the source.
//!
//! Guarantees: every byte that a read or a page fault gave is compared with the signed one; an
//! error other than EIO, and a read that ends early, count as wrong. When the storm is over and the
//! source is as it was signed, every byte is read once more, which must work. Doesn't: touch mapped
//! pages directly, since a page that can't be proved would end the process with SIGBUS. Pages of a
//! mapping are read through `/proc/self/mem` instead, where the same fault is an error.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use memmap2::{Mmap, UncheckedAdvice};
use rustix::fs::{Advice, FileType, Mode, OFlags};

const PAGE: u64 = 4096;

/// A page fault or a read that takes longer is a stall.
pub const STALL: Duration = Duration::from_secs(1);

/// One access in so many drops the file's pages from the kernel's cache.
const EVICT: u64 = 8;

/// How many wrong answers are reported.
const TOLD: usize = 20;

/// A file of the model and its signed bytes.
pub struct Golden {
    pub name: String,
    pub bytes: Vec<u8>,
}

pub struct Storm<'a> {
    pub source: &'a Path,
    pub mount: &'a Path,
    pub files: &'a [Golden],
    pub threads: u64,
    pub time: Duration,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Reads that gave the signed bytes, by `pread` and by page fault.
    pub reads: u64,
    pub faults: u64,
    /// EIO, for either.
    pub refused: u64,
    /// Changes made to the source.
    pub changes: u64,
    pub slowest: Duration,
    /// Accesses that took longer than [`STALL`].
    pub stalls: u64,
    /// What should not have been, the first few.
    pub wrong: Vec<String>,
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        self.reads += other.reads;
        self.faults += other.faults;
        self.refused += other.refused;
        self.changes += other.changes;
        self.slowest = self.slowest.max(other.slowest);
        self.stalls += other.stalls;
        self.wrong.extend(other.wrong);
        self.wrong.truncate(TOLD);
    }
}

impl Storm<'_> {
    /// Runs to the end, and leaves the source as it was.
    pub fn run(&self) -> io::Result<Outcome> {
        let over = AtomicBool::new(false);
        let total = Mutex::new(Outcome::default());
        std::thread::scope(|scope| {
            for thread in 0..self.threads {
                let (over, total) = (&over, &total);
                scope.spawn(move || {
                    let outcome = Reader::new(self, thread).run(over);
                    total.lock().expect("no panic").add(outcome);
                });
            }
            let changed = Changer::new(self).run();
            over.store(true, Ordering::SeqCst);
            let mut total = total.lock().expect("no panic");
            changed.map(|changes| total.changes += changes)
        })?;
        let mut outcome = total.into_inner().expect("no panic");
        // All is well again, so all can be read again.
        for file in self.files {
            let read = fs::read(self.mount.join(&file.name));
            if !read.as_ref().is_ok_and(|bytes| *bytes == file.bytes) {
                let what =
                    read.map_or_else(|error| error.to_string(), |_| "wrong bytes".to_owned());
                outcome
                    .wrong
                    .push(format!("{}, afterwards: {what}", file.name));
            }
        }
        Ok(outcome)
    }
}

/// Numbers that look random (xorshift64, Marsaglia 2003) and differ with the seed.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * seed + 1))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

struct Reader<'a> {
    storm: &'a Storm<'a>,
    dice: Dice,
    memory: File,
    open: Vec<Option<(File, Mmap)>>,
    outcome: Outcome,
}

impl<'a> Reader<'a> {
    fn new(storm: &'a Storm<'a>, seed: u64) -> Self {
        Self {
            storm,
            dice: Dice::new(seed),
            memory: File::open("/proc/self/mem").expect("a process may read its own memory"),
            open: storm.files.iter().map(|_| None).collect(),
            outcome: Outcome::default(),
        }
    }

    fn run(mut self, over: &AtomicBool) -> Outcome {
        while !over.load(Ordering::Relaxed) {
            let index = self.dice.below(self.storm.files.len() as u64);
            let index = usize::try_from(index).expect("small");
            let started = Instant::now();
            let result = self.access(index);
            let taken = started.elapsed();
            self.outcome.slowest = self.outcome.slowest.max(taken);
            self.outcome.stalls += u64::from(taken > STALL);
            let name = &self.storm.files[index].name;
            match result {
                Ok(None) => {}
                Ok(Some(wrong)) => self.outcome.wrong.push(format!("{name}: {wrong}")),
                Err(error) if error.raw_os_error() == Some(EIO) => self.outcome.refused += 1,
                Err(error) => self.outcome.wrong.push(format!("{name}: {error}")),
            }
            self.outcome.wrong.truncate(TOLD);
        }
        self.outcome
    }

    /// One access. Says what was wrong about the bytes.
    fn access(&mut self, index: usize) -> io::Result<Option<String>> {
        let file = &self.storm.files[index];
        // Now and then the file is opened anew. Where no other reader has it open, it is proved
        // again.
        if self.dice.below(200) == 0 {
            self.open[index] = None;
        }
        if self.open[index].is_none() {
            let opened = File::open(self.storm.mount.join(&file.name))?;
            let map = map(&opened)?;
            self.open[index] = Some((opened, map));
        }
        let (opened, map) = self.open[index].as_ref().expect("opened above");
        let len = file.bytes.len() as u64;
        let mapped = self.dice.below(2) == 0;
        let (offset, wanted) = if mapped || self.dice.below(4) > 0 {
            (self.dice.below(len.div_ceil(PAGE)) * PAGE, PAGE)
        } else {
            (self.dice.below(len), 1 + self.dice.below(256 << 10))
        };
        let wanted = wanted.min(len - offset);
        let mut found = vec![0; usize::try_from(wanted).expect("small")];
        let given = if mapped {
            // Not read in place: this causes the same page fault, but gives an error instead of a
            // SIGBUS.
            let address = map.as_ptr().addr() as u64 + offset;
            let given = read_all(&self.memory, &mut found, address);
            unmap(map, offset, found.len())?;
            given?
        } else {
            read_all(opened, &mut found, offset)?
        };
        // Otherwise all pages would soon be in the kernel's cache, and no request would come again.
        // Not each time, because the kernel takes a while to do it.
        if self.dice.below(EVICT) == 0 {
            rustix::fs::fadvise(opened, 0, None, Advice::DontNeed)?;
        }
        if mapped {
            self.outcome.faults += 1;
        } else {
            self.outcome.reads += 1;
        }
        let start = usize::try_from(offset).expect("in memory");
        let signed = &file.bytes[start..start + found.len()];
        if given != found.len() {
            return Ok(Some(format!("{given} of {wanted} bytes at {offset}")));
        }
        let differs = found.iter().zip(signed).position(|(a, b)| a != b);
        Ok(differs.map(|at| format!("byte {} isn't the signed one", offset + at as u64)))
    }
}

/// The kernel's answer to a read of bytes that can't be proved.
const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

/// Reads as much as there is.
fn read_all(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Maps a file.
#[allow(unsafe_code)]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping's bytes are never looked at through the reference that it gives, only its
    // address is taken; the kernel copies from there.
    unsafe { Mmap::map(file) }
}

/// Forgets that a part was faulted in.
#[allow(unsafe_code)]
fn unmap(map: &Mmap, offset: u64, len: usize) -> io::Result<()> {
    let offset = usize::try_from(offset).map_err(io::Error::other)?;
    // SAFETY: the mapping is of a file and shared, so that nothing is lost and the same bytes come
    // back; and no code looks at them through a reference.
    unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, len) }
}

/// The owner of the source, who changes it.
struct Changer<'a> {
    storm: &'a Storm<'a>,
    dice: Dice,
    changes: u64,
}

impl<'a> Changer<'a> {
    fn new(storm: &'a Storm<'a>) -> Self {
        Self {
            storm,
            dice: Dice::new(u64::MAX / 3),
            changes: 0,
        }
    }

    /// Changes files and puts them back until the time is up.
    fn run(mut self) -> io::Result<u64> {
        let started = Instant::now();
        while started.elapsed() < self.storm.time {
            let index = self.dice.below(self.storm.files.len() as u64);
            let file = &self.storm.files[usize::try_from(index).expect("small")];
            let path = self.storm.source.join(&file.name);
            self.change(&path, file)?;
            self.changes += 1;
            self.pause();
            restore(&path, &file.bytes, self.dice.below(2) == 0)?;
            self.pause();
        }
        Ok(self.changes)
    }

    fn pause(&mut self) {
        std::thread::sleep(Duration::from_micros(self.dice.below(30_000)));
    }

    fn change(&mut self, path: &Path, file: &Golden) -> io::Result<()> {
        let len = file.bytes.len() as u64;
        let at = self.dice.below(len);
        let wrong = |at: u64| [file.bytes[usize::try_from(at).expect("in memory")] ^ 0x10];
        let write = || OpenOptions::new().write(true).open(path);
        match self.dice.below(8) {
            // A byte here and there, and one after the other back and forth.
            0 => write()?.write_all_at(&wrong(at), at),
            1 => {
                let file_now = write()?;
                for _ in 0..200 {
                    let at = self.dice.below(len);
                    file_now.write_all_at(&wrong(at), at)?;
                }
                Ok(())
            }
            2 => {
                let file_now = write()?;
                for _ in 0..2000 {
                    file_now.write_all_at(&wrong(at), at)?;
                    let signed = wrong(at)[0] ^ 0x10;
                    file_now.write_all_at(&[signed], at)?;
                }
                Ok(())
            }
            3 => write()?.set_len(at),
            4 => write()?.set_len(len + 1 + at),
            // Another file under the name.
            5 => {
                let mut bytes = file.bytes.clone();
                bytes[usize::try_from(at).expect("in memory")] ^= 1;
                replace(path, &bytes)
            }
            6 => fs::remove_file(path),
            // Something that an open might wait for.
            _ => {
                fs::remove_file(path)?;
                rustix::fs::mknodat(
                    rustix::fs::CWD,
                    path,
                    FileType::Fifo,
                    Mode::RUSR | Mode::WUSR,
                    0,
                )?;
                Ok(())
            }
        }
    }
}

/// Puts a file back as it was signed, in place or as another file.
fn restore(path: &Path, bytes: &[u8], in_place: bool) -> io::Result<()> {
    let opened = OpenOptions::new()
        .write(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed())
        .open(path);
    match opened {
        Ok(file) if in_place && file.metadata()?.is_file() => {
            file.set_len(bytes.len() as u64)?;
            file.write_all_at(bytes, 0)
        }
        _ => replace(path, bytes),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}
