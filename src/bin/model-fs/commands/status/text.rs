//! A status as text.
//!
//! Guarantees: what matters comes first; every value is harmless to a terminal and not too long.
//! Doesn't: know which facts there are; what it has no place for is shown too.

use std::fmt::Write as _;

use indicatif::HumanBytes;
use model_fs::name::Escaped;
use serde_json::{Map, Value};

use crate::terminal;

/// The full passes that are being made.
const PASSES: &str = "full_passes_underway";

/// Facts that come first, in this order, and what they are called.
const FIRST: [(&str, &str); 44] = [
    ("source", "model"),
    ("mountpoint", "mountpoint"),
    ("error", "can't be asked"),
    ("mounted_by", "mounted by user"),
    ("since", "mounted since"),
    ("process_since", "served since"),
    ("lane", "lane"),
    ("model_name", "signed as"),
    ("signer", "signer"),
    ("method", "method"),
    ("trusted_by", "trusted by"),
    ("trust_entry", "trusted as"),
    ("trust_file", "trust store"),
    ("trust_anchor", "trusted root"),
    ("certificates_valid", "certificates valid"),
    ("signed_before", "signed before"),
    ("root_digest", "root digest"),
    ("shortened", "shortened"),
    ("violations", "violations"),
    ("recent_violations", "recent violations"),
    ("locked_down", "locked down"),
    ("source_errors", "source errors"),
    ("recent_source_errors", "recent source errors"),
    ("repaired_chunks", "repaired chunks"),
    ("transfer_errors", "transfer errors"),
    ("recent_recoveries", "recent recoveries"),
    ("hidden_signed_files", "hidden signed files"),
    ("hidden_signed_names", "hidden, for instance"),
    ("files", "files"),
    ("bytes", "bytes"),
    ("proved_files", "files proved"),
    ("to_hash_files", "files to hash whole"),
    ("to_hash_bytes", "bytes to hash whole"),
    ("full_passes", "files hashed so far"),
    ("full_pass_bytes", "bytes hashed so far"),
    (PASSES, "being hashed"),
    ("full_passes_waiting", "wait to be hashed"),
    ("prefetch", "prefetch"),
    ("prefetch_ended", "prefetch ended"),
    ("prefetch_files", "files prefetched"),
    ("prefetch_of_files", "of files"),
    ("prefetch_bytes", "bytes prefetched"),
    ("prefetch_of_bytes", "of bytes"),
    ("prefetch_failures", "prefetch failures"),
];

/// Facts that come last: nothing is wrong where they are missing, and little where they aren't.
const LAST: [(&str, &str); 8] = [
    ("version", "version"),
    ("not_pages", "not through EROFS"),
    ("threads", "threads"),
    ("read_ahead_kib", "reads ahead, KiB"),
    ("pushes", "pages pushed"),
    ("not_pushed", "not pushed"),
    ("not_tuned", "read-ahead"),
    ("tuning_command", "faster, as root"),
];

/// Facts that the signer's line has already.
const SAID: [&str; 5] = [
    "key",
    "certificate",
    "certificate_sha256",
    "identity",
    "identity_provider",
];

/// Characters shown of a text; `--json` has all of it.
const MAX_TEXT: usize = 500;

/// A line for each fact, what matters first.
pub(super) fn to_text(facts: Map<String, Value>) -> String {
    let mut facts = flat(facts);
    facts.retain(|(name, _)| !SAID.contains(&name.as_str()));
    let mut lines = Vec::new();
    for (name, label) in FIRST {
        take(&mut facts, name, label, &mut lines);
    }
    let mut last = Vec::new();
    for (name, label) in LAST {
        take(&mut facts, name, label, &mut last);
    }
    for (name, value) in &facts {
        show(name, &label_of(name), value, &mut lines);
    }
    lines.append(&mut last);
    let width = lines.iter().map(|(label, _)| label.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for (label, value) in lines {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{label:<width$}  {value}");
    }
    text
}

/// The facts of groups among the others.
fn flat(facts: Map<String, Value>) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (name, value) in facts {
        match value {
            Value::Object(group) => all.extend(flat(group)),
            value => all.push((name, value)),
        }
    }
    all
}

/// A name of JSON as a label. It is the mount's word, as the values are.
fn label_of(name: &str) -> String {
    Escaped::bounded(&name.replace('_', " ")).to_string()
}

fn take(
    facts: &mut Vec<(String, Value)>,
    name: &str,
    label: &str,
    lines: &mut Vec<(String, String)>,
) {
    facts.retain(|(there, value)| {
        if there == name {
            show(name, label, value, lines);
        }
        there != name
    });
}

