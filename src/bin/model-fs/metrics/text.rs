//! The metrics of a mount as text (Prometheus text format 0.0.4).
//!
//! Guarantees: names and units as Prometheus has them (base units, counters end in `_total`); every
//! series has the mountpoint, so that files of several mounts lie side by side; label values can
//! end no line and begin no series. Doesn't: count; all numbers are those of the status, but for
//! the kinds of violations and the time that chunks take.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use model_fs::StatusHandle;
use model_fs::fs::{OwnerStatus, Status};
use model_fs::reading::{BOUNDS_MICROS, VerifyTimes, ViolationKind};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde_json::Value;

/// Counters of the status: its name there, the metric without `_total`, and what it says.
const COUNTERS: [(&str, &str, &str); 12] = [
    (
        "source_bytes",
        "source_read_bytes",
        "Bytes read from the model to serve reads.",
    ),
    (
        "verified_bytes",
        "verified_bytes",
        "Bytes that were verified to serve reads.",
    ),
    (
        "verified_chunks",
        "verified_chunks",
        "Chunks that were verified to serve reads.",
    ),
    (
        "prefetched_bytes",
        "prefetched_bytes",
        "Bytes that were verified ahead of readers.",
    ),
    (
        "pushed_bytes",
        "pushed_bytes",
        "Bytes put into the page cache before they were asked for.",
    ),
    (
        "delivered_bytes",
        "delivered_bytes",
        "Bytes given to the kernel because it asked.",
    ),
    (
        "cache_hits",
        "cache_hits",
        "Reads answered from the cache alone.",
    ),
    (
        "full_passes",
        "full_passes",
        "Files hashed as a whole to prove them.",
    ),
    (
        "full_pass_bytes",
        "full_pass_bytes",
        "Bytes hashed to prove whole files.",
    ),
    (
        "unkept_tables",
        "unkept_tables",
        "Chunk tables that couldn't be kept for the next mount.",
    ),
    (
        "violation_retries",
        "violation_retries",
        "Further reads that met a known violation.",
    ),
    (
        "source_errors",
        "source_errors",
        "Requests for which the model gave no content.",
    ),
];

/// Numbers of the status that may go down, or that are what they are.
const GAUGES: [(&str, &str, &str); 2] = [
    (
        "proved_files",
        "proved_files",
        "Files whose chunk table is proved.",
    ),
    (
        "cached_bytes",
        "cached_bytes",
        "Bytes of verified data in the cache.",
    ),
];

/// Violations by kind, each place once.
#[derive(Debug, Default)]
pub(crate) struct ViolationKinds {
    digest: AtomicU64,
    truncated: AtomicU64,
    extended: AtomicU64,
}

impl ViolationKinds {
    pub(super) fn add(&self, kind: &ViolationKind) {
        let counter = match kind {
            ViolationKind::Digest { .. } => &self.digest,
            ViolationKind::Truncated { .. } => &self.truncated,
            ViolationKind::Extended { .. } => &self.extended,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> [(&'static str, u64); 3] {
        [
            ("digest", &self.digest),
            ("extended", &self.extended),
            ("truncated", &self.truncated),
        ]
        .map(|(kind, count)| (kind, count.load(Ordering::Relaxed)))
    }
}

/// All metrics of a mount, written when they are asked for.
#[derive(Debug)]
pub(crate) struct Exposition(Registry);

impl Exposition {
    /// Those of `mount`, which is there as long as `up` says so.
    pub(super) fn new(
        mount: StatusHandle,
        kinds: Arc<ViolationKinds>,
        up: Arc<AtomicBool>,
    ) -> Self {
        let mountpoint = mount.status().owner.and_then(|owner| owner.mount);
        let mountpoint = mountpoint.map_or_else(String::new, |mount| mount.mountpoint);
        Self::of(
            mountpoint,
            MountMetrics {
                times: Box::new({
                    let mount = mount.clone();
                    move || mount.verify_times()
                }),
                status: Box::new(move || mount.status()),
                kinds,
                up,
            },
        )
    }

    fn of(mountpoint: String, metrics: MountMetrics) -> Self {
        let label = ("mountpoint".into(), mountpoint.into());
        let mut registry = Registry::with_prefix_and_labels("model_fs", [label].into_iter());
        registry.register_collector(Box::new(metrics));
        Self(registry)
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = prometheus_client::encoding::prometheus_text::encode(&mut text, &self.0);
        text
    }
}

struct MountMetrics {
    status: Box<dyn Fn() -> Status + Send + Sync>,
    times: Box<dyn Fn() -> VerifyTimes + Send + Sync>,
    kinds: Arc<ViolationKinds>,
    up: Arc<AtomicBool>,
}

impl fmt::Debug for MountMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountMetrics").finish_non_exhaustive()
    }
}

impl Collector for MountMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = (self.status)();
        let mount = status.owner.as_ref().and_then(|owner| owner.mount.as_ref());
        let lane = mount.map_or("", |mount| &mount.lane);
        let mut out = Out(encoder);
        out.facts(&[
            ("root_digest", status.root_digest.as_str()),
            ("payload_digest", status.payload_digest.as_str()),
            ("signer", status.signer.as_str()),
            ("lane", lane),
            ("version", env!("CARGO_PKG_VERSION")),
        ])?;
        let up = self.up.load(Ordering::Relaxed);
        out.gauge(
            "up",
            "Whether the model is mounted (1) or was unmounted (0).",
            up.into(),
        )?;
        out.moment(
            "start_time_seconds",
            "When it was mounted, in seconds since 1970.",
            mount.and_then(|mount| mount.since),
        )?;
        out.moment(
            "process_start_time_seconds",
            "When the process that serves it began to, in seconds since 1970.",
            mount.and_then(|mount| mount.process_since),
        )?;
        out.gauge(
            "files",
            "Signed files that the mount shows.",
            status.files as u64,
        )?;
        if let Some(owner) = status.owner {
            out.owner(&owner)?;
            out.kinds(
                "recovered_chunks",
                "Chunks that were right when they were read again, or from a second place.",
                &[
                    ("repair", owner.stats.repaired_chunks),
                    ("transfer_error", owner.stats.transfer_errors),
                ],
            )?;
        }
        out.kinds(
            "violations",
            "Places whose content isn't what was signed, each counted once.",
            &self.kinds.counts(),
        )?;
        out.times(&(self.times)())
    }
}

