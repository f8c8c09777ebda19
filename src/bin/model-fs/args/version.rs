//! What `--version` tells of a build.

use std::sync::LazyLock;

/// The version; and below it the commit, where the builder gave it in `MODEL_FS_COMMIT`, the
/// features, and what the program was built for. Nothing of it depends on when or where that was.
pub(super) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let features = [
            ("mount", true),
            ("pkcs11", cfg!(feature = "pkcs11")),
            ("sigstore-sign", cfg!(feature = "sigstore-sign")),
        ];
        let features: Vec<&str> = features
            .into_iter()
            .filter_map(|(name, there)| there.then_some(name))
            .collect();
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        let commit = option_env!("MODEL_FS_COMMIT").filter(|commit| !commit.is_empty());
        let commit = commit.map_or_else(String::new, |commit| format!("commit    {commit}\n"));
        format!(
            "{}\n{commit}features  {}\ntarget    {}-{}-{LIBC}\nprofile   {profile}",
            env!("CARGO_PKG_VERSION"),
            features.join(" "),
            std::env::consts::ARCH,
            std::env::consts::OS,
        )
    });
    &TEXT
}

/// The C library, as target triples name it.
const LIBC: &str = if cfg!(target_env = "gnu") {
    "gnu"
} else if cfg!(target_env = "musl") {
    "musl"
} else {
    "other"
};
