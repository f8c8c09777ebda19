//! The kernel's settings of an EROFS mount, as far as they make it fast.
//!
//! Guarantees: nothing but the settings of a mount called `erofs-N` is changed. Doesn't: know for
//! sure which these are; the kernel doesn't say.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::kernel::tuning::{self, TuningReport};

/// Where the settings of all file systems are.
const FOLDER: &str = "/sys/class/bdi";

/// What those of EROFS are called, before their number.
const PREFIX: &str = "erofs-";

/// The settings of one mount.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings(Option<u32>);

impl Settings {
    /// Those of the mount that has this number among those of EROFS.
    pub(super) fn of(number: Option<u32>) -> Self {
        Self(number)
    }

    /// The numbers of all EROFS mounts.
    pub(super) fn all() -> BTreeSet<u32> {
        let listed = std::fs::read_dir(FOLDER).into_iter().flatten().flatten();
        let numbers = listed.filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_prefix(PREFIX)?.parse().ok()
        });
        numbers.collect()
    }

    /// Those of the one mount that is new.
    pub(super) fn new_since(before: &BTreeSet<u32>) -> Self {
        let now = Self::all();
        let mut new = now.difference(before);
        Self(new.next().copied().filter(|_| new.next().is_none()))
    }

    /// Its number, if it is known.
    pub(super) fn number(self) -> Option<u32> {
        self.0
    }

    /// Makes it fast.
    pub(super) fn tune(self) -> TuningReport {
        let number = self.0.map_or_else(|| "N".to_owned(), |it| it.to_string());
        let folder = PathBuf::from(FOLDER).join(format!("{PREFIX}{number}"));
        tuning::tune_file(folder.join("read_ahead_kb"))
    }
}
