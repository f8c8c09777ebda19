//! Shell scripts.

use std::process::Command;
use std::time::Duration;

use test_support::built;
use test_support::missing::{Need, have};
use test_support::process::finish;

#[test]
fn scripts_hold_up_to_shellcheck() {
    if have(Need::Shellcheck) {
        let mut command = Command::new("shellcheck");
        command.args([".ci/run", "packaging/dist"]);
        command.args(["packaging/debian/postinst", "packaging/debian/postrm"]);
        let finished = finish(
            command.current_dir(built::repository("")),
            Duration::from_secs(60),
        );
        finished.expect("shellcheck");
    }
}
