//! What the library and the program find out about a model.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use model_fs::manifest::{SignedContent, VerifyManifestError};
use model_fs::model::StorePlace;
use model_fs::reading::whole::verify::{Difference, verify_content};
use model_fs::reading::{TableStore, ViolationKind};
use model_fs::{Model, OpenError, OpenOptions, PublicKey, SignedModel, Trust};
use test_support::built;
use test_support::mounted::scratch;
use test_support::process::finish;

use crate::model::{Outcome, Outcomes, Range, WithoutTables};

const LIMIT: Duration = Duration::from_secs(60);

/// The signer whose key is in a file.
pub(crate) fn trust(key: &Path) -> Trust {
    let pem = std::fs::read(key).expect("read a key");
    Trust::Key(PublicKey::from_pem(&pem).expect("a public key"))
}

/// What was found out about a model.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) verdict: &'static str,
    /// How many resources have annotations that are ignored.
    pub(crate) warned: usize,
    /// Path → what is wrong, in the words of the vectors where ours can tell as much.
    pub(crate) differences: BTreeMap<String, String>,
}

/// Judges a model as a whole, with a store that is empty.
pub(crate) fn judge(model: &Path, trust: &Trust) -> Judgement {
    let refused = |verdict| Judgement {
        verdict,
        warned: 0,
        differences: BTreeMap::new(),
    };
    let signed = match SignedModel::open(model, trust, OpenOptions::new()) {
        Ok(signed) => signed,
        Err(OpenError::Signature(VerifyManifestError::Signature(_))) => {
            return refused("signature");
        }
        Err(OpenError::Signature(_)) => return refused("statement"),
        Err(other) => panic!("{}: no verdict: {other}", model.display()),
    };
    let manifest = signed.manifest();
    let mut found = signed.name_differences();
    let store = scratch();
    let store = TableStore::open(store.path()).expect("an empty store");
    found.extend(verify_content(
        manifest,
        &**signed.directory(),
        Some(&store),
        &(),
    ));
    let ignored = manifest.ignored_annotations();
    Judgement {
        verdict: if found.is_empty() { "ok" } else { "content" },
        warned: ignored.map_or(0, |ignored| ignored.resources),
        differences: found.iter().map(|found| told(found, &signed)).collect(),
    }
}

/// The file and the word of a difference.
fn told(difference: &Difference, signed: &SignedModel) -> (String, String) {
    match difference {
        Difference::Missing(name) => (name.as_str().to_owned(), "missing".to_owned()),
        Difference::Unsigned(name) => (name.as_str().to_owned(), "unsigned".to_owned()),
        Difference::Content(content) => {
            let violation = &content.violation;
            let name = violation.file.as_str();
            let file = signed.manifest().file(name).expect("a signed file");
            let is_whole = matches!(file.content, SignedContent::Whole(_));
            let word = match &violation.kind {
                ViolationKind::Truncated { .. } | ViolationKind::Extended { .. } => "size".into(),
                ViolationKind::Digest { .. } if !is_whole => "digest".into(),
                ViolationKind::Digest { holds: None, .. } => "nothing holds".into(),
                ViolationKind::Digest {
                    holds: Some(holds), ..
                } => format!("{holds} holds, {} differs", violation.algorithm),
            };
            (name.to_owned(), word)
        }
        other => panic!("{other}"),
    }
}

/// The exit code of `model-fs verify`, in a home of its own.
pub(crate) fn exit_code(model: &Path, key: &Path) -> i32 {
    let home = scratch();
    let mut command = built::program_at_home(home.path());
    command.arg("verify").arg(model);
    command.arg("--public-key").arg(key);
    let done = finish(&mut command, LIMIT);
    done.code().unwrap_or_else(|| panic!("{done}"))
}

/// Reads a range in each way, with nothing kept from before.
pub(crate) fn read(model: &Path, trust: &Trust, range: &Range) -> Outcomes {
    let store = scratch();
    let place = StorePlace::At(store.path().to_owned());
    let (tables, passes) = read_once(model, trust, range, place);
    let lazy = if passes == 0 {
        tables.clone()
    } else {
        Outcome::error()
    };
    let _hidden = WithoutTables::of(model);
    let (bare, _) = read_once(model, trust, range, StorePlace::Memory);
    Outcomes { lazy, tables, bare }
}

/// What comes of it, and how many full passes were made.
fn read_once(model: &Path, trust: &Trust, range: &Range, store: StorePlace) -> (Outcome, u64) {
    let options = OpenOptions::new().store(store);
    let model = match Model::open(model, trust, options) {
        Ok(model) => model,
        Err(OpenError::Differs(_)) => return (Outcome::error(), 0),
        Err(other) => panic!("{}: {other}", model.display()),
    };
    let outcome = match model.file(&range.file) {
        Ok(file) => match file.read_at(range.offset, range.len) {
            Ok(bytes) => Outcome::of(bytes.as_slice()),
            Err(_) => Outcome::error(),
        },
        Err(_) => Outcome::error(),
    };
    (outcome, model.stats().full_passes)
}
