//! Where cargo puts what it builds.
//!
//! Cargo tells only the targets of a package, while they are compiled, where its programs and its
//! folder for temporary files are. This crate isn't one of them, so it finds both from the place of
//! the running test or benchmark, `target/PROFILE/deps`. `tests/architecture` compares it with what
//! cargo says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// `target/PROFILE`.
static PROFILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let own = std::env::current_exe().expect("where this test lies");
    let deps = own.parent().expect("a test lies in a folder");
    assert!(
        deps.ends_with("deps"),
        "{}: not where cargo puts tests and benchmarks",
        own.display()
    );
    deps.parent().expect("a folder of cargo's").to_owned()
});

/// The program under test.
pub fn program() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| {
        let program = PROFILE.join("model-fs").into_os_string();
        program.into_string().expect("a path in UTF-8")
    });
    &PROGRAM
}

/// The program under test, run in a home directory of its own, so that nothing that the user who
/// runs the tests has configured or trusts plays a part.
pub fn program_at_home(home: &Path) -> Command {
    let mut command = Command::new(program());
    for variable in [
        "HOME",
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "XDG_STATE_HOME",
    ] {
        command.env(variable, home);
    }
    command.current_dir(home);
    command
}

/// A folder for temporary files, on the disk that holds the target folder; `/tmp` may be small or
/// in memory.
pub fn scratch() -> PathBuf {
    let folder = target().join("tmp");
    std::fs::create_dir_all(&folder).expect("make cargo's folder for temporary files");
    folder
}

/// `target`, wherever that is.
pub fn target() -> &'static Path {
    PROFILE.parent().expect("profiles lie in a folder")
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.parent().and_then(Path::parent);
    root.expect("this crate lies in `tests/support`").join(path)
}
