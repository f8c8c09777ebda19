//! Metrics of a mount, for Prometheus: in a file, or by HTTP.
//!
//! Guarantees: a number is read where the status reads it, when it is asked for; nothing is counted
//! twice, and reads cost no more than without metrics, since what is told is counted anyway.
//! Doesn't: keep anybody from them who can read the file or reach the address.

mod file;
mod http;
mod text;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model_fs::StatusHandle;
use model_fs::reading::Violation;

use self::file::MetricsFile;
use self::http::Listener;
use self::text::Exposition;
pub(crate) use self::text::ViolationKinds;

/// Where metrics go, before there is a mount: what can't be done is found first.
#[derive(Debug)]
pub(crate) struct Prepared {
    file: Option<MetricsFile>,
    listener: Option<Listener>,
    kinds: Arc<ViolationKinds>,
}

impl Prepared {
    /// Looks whether it can be done.
    pub(crate) fn new(file: Option<&Path>, listen: Option<SocketAddr>) -> anyhow::Result<Self> {
        Ok(Self {
            file: file.map(MetricsFile::prepare).transpose()?,
            listener: listen.map(Listener::bind).transpose()?,
            kinds: Arc::default(),
        })
    }

    /// Counts violations by their kind, which the status doesn't tell.
    pub(crate) fn count(&self) -> impl Fn(&Violation) + Send + Sync + 'static {
        let kinds = Arc::clone(&self.kinds);
        move |violation| kinds.add(&violation.kind)
    }

    /// Begins, now that there is a mount.
    pub(crate) fn start(self, mount: StatusHandle) -> anyhow::Result<Metrics> {
        let up = Arc::new(AtomicBool::new(true));
        let exposition = Arc::new(Exposition::new(mount, self.kinds, Arc::clone(&up)));
        let listener = self.listener.map(|it| it.start(Arc::clone(&exposition)));
        let file = self.file.map(|it| it.start(exposition));
        Ok(Metrics {
            up,
            _listener: listener.transpose()?,
            _file: file.transpose()?,
        })
    }
}

/// Metrics that are served and written, until this is dropped: then they are written once more.
#[derive(Debug)]
pub(crate) struct Metrics {
    up: Arc<AtomicBool>,
    _listener: Option<http::Serving>,
    _file: Option<file::Writing>,
}

impl Drop for Metrics {
    fn drop(&mut self) {
        // Before the fields are dropped, the last of which writes for the last time.
        self.up.store(false, Ordering::Relaxed);
    }
}
