//! Pages pushed ahead of a reader, with a page cache of the test's own.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;

const PAGE: usize = 4096;

/// A kernel's page cache: what was pushed, page by page.
struct Pages {
    pages: Mutex<HashMap<usize, Vec<u8>>>,
    takes: Box<dyn Fn(u64) -> bool + Send + Sync>,
}

impl PageSink for Pages {
    fn push(&self, file: FileIndex, offset: u64, bytes: &VerifiedBytes) -> bool {
        assert_eq!(file, FileIndex::new(0));
        assert!(
            !bytes.is_empty()
                && bytes.len().is_multiple_of(PAGE)
                && offset.is_multiple_of(PAGE as u64)
        );
        let takes = (self.takes)(offset);
        if takes {
            let first = usize::try_from(offset).unwrap() / PAGE;
            let pages = (first..).zip(bytes.as_slice().chunks(PAGE));
            let pages = pages.map(|(page, bytes)| (page, bytes.to_vec()));
            self.pages.lock().unwrap().extend(pages);
        }
        takes
    }
}

impl Pages {
    /// Whose pages `reader` pushes, as long as `takes` says so.
    fn of(reader: &Reader, takes: impl Fn(u64) -> bool + Send + Sync + 'static) -> Arc<Self> {
        let pages = Arc::new(Self {
            pages: Mutex::default(),
            takes: Box::new(takes),
        });
        reader.push_into(Arc::clone(&pages) as Arc<dyn PageSink>);
        pages
    }

    /// Reads all in order, asking for up to 128 KiB of what isn't there, as the kernel does; where
    /// it first failed.
    fn stream(&self, file: &Arc<OpenFile>, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let page = at / PAGE;
            let (there, missing) = {
                let pages = self.pages.lock().unwrap();
                let after = (page..page + 32).take_while(|page| !pages.contains_key(page));
                let missing = after.count() * PAGE;
                (pages.get(&page).cloned(), missing.min(bytes.len() - at))
            };
            let read = there.or_else(|| {
                // A little time for the threads that push.
                std::thread::sleep(std::time::Duration::from_millis(1));
                let read = read_once(file, at, missing).ok()?;
                Some(read.as_slice().to_vec())
            });
            match read {
                Some(read) if bytes[at..].starts_with(&read) && !read.is_empty() => {
                    at += read.len();
                }
                _ => return Some(at),
            }
        }
        None
    }
}

/// Whether this machine has the cores to push at all.
fn pushes() -> bool {
    let enough = std::thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2);
    if !enough {
        eprintln!("skipped: one core");
    }
    enough
}

/// A reader as a mount has it, of a model signed in this way, with the page cache that it pushes
/// into as long as `takes` says so, and its file.
fn mount(
    source: &Arc<Memory>,
    algorithm: Algorithm,
    shard_size: Option<u64>,
    takes: impl Fn(u64) -> bool + Send + Sync + 'static,
) -> (Arc<Reader>, Arc<Pages>, Arc<OpenFile>) {
    let manifest = sign(source, algorithm, shard_size, true);
    let options = ReaderOptions {
        retain: Retain::Partial,
        ..ReaderOptions::default()
    };
    let reader = Reader::new(
        manifest,
        Arc::clone(source) as Arc<dyn Source>,
        None,
        options,
    );
    let pages = Pages::of(&reader, takes);
    let file = reader.open(FileIndex::new(0)).unwrap();
    source.take_reads();
    (reader, pages, file)
}

#[test]
fn a_lone_stream_of_small_requests_finds_its_pages_there() {
    if !pushes() {
        return;
    }
    // Shards of odd sizes leave pages that two chunks share.
    let methods = [
        (Algorithm::Blake3, None),
        (Algorithm::Sha256, None),
        (Algorithm::Blake3, Some(MIB as u64)),
        (Algorithm::Sha256, Some(1_000_001)),
    ];
    for len in [40 * MIB, 24 * MIB + 12_345] {
        let bytes = random(len, 17);
        for (algorithm, shard_size) in methods {
            let source = model(&bytes);
            let (reader, pages, file) = mount(&source, algorithm, shard_size, |_| true);
            assert_eq!(pages.stream(&file, &bytes), None);
            let stats = reader.stats();
            let what = format!("{algorithm} {shard_size:?} {stats:?}");
            // Of a chunk that lies in two segments, only what lies in the first.
            assert!(stats.pushed_bytes > len as u64 / 10, "{what}");
            for (page, pushed) in &*pages.pages.lock().unwrap() {
                let at = page * PAGE;
                assert!(pushed == &bytes[at..at + PAGE], "{what}: page {page}");
                assert!(at % (2 * MIB) >= 64 << 10, "{what}: page {page}");
            }
            // What was pushed isn't kept a second time.
            assert!(stats.cached_bytes < 12 * MIB as u64, "{what}");
        }
    }
}