/// Writes metrics one after the other.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn owner(&mut self, owner: &OwnerStatus) -> fmt::Result {
        out_of(owner, |name| {
            let counter = COUNTERS.iter().find(|(there, ..)| *there == name);
            counter.map(|(_, name, help)| (*name, *help))
        })
        .try_for_each(|(name, help, value)| self.counter(name, help, value))?;
        out_of(owner, |name| {
            let gauge = GAUGES.iter().find(|(there, ..)| *there == name);
            gauge.map(|(_, name, help)| (*name, *help))
        })
        .try_for_each(|(name, help, value)| self.gauge(name, help, value))?;
        let to_hash = owner.to_hash;
        let help = "Bytes of files to be hashed as a whole before they are read, at first.";
        self.gauge("to_hash_bytes", help, to_hash.to_hash_bytes)?;
        let locked = owner.locked_down.into();
        self.gauge(
            "locked_down",
            "Whether a violation has ended all reading (1).",
            locked,
        )?;
        self.gauge(
            "size_bytes",
            "Bytes of all files of the model.",
            owner.bytes,
        )
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    /// A gauge of a moment, where it is known.
    fn moment(&mut self, name: &str, help: &str, moment: Option<Timestamp>) -> fmt::Result {
        match moment.and_then(|moment| u64::try_from(moment.as_second()).ok()) {
            Some(seconds) => self.gauge(name, help, seconds),
            None => Ok(()),
        }
    }

    /// A gauge that is 1, and says something by its labels.
    fn facts(&mut self, labels: &[(&str, &str)]) -> fmt::Result {
        let help = "What is mounted; the value is always 1.";
        let mut metric = self
            .0
            .encode_descriptor("info", help, None, MetricType::Gauge)?;
        ConstGauge::new(1_u64).encode(metric.encode_family(&labels)?)
    }

    fn times(&mut self, times: &VerifyTimes) -> fmt::Result {
        let metric = self.0.encode_descriptor(
            "chunk_verify_seconds",
            "How long it takes to verify a chunk that was read, without reading it.",
            None,
            MetricType::Histogram,
        );
        let bounds = BOUNDS_MICROS.map(|bound| Duration::from_micros(bound).as_secs_f64());
        let buckets: Vec<_> = bounds.into_iter().zip(times.counts).collect();
        let (sum, count) = (times.sum.as_secs_f64(), times.counts.iter().sum());
        metric?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    /// A counter for each kind of something.
    fn kinds(&mut self, name: &str, help: &str, counts: &[(&'static str, u64)]) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for &(kind, count) in counts {
            let labels = [("kind", kind)];
            ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The numbers of a status that `chosen` knows, each with its metric.
fn out_of(
    owner: &OwnerStatus,
    chosen: impl Fn(&str) -> Option<(&'static str, &'static str)>,
) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
    let Ok(Value::Object(numbers)) = serde_json::to_value(owner.stats) else {
        return Vec::new().into_iter();
    };
    let metric = |(name, value): (&String, &Value)| {
        let (name, help) = chosen(name)?;
        Some((name, help, value.as_u64()?))
    };
    numbers
        .iter()
        .filter_map(metric)
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use model_fs::reading::ReaderStats;

    use super::*;

    fn exposition(status: &Value, mountpoint: &str) -> String {
        let status: Status = serde_json::from_value(status.clone()).unwrap();
        let kinds = Arc::<ViolationKinds>::default();
        kinds.add(&ViolationKind::Truncated { end: 1 });
        Exposition::of(
            mountpoint.to_owned(),
            MountMetrics {
                status: Box::new(move || status.clone()),
                times: Box::new(|| {
                    let mut times = VerifyTimes::default();
                    (times.counts[1], times.counts[12]) = (3, 1);
                    times.sum = Duration::from_millis(1500);
                    times
                }),
                kinds,
                up: Arc::new(AtomicBool::new(true)),
            },
        )
        .text()
    }

    fn status(signer: &str) -> Value {
        serde_json::json!({
            "signer": signer, "root_digest": "sha256:00", "payload_digest": "sha256:11", "files": 3,
            "locked_down": false,
            "mount": {
                "mountpoint": "/elsewhere", "source": "/m", "lane": "pages",
                "since": "1970-01-01T00:00:07Z", "process_since": "1970-01-01T00:00:08Z",
            },
            "verified_bytes": 4096, "bytes": 9,
        })
    }

    #[test]
    fn every_number_of_a_reader_has_a_metric() {
        let Value::Object(numbers) = serde_json::to_value(ReaderStats::default()).unwrap() else {
            panic!("an object");
        };
        let told = COUNTERS.iter().chain(&GAUGES).map(|(name, ..)| *name);
        // By their kinds.
        let by_kind = ["violations", "repaired_chunks", "transfer_errors"];
        let mut told: Vec<_> = told.chain(by_kind).collect();
        let mut numbers: Vec<_> = numbers.keys().map(String::as_str).collect();
        told.sort_unstable();
        numbers.sort_unstable();
        assert_eq!(told, numbers);
    }

    #[test]
    fn metrics_have_names_types_and_labels_as_prometheus_wants_them() {
        let text = exposition(&status("key 12"), "/mnt/m");
        for line in [
            "# TYPE model_fs_info gauge",
            "model_fs_info{mountpoint=\"/mnt/m\",root_digest=\"sha256:00\",\
             payload_digest=\"sha256:11\",signer=\"key 12\",lane=\"pages\",",
            "# TYPE model_fs_verified_bytes_total counter",
            "model_fs_verified_bytes_total{mountpoint=\"/mnt/m\"} 4096",
            "model_fs_violations_total{mountpoint=\"/mnt/m\",kind=\"digest\"} 0",
            "model_fs_violations_total{mountpoint=\"/mnt/m\",kind=\"truncated\"} 1",
            "model_fs_start_time_seconds{mountpoint=\"/mnt/m\"} 7",
            "model_fs_process_start_time_seconds{mountpoint=\"/mnt/m\"} 8",
            "model_fs_size_bytes{mountpoint=\"/mnt/m\"} 9",
            "model_fs_up{mountpoint=\"/mnt/m\"} 1",
            "# TYPE model_fs_chunk_verify_seconds histogram",
            "model_fs_chunk_verify_seconds_bucket{mountpoint=\"/mnt/m\",le=\"5e-06\"} 0",
            "model_fs_chunk_verify_seconds_bucket{mountpoint=\"/mnt/m\",le=\"1e-05\"} 3",
            "model_fs_chunk_verify_seconds_bucket{mountpoint=\"/mnt/m\",le=\"0.25\"} 3",
            "model_fs_chunk_verify_seconds_bucket{mountpoint=\"/mnt/m\",le=\"+Inf\"} 4",
            "model_fs_chunk_verify_seconds_sum{mountpoint=\"/mnt/m\"} 1.5",
            "model_fs_chunk_verify_seconds_count{mountpoint=\"/mnt/m\"} 4",
        ] {
            assert!(
                text.lines().any(|there| there.starts_with(line)),
                "{line}\n{text}"
            );
        }
        for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
            let mut words = line.split(' ').skip(2);
            let (name, kind) = (words.next().unwrap(), words.next().unwrap());
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        }
    }

    #[test]
    fn hostile_labels_stay_labels() {
        let hostile = "x\"} 1\nmodel_fs_violations_total 0\\\n# HELP";
        let text = exposition(&status(hostile), hostile);
        let quiet = exposition(&status("x"), "x");
        assert_eq!(text.lines().count(), quiet.lines().count(), "{text}");
        for line in text.lines() {
            let known = line.starts_with("# HELP model_fs_")
                || line.starts_with("# TYPE model_fs_")
                || line.contains("{mountpoint=\"x\\\"} 1\\nmodel_fs_violations_total 0\\\\\\n");
            assert!(known, "{line}");
        }
    }
}