fn show(name: &str, label: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let mut line = |text: String| lines.push((label.to_owned(), text));
    match value {
        Value::Null => {}
        Value::Array(values) if name == PASSES => values.iter().map(pass).for_each(line),
        Value::Array(values) => values.iter().map(bounded).for_each(line),
        Value::Bool(true) if name == "shortened" => {
            line("yes: there is more than fits into a status".to_owned());
        }
        Value::Bool(yes) => line(if *yes { "yes" } else { "no" }.to_owned()),
        Value::Number(number) if name.ends_with("bytes") => match number.as_u64() {
            Some(bytes @ 1024..) => line(format!("{bytes} ({})", HumanBytes(bytes))),
            _ => line(number.to_string()),
        },
        value => line(bounded(value)),
    }
}

/// How far a full pass is.
fn pass(value: &Value) -> String {
    let bytes = |key| HumanBytes(value[key].as_u64().unwrap_or(0));
    format!(
        "\"{}\": {} % of {}, {}/s",
        bounded(&value["file"]),
        value["percent"].as_u64().unwrap_or(0),
        bytes("of_bytes"),
        bytes("bytes_per_second"),
    )
}

/// A text that is harmless and not too long.
fn bounded(value: &Value) -> String {
    let text = terminal::text_of(value);
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use model_fs::fs::Status;
    use serde_json::json;

    use super::*;

    fn text(facts: Value) -> String {
        match facts {
            Value::Object(facts) => to_text(facts),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_matters_comes_first_and_hints_come_last() {
        let shown = text(json!({
            "bytes": 2048,
            "cache_hits": 7,
            "files": 3,
            "mount": {
                "mountpoint": "/mnt",
                "not_tuned": "too low",
                "source": "/m",
                "hidden_signed_files": 0,
                "hidden_signed_names": [],
                "not_pushed": null,
            },
            "signer": "key 12",
            "violations": 0,
            "recent_violations": [],
        }));
        assert_eq!(
            shown,
            "model                /m\n\
             mountpoint           /mnt\n\
             signer               key 12\n\
             violations           0\n\
             hidden signed files  0\n\
             files                3\n\
             bytes                2048 (2.00 KiB)\n\
             cache hits           7\n\
             read-ahead           too low\n"
        );
    }

    #[test]
    fn what_has_a_place_of_its_own_is_in_a_status() {
        let status: Status = serde_json::from_value(json!({
            "signer": "", "root_digest": "", "payload_digest": "", "files": 0, "mounted_by": 0,
            "shortened": true, "locked_down": false, "warm_up": {},
            "mount": {
                "mountpoint": "", "source": "", "since": "2026-11-30T00:00:00Z",
                "process_since": "2026-11-30T00:00:00Z", "read_ahead_kib": 128,
            },
            "trust": {
                "trust_entry": "", "trust_file": "", "trust_anchor": "", "certificates_valid": "",
                "signed_before": "2026-11-30T00:00:00Z", "key": "", "certificate": "",
                "certificate_sha256": "", "identity": "", "identity_provider": "",
            },
        }))
        .unwrap();
        let Value::Object(facts) = serde_json::to_value(status).unwrap() else {
            panic!("a status is an object");
        };
        let facts = flat(facts);
        // Of a mount that can't be asked, there is no status.
        let told = FIRST.iter().filter(|(name, _)| *name != "error");
        for (name, _) in told.chain(&LAST) {
            assert!(facts.iter().any(|(there, _)| there == name), "{name}");
        }
        for name in SAID {
            assert!(facts.iter().any(|(there, _)| there == name), "{name}");
        }
    }

    #[test]
    fn each_fact_is_in_the_documents() {
        let operations = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
        let operations = std::fs::read_to_string(operations).unwrap();
        let mut names: Vec<_> = FIRST.iter().chain(&LAST).map(|(name, _)| *name).collect();
        names.extend(SAID);
        let status: Status = serde_json::from_value(json!({
            "signer": "", "root_digest": "", "files": 0, "locked_down": false, "mount": null,
        }))
        .unwrap();
        let Value::Object(facts) = serde_json::to_value(status).unwrap() else {
            panic!("a status is an object");
        };
        names.extend(facts.keys().map(String::as_str));
        for name in names {
            let is_told = |place: &str| operations.contains(&format!("`{place}{name}`"));
            assert!(is_told("") || is_told("mount."), "{name}");
        }
    }

    #[test]
    fn each_violation_has_a_line_and_none_is_endless() {
        let long = "x".repeat(100_000);
        let shown = text(json!({
            "recent_violations": ["\"a\" is wrong", "\"b\"\nsigner  forged \u{1b}[2J", long],
            "violations": 3,
            "shortened": true,
            "new\n_fact": {"deeper": {"still": [1, {"a": "\u{202e}"}]}},
        }));
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 7, "{shown}");
        assert!(lines[0].starts_with("shortened"), "{shown}");
        assert!(lines[3].contains("\"b\"\\u{a}signer  forged \\u{1b}[2J"));
        assert!(lines[4].ends_with("x…") && lines[4].len() < 600);
        assert!(lines[6].contains("\\u{202e}"), "{shown}");
        assert_eq!(text(json!({})), "");
    }
}
