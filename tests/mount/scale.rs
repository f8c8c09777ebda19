//! Many files.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{BLAKE3, Host, Model, in_pages};

const FILES: usize = 10_000;

#[test]
fn a_directory_of_ten_thousand_files_reads_as_the_source() {
    let Some(host) = Host::new() else { return };
    let names = || (0..FILES).map(|index| format!("big/{index:05}-file-of-a-large-model"));
    let model = Model::new(names().zip((0..).map(|index| index % 5_000)));
    model.sign(BLAKE3);
    let mount = host.mount(&model.path(), &[]);
    // Through EROFS, lengths were proved, for which these files are read.
    let before = mount.stats().source_bytes;
    assert!(before == 0 || in_pages());
    for _ in 0..2 {
        let listed: Vec<_> = fs::read_dir(mount.file("big"))
            .expect("list")
            .map(|entry| {
                entry
                    .expect("list")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        assert_eq!(listed.len(), FILES, "each once");
        let wanted: BTreeSet<_> = names()
            .map(|name| name["big/".len()..].to_owned())
            .collect();
        assert_eq!(BTreeSet::from_iter(listed), wanted);
    }
    assert_eq!(mount.stats().source_bytes, before, "listing reads nothing");
    for (name, bytes) in &model.files {
        let found = fs::read(mount.file(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(&found, bytes, "{name}");
    }
    assert_eq!(mount.status().files as u64, FILES as u64);
    mount.unmount();
}
