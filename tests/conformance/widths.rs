//! Help and progress on terminals of 80 and of 40 columns.

use test_support::process::Finished;

use crate::program::Home;
use crate::signed::{Signer, files};

const COLUMNS: [usize; 2] = [80, 40];

const VERBS: [&str; 17] = [
    "",
    "mount",
    "umount",
    "upgrade",
    "status",
    "warm",
    "verify",
    "sign",
    "index",
    "inspect",
    "trust",
    "trust add",
    "trust list",
    "trust remove",
    "trust distrust",
    "demo",
    "help sign",
];

/// Runs a line of shell on a terminal, `script`'s, which has so many columns.
fn on_terminal(home: &Home, columns: usize, line: &str) -> Finished {
    let line = format!("stty rows 24 cols {columns}; {line}");
    assert!(!line.contains('\''), "{line}");
    home.shell(&format!(
        "script --quiet --return --command '{line}' /dev/null"
    ))
    .expect(&line)
}

/// What a terminal shows of a text that changes nothing but colours.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        shown.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic());
        rest = &after[end.map_or(after.len(), |end| end + 1)..];
    }
    shown + rest
}

#[test]
fn no_line_of_help_is_wider_than_the_terminal() {
    let home = Home::new();
    for columns in COLUMNS {
        for verb in VERBS {
            let helps = if verb.starts_with("help") {
                [""; 2]
            } else {
                ["-h", "--help"]
            };
            for help in helps {
                let told = on_terminal(&home, columns, &format!("model-fs {verb} {help}"));
                let text = shown(&told.stdout);
                assert!(text.contains("Usage: model-fs"), "{told}");
                for line in text.lines() {
                    assert!(
                        line.trim_end().chars().count() <= columns,
                        "{line:?} {told}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_bar_takes_one_line_of_the_terminal() {
    let signer = Signer::new();
    signer.sign(files().to_string().as_bytes());
    let words = signer.verify();
    let words: Vec<_> = words.iter().map(|it| it.to_str().expect("UTF-8")).collect();
    let line = format!("model-fs {}", words.join(" "));
    for columns in COLUMNS {
        let told = on_terminal(&signer.home, columns, &line);
        // Up a line: what was drawn before took more than one.
        assert!(!told.stdout.contains("\u{1b}[1A"), "{columns}: {told}");
        let bar = shown(&told.stdout);
        let bar = bar.lines().next().unwrap_or_default();
        let drawn: Vec<_> = bar
            .split('\r')
            .filter(|it| it.starts_with("verifying "))
            .collect();
        assert!(!drawn.is_empty(), "{told}");
        for state in drawn {
            assert!(state.chars().count() <= columns, "{columns}: {state:?}");
        }
    }
}
