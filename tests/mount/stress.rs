//! Many readers at random while the source changes. `cargo bench --bench stress` does it for
//! longer.

use std::time::Duration;

use test_support::storm::{Golden, Storm};

use crate::support::{ANNOTATED, BLAKE3, CHUNK, Host, Model, SHA256, WHOLE};

/// For one access on a machine that does other things too; the benchmark wants less.
const PATIENCE: Duration = Duration::from_secs(20);

const SHARDS: &[&str] = &["--hash", "sha256", "--shard-size", "100000"];

#[test]
fn a_changing_source_gives_signed_bytes_or_errors() {
    for form in [BLAKE3, SHA256, SHARDS, ANNOTATED] {
        let Some(host) = Host::new() else { return };
        let files = [
            ("small", 300),
            ("middle", 3 * CHUNK + 77),
            ("large", WHOLE + 9 * CHUNK),
        ];
        let model = Model::new(files);
        model.sign(form);
        let mount = host.mount(&model.path(), &[]);
        let files: Vec<_> = files
            .iter()
            .map(|&(name, _)| Golden {
                name: name.to_owned(),
                bytes: model.bytes(name).to_vec(),
            })
            .collect();
        let outcome = Storm {
            source: &model.path(),
            mount: mount.path(),
            files: &files,
            threads: 16,
            time: Duration::from_millis(1500),
        }
        .run()
        .expect("change the source");
        assert_eq!(outcome.wrong, [""; 0], "{form:?}: {outcome:?}");
        assert!(outcome.slowest < PATIENCE, "{form:?}: {outcome:?}");
        assert!(outcome.reads > 0 && outcome.faults > 0, "{outcome:?}");
        mount.unmount();
    }
}
