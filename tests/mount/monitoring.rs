//! The alert rules and the dashboard in `examples/`: they parse, and speak of metrics that there
//! are.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use test_support::built;
use test_support::process::{Finished, finish};
use test_support::python_env::{Packages, PythonEnv};

use crate::support::{BLAKE3, Host, LIMIT, Model, text};

/// A parser of Prometheus' expressions, and one of YAML.
const MONITORING: Packages = Packages {
    name: "monitoring",
    groups: &[&["promql-parser==0.12.0", "pyyaml==6.0.4"]],
};

fn example(name: &str) -> PathBuf {
    built::repository("examples").join(name)
}

#[test]
fn alerts_and_dashboard_parse_and_name_metrics_that_there_are() {
    let Some(host) = Host::new() else { return };
    let Some(python) = PythonEnv::get(&MONITORING) else {
        return;
    };
    let model = Model::new([("weights", 600_000)]);
    model.sign(BLAKE3);
    let folder = TempDir::new().expect("mkdir");
    let metrics = folder.path().join("model-fs.prom");
    let mount = host.mount(&model.path(), &["--metrics-file", text(&metrics)]);
    fs::read(mount.file("weights")).expect("read");
    mount.unmount();
    let check = |alerts: &Path, dashboard: &Path| -> Finished {
        let mut command = python.python();
        command.arg(built::repository("tests/mount/monitoring.py"));
        finish(command.arg(&metrics).arg(alerts).arg(dashboard), LIMIT)
    };
    let alerts = example("prometheus/alerts.yml");
    let dashboard = example("grafana/model-fs.json");
    check(&alerts, &dashboard).expect("both are sound");
    // What isn't is found.
    let changed = folder.path().join("changed");
    let edits = [
        (&alerts, "model_fs_locked_down == 1", "model_fs_locked == 1"),
        (
            &alerts,
            "model_fs_locked_down == 1",
            "model_fs_locked_down =< 1",
        ),
        (&alerts, "kind=\"repair\"", "kind=\"mended\""),
        (&alerts, "$labels.mountpoint", "$labels.mount"),
        (&alerts, "severity: critical", "severity: high"),
        (&dashboard, "model_fs_cached_bytes", "model_fs_cached"),
        (&dashboard, "increase(", "increase (("),
        (&dashboard, "\"x\": 12", "\"x\": 11"),
    ];
    for (file, from, to) in edits {
        let before = fs::read_to_string(file).expect("read");
        assert!(before.contains(from), "{from}");
        fs::write(&changed, before.replacen(from, to, 1)).expect("write");
        let found = if file == &alerts {
            check(&changed, &dashboard)
        } else {
            check(&alerts, &changed)
        };
        assert_eq!(found.code(), Some(1), "{to}: {found}");
        assert!(!found.stderr.contains("Traceback"), "{to}: {found}");
    }
}
