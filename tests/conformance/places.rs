//! `verify` says where a file differs, as far as a chunk table is at hand that can tell.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::keys;
use test_support::mounted::{flip, scratch};

use crate::program::Home;

const CHUNK: u64 = 65_536;

/// Forty chunks and a bit.
const LEN: u64 = 40 * CHUNK + 100;

struct Signed {
    folder: TempDir,
    home: Home,
}

impl Signed {
    fn new(options: &[&str]) -> Self {
        let signed = Self {
            folder: scratch(),
            home: Home::new(),
        };
        fs::create_dir(signed.model()).expect("mkdir");
        let mut bytes = vec![0; usize::try_from(LEN).expect("small")];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        fs::write(signed.file(), bytes).expect("write");
        let mut words = vec!["sign".into(), signed.model(), "--private-key".into()];
        words.push(keys::path("p256-pkcs8.pem"));
        words.extend(options.iter().map(PathBuf::from));
        signed.home.run(words).expect("sign");
        signed
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    fn file(&self) -> PathBuf {
        self.model().join("weights.bin")
    }

    fn resize(&self, len: u64) {
        let file = OpenOptions::new().write(true).open(self.file());
        file.expect("open").set_len(len).expect("resize");
    }

    /// What `home` says of the only file, in words and as JSON.
    #[track_caller]
    fn judged(&self, home: &Home) -> (String, Value) {
        let key = keys::path("p256-pub.pem");
        let words = ["verify".into(), self.model(), "--public-key".into(), key];
        let text = home.run(&words).expect_code(4, "verify").stderr;
        let json = home.run(words.iter().chain([&"--json".into()]));
        let json = json.expect_code(4, "verify --json").stdout;
        let mut json: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["failure_count"], 1, "{json}");
        (text, json["failures"][0].take())
    }
}

fn range(first: u64, end: u64) -> Value {
    json!({"start": first * CHUNK, "end": (end * CHUNK).min(LEN)})
}

/// Chunks that were changed, among them the first, the last, and some side by side.
#[test]
fn changed_chunks_are_named_wherever_a_table_is_at_hand() {
    let nobody = Home::new();
    for (options, knows_elsewhere) in [
        (&[][..], true),
        (&["--hash", "blake3"], true),
        (&["--hash", "blake2b", "--plain"], false),
        (&["--hash", "sha256", "--plain"], false),
    ] {
        let signed = Signed::new(options);
        for chunk in [0, 7, 8, 9, 20, 40] {
            flip(&signed.file(), chunk * CHUNK + 50);
        }
        let places = json!([range(0, 1), range(7, 10), range(20, 21), range(40, 41)]);
        // The host that signed keeps a table in any case.
        let (text, json) = signed.judged(&signed.home);
        assert_eq!(
            (&json["ranges"], &json["more_ranges"]),
            (&places, &0.into())
        );
        assert!(
            text.contains("it differs in bytes 0 to 65536, 458752 to 655360, 1310720 to 1376256, "),
            "{text}"
        );
        let (text, json) = signed.judged(&nobody);
        if knows_elsewhere {
            assert_eq!(json["ranges"], places, "{options:?}");
        } else {
            assert_eq!(json["ranges"], Value::Null, "{options:?}: {text}");
            assert!(!text.contains("differs in bytes"), "{text}");
        }
    }
}

#[test]
fn many_places_are_counted() {
    let signed = Signed::new(&[]);
    for chunk in (0..40).step_by(2) {
        flip(&signed.file(), chunk * CHUNK);
    }
    let (text, json) = signed.judged(&Home::new());
    assert_eq!(json["ranges"].as_array().map(Vec::len), Some(16));
    assert_eq!(json["more_ranges"], 4);
    assert!(text.contains("and in 4 more ranges"), "{text}");
}

#[test]
fn a_file_of_another_length_says_by_how_much() {
    let signed = Signed::new(&[]);
    for (len, says) in [(LEN + 3, "3 too many"), (LEN - 200, "200 too few")] {
        signed.resize(len);
        let (text, json) = signed.judged(&Home::new());
        assert!(text.contains(says), "{text}");
        assert_eq!(json["found_length"], len);
        let message = json["message"].as_str().expect("a message");
        assert!(message.contains(says), "{message}");
    }
}

/// The table says what each chunk must be, so the adversary who replaces it gains nothing: the
/// digest fails as before.
#[test]
fn an_edited_table_tells_nothing() {
    let signed = Signed::new(&[]);
    let tables = fs::read_dir(signed.model().join(".model-fs")).expect("tables");
    for table in tables {
        flip(&table.expect("a table").path(), 200);
    }
    flip(&signed.file(), 5 * CHUNK);
    let (_, json) = signed.judged(&Home::new());
    assert_eq!(json["reason"], "digest");
    assert_eq!(json["ranges"], Value::Null);
}
