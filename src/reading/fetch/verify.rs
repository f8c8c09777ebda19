//! Reading chunks from the source and verifying them.
//!
//! Guarantees: one result for each chunk, in order. A chunk that fails is tried again, as
//! [`recover`](super::recover) says, before its error is reported. Doesn't: keep anything.

use std::sync::Arc;
use std::time::Instant;

use super::{FileChunks, Wait};
use crate::chunk::Run;
use crate::reading::chunk::{ChunkVerifier, VerifiedBytes, verify_chunks};
use crate::reading::source::{Caching, SourceError, SourceFile};
use crate::reading::violation::{ReadError, Violation, ViolationKind};
use crate::sync::read;

impl FileChunks {
    /// Reads and verifies chunks. With [`Wait::Yes`] there is one result for each, and no error is
    /// reported. With [`Wait::No`] the results are good, and end before the first chunk that the
    /// source doesn't have in memory, or that isn't what was signed.
    pub(in crate::reading) fn verify(
        &self,
        run: Run,
        wait: Wait,
    ) -> Vec<Result<VerifiedBytes, ReadError>> {
        let held = Arc::clone(&read(&self.held));
        match wait {
            Wait::No => self.verify_from_memory(&*held, run),
            Wait::Yes => {
                let results = self.verify_from(&*held, run, Caching::Drop);
                self.clear_suspect(run, &results);
                results
            }
        }
    }

    /// [`verify`](Self::verify) for a read that is waited for. A chunk that fails is tried again
    /// (`recover`); what fails then is reported.
    pub(super) fn verify_or_report(&self, run: Run) -> Vec<Result<VerifiedBytes, ReadError>> {
        let results = self.verify(run, Wait::Yes);
        self.recovered_or_reported(run, results)
    }

    /// Verifies the chunks that begin in a range, and leaves them where they are.
    pub(in crate::reading) fn warm(&self, offset: u64, len: u64) -> Result<(), ReadError> {
        for run in self.runs(self.chunks().starting_in(offset, len).iter().collect()) {
            if self.shared().is_stopped() {
                return Err(self.shared().stopped(self.index()));
            }
            let held = Arc::clone(&read(&self.held));
            let results = self.verify_from(&*held, run, Caching::Keep);
            let results = self.recovered_or_reported(run, results);
            results.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        Ok(())
    }

    fn recovered_or_reported(
        &self,
        run: Run,
        mut results: Vec<Result<VerifiedBytes, ReadError>>,
    ) -> Vec<Result<VerifiedBytes, ReadError>> {
        if results.iter().all(Result::is_ok) {
            return results;
        }
        self.recover(run, &mut results);
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            self.shared().reports.report(error);
        }
        results
    }

    /// Reads chunk by chunk what the source has in memory, each hashed while it is in the core's
    /// cache.
    fn verify_from_memory(
        &self,
        source: &dyn SourceFile,
        run: Run,
    ) -> Vec<Result<VerifiedBytes, ReadError>> {
        let shared = self.shared();
        let range = self.chunks().bytes(run);
        let Ok(len) = usize::try_from(range.end - range.start) else {
            return Vec::new();
        };
        let buffer = shared.buffers.take(len);
        let mut verifier = ChunkVerifier::new(self.table().digests(), run, buffer);
        let (mut bytes, mut count) = (0, 0);
        while let Some((place, offset)) = verifier.place() {
            if !source.read_now(place, offset) {
                break;
            }
            bytes += place.len() as u64;
            count += 1;
            let begun = Instant::now();
            let good = verifier.verify();
            shared.counters.verify_times.note(1, begun.elapsed());
            if !good {
                self.note_suspect(offset);
                break;
            }
        }
        shared.counters.source_bytes.add(bytes);
        shared.counters.verified_bytes.add(bytes);
        shared.counters.verified_chunks.add(count);
        let chunks = verifier.finish().into_iter();
        chunks.map_while(Result::ok).map(Ok).collect()
    }

    /// Reads all of a run at once, waiting for it.
    pub(super) fn verify_from(
        &self,
        source: &dyn SourceFile,
        run: Run,
        caching: Caching,
    ) -> Vec<Result<VerifiedBytes, ReadError>> {
        let shared = self.shared();
        let file = shared.file(self.index());
        let chunks = self.chunks();
        let range = chunks.bytes(run);
        let for_all = |error: ReadError| run.iter().map(|_| Err(error.clone())).collect();
        let Ok(len) = usize::try_from(range.end - range.start) else {
            return for_all(shared.abandoned(self.index()));
        };
        let mut buffer = shared.buffers.take(len);
        let read = match source.read_at(buffer.as_mut_slice(), range.start, caching) {
            Ok(read) => read as u64,
            Err(error) => {
                return for_all(ReadError::Source {
                    file: file.name.clone(),
                    range,
                    error: SourceError::from(error),
                });
            }
        };
        shared.counters.source_bytes.add(read);
        let end = range.start + read;
        let is_whole = |run: Run| chunks.bytes(run).end <= end;
        let whole = run.iter().take_while(|&chunk| is_whole(Run::of(chunk)));
        let (whole, cut) = run.split_at(whole.count() as u64);
        let violation = |chunk, kind| {
            ReadError::from(Violation {
                file: file.name.clone(),
                range: chunks.range(chunk),
                algorithm: self.table().algorithm(),
                kind,
            })
        };
        let mut results = Vec::new();
        if !whole.is_empty() {
            let bytes = chunks.bytes(whole).end - range.start;
            buffer.truncate(usize::try_from(bytes).unwrap_or(len));
            shared.counters.verified_bytes.add(bytes);
            shared.counters.verified_chunks.add(whole.len());
            let begun = Instant::now();
            let verified = verify_chunks(self.table().digests(), whole, buffer);
            let times = &shared.counters.verify_times;
            times.note(whole.len(), begun.elapsed());
            for (chunk, result) in whole.iter().zip(verified) {
                results.push(result.map_err(|mismatch| violation(chunk, mismatch.into())));
            }
        }
        let truncated = cut.iter().map(|chunk| {
            let kind = ViolationKind::Truncated { end };
            Err(violation(chunk, kind))
        });
        results.extend(truncated);
        results
    }
}
