//! What a file system tells of itself: its [`Status`] filled in.
//!
//! Doesn't: decide who is told which part, see [`xattr`](super::xattr).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::file_system::FileSystem;
use super::prefetch::PrefetchProgress;
use super::status::{
    Audience, Kept, MAX_RECENT, MountFacts, OwnerStatus, PassStatus, Status, ToHash, within_bounds,
};
use super::trust_decision::TrustDecision;
use crate::digest::{Algorithm, Digest};
use crate::name::Escaped;
use crate::reading::{Recovery, SourceFailure, Violation};
use crate::sync::lock;

impl FileSystem {
    /// Has the status tell where and how this is mounted, as `facts` has it at each look. Only the
    /// first call counts.
    pub fn set_mount_facts(&self, facts: impl Fn() -> MountFacts + Send + Sync + 'static) {
        let _ = self.mount_facts.set(Box::new(facts));
    }

    /// Adds how the signer came to be trusted. Only the first call counts.
    pub fn set_trust(&self, trust: TrustDecision) {
        let _ = self.trust.set(trust);
    }

    /// Adds what has to be hashed before it can be read. Only the first call counts.
    pub fn set_to_hash(&self, to_hash: ToHash) {
        let _ = self.to_hash.set(to_hash);
    }

    /// Adds who keeps the mount alive, and how that goes. The last call counts.
    pub fn set_kept(&self, kept: Kept) {
        *lock(&self.kept) = Some(kept);
    }

    /// What the mount did and met, as far as it is for `audience`.
    pub fn status(&self, audience: Audience) -> Status {
        let manifest = self.reader.manifest();
        let (owner, failures) = match audience {
            Audience::Owner => (Some(self.owner_status()), None),
            Audience::Others => (None, Some(self.failures.load(Ordering::Relaxed))),
        };
        Status {
            model_name: Escaped::bounded(manifest.subject_name()).to_string(),
            signer: manifest.signer().to_string(),
            method: manifest.signer().method().name().to_owned(),
            root_digest: manifest.root_digest().to_string(),
            payload_digest: manifest.payload_digest().to_string(),
            bundle_digest: self.bundle_digest().to_string(),
            files: manifest.files().len(),
            mounted_by: None,
            shortened: false,
            failures,
            owner,
        }
    }

    /// Has the status tell of this warm-up. Only the first call counts.
    pub fn set_prefetch(&self, progress: Arc<PrefetchProgress>) {
        let _ = self.prefetch.set(progress);
    }

    /// The digest of the signature file, which may be large: taken once.
    fn bundle_digest(&self) -> Digest {
        let take = || Algorithm::Sha256.hash(self.reader.manifest().bundle());
        *self.bundle_digest.get_or_init(take)
    }

    fn owner_status(&self) -> OwnerStatus {
        let (passes, waiting) = self.reader.passes_underway();
        let passes = passes.iter().take(MAX_RECENT).map(|pass| {
            let name = &self.reader.manifest().at(pass.file).name;
            PassStatus::new(name.to_string(), pass.hashed, pass.len, pass.elapsed)
        });
        OwnerStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trust: self.trust.get().cloned(),
            locked_down: self.lockdown.is_met(),
            mount: self.mount_facts.get().map(|facts| facts()),
            bytes: self.claimed_bytes(),
            kept: lock(&self.kept).clone(),
            to_hash: self.to_hash.get().copied().unwrap_or_default(),
            stats: self.reader.stats(),
            full_passes_underway: passes.collect(),
            full_passes_waiting: waiting,
            warm_up: self
                .prefetch
                .get()
                .map(|it| it.status(self.claimed_bytes())),
            recent_violations: texts(&self.reader.violations().recent(), Violation::to_string),
            recent_source_errors: texts(
                &self.reader.source_errors().recent(),
                SourceFailure::to_string,
            ),
            recent_recoveries: texts(&self.reader.recoveries().recent(), Recovery::to_string),
        }
    }

    /// The status as JSON, short enough for an extended attribute.
    pub fn status_text(&self, audience: Audience) -> String {
        within_bounds(&self.status(audience))
    }
}

fn texts<T>(recent: &[T], text: impl Fn(&T) -> String) -> Vec<String> {
    recent.iter().take(MAX_RECENT).map(text).collect()
}
