//! Which kernels may be trusted to read a model through EROFS.
//!
//! Two faults can't be shown by a test, so there is a floor for them: CVE-2024-53235 (a null
//! pointer with file-backed mounts) and CVE-2026-23224 (memory used after it was freed, with direct
//! reads). That short answers aren't taken for zeros is tried each time, beside this; the floors
//! are at the first versions that are known to pass that.
//!
//! Guarantees: a version that isn't known counts as too old. Doesn't: know what distributions have
//! mended in older ones.

use super::error::NoPages;

/// What [`is_safe`] says, in words.
const FLOOR: &str = "6.12.85, 6.18.16, 7.0";

/// Whether this kernel is new enough.
pub(super) fn check() -> Result<(), NoPages> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_err(NoPages::io("the kernel's version"))?;
    let release = release.trim();
    if is_safe(release) {
        return Ok(());
    }
    Err(NoPages::Kernel {
        release: release.escape_debug().to_string(),
        floor: FLOOR,
    })
}

fn is_safe(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse::<u32>().ok());
    let mut next = || numbers.next().flatten();
    match (next(), next(), next()) {
        (Some(6), Some(12), Some(patch)) => patch >= 85,
        (Some(6), Some(18), Some(patch)) => patch >= 16,
        (Some(major), Some(_), _) => major >= 7,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_are_known_to_be_safe_are() {
        for release in [
            "6.12.85",
            "6.12.117-amd64",
            "6.18.44",
            "7.0.0",
            "7.2-rc1",
            "10.1.2",
        ] {
            assert!(is_safe(release), "{release}");
        }
        let old = [
            "6.12.84", "6.12", "6.13.9", "6.17.13", "6.18.15", "6.19.3", "5.15.200",
        ];
        for release in old.into_iter().chain(["", "7", "x.y.z", "6.1.99999999999"]) {
            assert!(!is_safe(release), "{release}");
        }
    }
}
