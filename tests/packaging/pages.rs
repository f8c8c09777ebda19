//! Man pages and completions.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use test_support::built;
use test_support::missing::{Need, have, not_tested};
use test_support::process::{Finished, finish};

const LIMIT: Duration = Duration::from_secs(60);

fn run(program: &str, arguments: &[&str]) -> Finished {
    finish(Command::new(program).args(arguments), LIMIT)
}

fn pages() -> Vec<PathBuf> {
    let folder = built::repository("docs/man");
    let pages = fs::read_dir(folder).expect("list the pages");
    pages.map(|page| page.expect("a page").path()).collect()
}

#[test]
fn man_pages_are_set_without_a_warning() {
    if !have(Need::Groff) {
        return;
    }
    let pages = pages();
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        let page = page.to_str().expect("a plain path");
        let set = run("groff", &["-ww", "-man", "-Tutf8", page]).expect(page);
        assert_eq!(set.stderr, "", "{page}");
        assert!(set.stdout.contains("model-fs"), "{set}");
    }
}

#[test]
fn bash_completes_verbs_and_flags() {
    let script = built::repository("completions/model-fs.bash");
    let script = script.to_str().expect("a plain path");
    for (words, found) in [
        ("model-fs mou", "mount"),
        ("model-fs mount --public", "--public-key"),
        ("model-fs trust distr", "distrust"),
    ] {
        let line = format!(
            "source {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            complete=$(complete -p model-fs); complete=${{complete##*-F }}
            word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
            ${{complete%% *}} model-fs \"$word\" \"$before\"
            echo \"${{COMPREPLY[@]}}\""
        );
        let told = run("bash", &["-c", &line]).expect(words);
        assert_eq!(told.stdout.trim(), found, "{told}");
    }
}

#[test]
fn zsh_and_fish_read_their_completions() {
    for (shell, option, name) in [
        ("zsh", "-n", "_model-fs"),
        ("fish", "--no-execute", "model-fs.fish"),
    ] {
        let there = run("sh", &["-c", &format!("command -v {shell}")]);
        if !there.succeeded() {
            not_tested(&format!("completions for {shell}, which isn't installed"));
            continue;
        }
        let script = built::repository("completions").join(name);
        let script = script.to_str().expect("a plain path");
        let read = run(shell, &[option, script]).expect(shell);
        assert_eq!(read.stderr, "", "{read}");
    }
}