#[test]
fn a_changed_chunk_is_never_pushed() {
    if !pushes() {
        return;
    }
    let bytes = random(40 * MIB, 18);
    let source = model(&bytes);
    let (reader, pages, file) = mount(&source, Algorithm::Blake3, None, |_| true);
    source.edit(NAME, |bytes| bytes[30 * MIB + 100_000] ^= 1);
    let bad = 30 * MIB + 65_536;
    let failed = pages.stream(&file, &bytes).unwrap();
    assert!((bad - (128 << 10)..=bad).contains(&failed), "{failed}");
    assert!(reader.stats().pushed_bytes > 0);
    let pages = pages.pages.lock().unwrap();
    assert!((0..16).all(|page| !pages.contains_key(&(bad / PAGE + page))));
    assert_eq!(reader.violations().count(), 1);
}

#[test]
fn what_the_kernel_does_not_take_is_read_from_the_cache() {
    if !pushes() {
        return;
    }
    let bytes = random(40 * MIB, 19);
    for taken in [0, 20 * MIB as u64] {
        let source = model(&bytes);
        let takes = move |offset| offset < taken;
        let (_reader, pages, file) = mount(&source, Algorithm::Blake3, None, takes);
        assert_eq!(pages.stream(&file, &bytes), None);
        let read = source.take_reads();
        assert!(
            read < 41 * MIB as u64,
            "{read} bytes read for {taken} taken"
        );
    }
}

#[test]
fn a_stopped_reader_pushes_nothing() {
    if !pushes() {
        return;
    }
    let bytes = random(40 * MIB, 20);
    let source = model(&bytes);
    let (reader, pages, file) = mount(&source, Algorithm::Blake3, None, |_| true);
    assert_eq!(pages.stream(&file, &bytes[..10 * MIB]), None);
    reader.stop();
    let pushed = |wait| {
        std::thread::sleep(std::time::Duration::from_millis(wait));
        reader.stats().pushed_bytes
    };
    // One may be on its way.
    assert_eq!(pushed(50), pushed(50));
    assert!(pushed(0) > 0);
}

/// Where the segment lies that the stream of a test is read up to, and its end.
const PUSHED: Range<usize> = 4 * MIB..6 * MIB;

#[test]
fn a_file_that_is_opened_again_knows_what_is_being_pushed() {
    if !pushes() {
        return;
    }
    let bytes = random(40 * MIB, 21);
    let source = model(&bytes);
    // The first push beyond 4 MiB stays on its way until it is let go.
    let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
    let (let_go, is_let_go) = std::sync::mpsc::sync_channel::<()>(1);
    let (has_been, is_let_go) = (AtomicBool::new(false), Mutex::new(is_let_go));
    let late = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&late);
    let takes = move |offset| {
        let offset = usize::try_from(offset).unwrap();
        if PUSHED.contains(&offset) {
            seen.lock().unwrap().push(offset);
            if !has_been.swap(true, Ordering::SeqCst) {
                begun.send(()).unwrap();
                let _ = is_let_go.lock().unwrap().recv();
            }
        }
        true
    };
    let (reader, pages, file) = mount(&source, Algorithm::Blake3, None, takes);
    assert_eq!(pages.stream(&file, &bytes[..PUSHED.start]), None);
    has_begun
        .recv_timeout(std::time::Duration::from_secs(5))
        .expect("no push has begun");
    drop(file);
    let file = reader.open(FileIndex::new(0)).unwrap();
    let beginning = file.read_now(PUSHED.start as u64, PAGE);
    // A request beyond what is kept back ends the push: it asks for pages that may be locked by it.
    let other = file.read_now(PUSHED.end as u64 - (128 << 10), 128 << 10);
    late.lock().unwrap().clear();
    let_go.send(()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let late = late.lock().unwrap().clone();
    assert!(other.is_some());
    assert!(
        late.is_empty(),
        "pushed although a request came in between: {late:?}"
    );
    assert!(
        beginning.is_none(),
        "a request for what is kept back isn't held"
    );
}
