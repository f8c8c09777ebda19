//! `model-fs verify`.

use std::collections::HashSet;
use std::ops::Range;

use model_fs::SignedModel;
use model_fs::digest::Algorithm;
use model_fs::manifest::{ManifestFile, SignedContent};
use model_fs::oms::trust_store::SignerName;
use model_fs::reading::ViolationKind;
use model_fs::reading::whole::verify::{ContentDifference, Difference, verify_content};
use serde_json::{Value, json};

use crate::args::VerifyArgs;
use crate::exit::{Exit, Failure};
use crate::findings::{content_failure, verdict};
use crate::index_store::open_store;
use crate::progress::Bar;
use crate::signals;
use crate::signed_model;
use crate::terminal::{self, files};

/// Failures in a JSON report; more are counted.
const MAX_REPORTED: usize = 10_000;

pub(crate) fn run(args: VerifyArgs) -> Result<Exit, Failure> {
    let json = args.json;
    match check(args) {
        Ok(report) => report.show(json),
        Err(failure) if json => report_failure(failure),
        Err(failure) => Err(failure),
    }
}

/// Why nothing could be compared, for a script that asked for JSON: it gets a document whatever
/// went wrong.
pub(crate) fn report_failure(failure: Failure) -> Result<Exit, Failure> {
    let document = json!({
        "verified": false,
        "error": terminal::plain(&failure),
        "hint": failure.remedy(),
    });
    match terminal::print_json(&document) {
        Ok(()) => Ok(failure.exit),
        // What went wrong first is told at least here, and its exit code counts.
        Err(_) => Err(failure),
    }
}

/// What verifying a model found.
struct Report {
    model: SignedModel,
    bytes: u64,
    failures: Vec<Difference>,
}

fn check(args: VerifyArgs) -> Result<Report, Failure> {
    let options = signed_model::options(&args.model, &args.ignore, None);
    let model = signed_model::open(&args.model, args.trust, options)?;
    signals::leave_nothing();
    let store = open_store(args.index_dir.as_deref(), model.location())?;
    let bytes = model.claimed_bytes();
    let mut failures = model.left_out_differences();
    failures.extend(model.name_differences());
    let bar = Bar::new(bytes, "verifying");
    let content = verify_content(model.manifest(), &**model.directory(), store.as_ref(), &bar);
    bar.finish();
    // What a name already failed for, its content fails for again.
    let known: HashSet<String> = failures.iter().map(Difference::to_string).collect();
    let is_new = |failure: &Difference| !known.contains(&failure.to_string());
    failures.extend(content.into_iter().filter(is_new));
    Ok(Report {
        model,
        bytes,
        failures,
    })
}

impl Report {
    fn show(self, json: bool) -> Result<Exit, Failure> {
        let exit = Exit::of_findings(&self.failures);
        if json {
            return match terminal::print_json(&self.to_json()) {
                Ok(()) => Ok(exit),
                Err(failure) if exit == Exit::Done => Err(failure),
                // What was found counts for more than that it can't be told.
                Err(_) => Err(content_failure(&self.failures)),
            };
        }
        if exit != Exit::Done {
            return Err(content_failure(&self.failures));
        }
        terminal::print(&format!(
            "verified: {}, {}, signed by {}\n",
            files(self.signed_files()),
            indicatif::HumanBytes(self.bytes),
            self.model.signer(),
        ))?;
        terminal::print(&format!(
            "payload digest: {}\n",
            self.model.manifest().payload_digest()
        ))?;
        Ok(exit)
    }

    /// All of them, those that were to be left out too.
    fn signed_files(&self) -> usize {
        let manifest = self.model.manifest();
        manifest.files().len() + manifest.left_out().len()
    }

    fn to_json(&self) -> Value {
        let manifest = self.model.manifest();
        let signer = self.model.manifest().signer();
        let failures: Vec<_> = self
            .failures
            .iter()
            .take(MAX_REPORTED)
            .map(finding)
            .collect();
        let error = (!self.failures.is_empty()).then(|| verdict(&self.failures));
        let is_sharded = |file: &ManifestFile| matches!(file.content, SignedContent::Shards(_));
        let shards = manifest.files().iter().any(is_sharded);
        json!({
            "verified": self.failures.is_empty(),
            "error": error,
            "method": signer.method().name(),
            "signer": signer.to_string(),
            "trusted_as": self.model.trusted_as().map(SignerName::as_str),
            "root_digest": manifest.root_digest().to_string(),
            "payload_digest": self.model.manifest().payload_digest().to_string(),
            "hash": manifest.hash().name(),
            "shards": shards,
            "files": self.signed_files(),
            "bytes": self.bytes,
            "failure_count": self.failures.len(),
            "failures": failures,
        })
    }
}

fn finding(finding: &Difference) -> Value {
    let message = finding.to_string();
    match finding {
        Difference::Missing(file) => {
            json!({"file": file.to_string(), "reason": "missing", "message": message})
        }
        Difference::LeftOut(file) => {
            json!({"file": file.to_string(), "reason": "left-out", "message": message})
        }
        Difference::WrongType { file, found } => {
            json!({
                "file": file.to_string(),
                "reason": "wrong-type",
                "found": found,
                "message": message,
            })
        }
        Difference::Unsigned(name) => {
            json!({"file": name.to_string(), "reason": "unsigned", "message": message})
        }
        Difference::Unreadable { file, .. } => {
            json!({"file": file.to_string(), "reason": "unreadable", "message": message})
        }
        Difference::Content(difference) => content(difference, &message),
    }
}

fn content(difference: &ContentDifference, message: &str) -> Value {
    let violation = &difference.violation;
    let mut value = json!({
        "file": violation.file.to_string(),
        "start": violation.range.start,
        "end": violation.range.end,
        "algorithm": violation.algorithm.name(),
        "message": message,
    });
    let (reason, detail) = match &violation.kind {
        ViolationKind::Digest {
            expected,
            found,
            holds,
        } => (
            "digest",
            json!({"expected": expected, "found": found, "holds": holds.map(Algorithm::name)}),
        ),
        ViolationKind::Truncated { end } => ("truncated", json!({"found_length": end})),
        ViolationKind::Extended { len } => ("extended", json!({"found_length": len})),
    };
    value["reason"] = reason.into();
    if let (Some(object), Value::Object(detail)) = (value.as_object_mut(), detail) {
        object.extend(detail);
    }
    if let Some(places) = &difference.places {
        let range = |range: &Range<u64>| json!({"start": range.start, "end": range.end});
        value["ranges"] = places.ranges.iter().map(range).collect();
        value["more_ranges"] = places.more.into();
    }
    value
}
