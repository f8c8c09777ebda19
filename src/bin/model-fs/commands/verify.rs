//! `model-fs verify`.

use std::collections::HashSet;

use model_fs::manifest::SignedContent;
use model_fs::oms::trust_store::SignerName;
use model_fs::reading::check::{self, Failure as Finding};
use model_fs::reading::{Violation, ViolationKind};
use serde_json::{Value, json};

use super::progress::Bar;
use super::signed_model::{SignedModel, content_failure, exit_for, open_store};
use crate::cli::VerifyArgs;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Failures in a JSON report; more are counted.
const MAX_REPORTED: usize = 10_000;

pub(crate) fn run(args: VerifyArgs) -> Result<Exit, Failure> {
    let json = args.json;
    match check(args) {
        Ok(report) => report.show(json),
        // A script that asked for JSON gets JSON, whatever went wrong.
        Err(failure) if json => {
            let document = json!({
                "verified": false,
                "error": terminal::plain(&failure),
                "hint": failure.hint,
            });
            println!("{document:#}");
            Ok(failure.exit)
        }
        Err(failure) => Err(failure),
    }
}

/// What verifying a model found.
struct Report {
    model: SignedModel,
    bytes: u64,
    failures: Vec<Finding>,
}

fn check(args: VerifyArgs) -> Result<Report, Failure> {
    let model = SignedModel::open(&args.model, &args.ignore, args.trust)?;
    let store = open_store(args.index_dir.as_deref(), &model.location)?;
    let bytes = model.claimed_bytes();
    let mut failures = model.name_failures();
    let bar = Bar::new(bytes, "verifying");
    let content = check::check_content(
        model.manifest.manifest(),
        &*model.directory,
        store.as_ref(),
        &bar,
    );
    bar.finish();
    // What a name already failed for, its content fails for again.
    let known: HashSet<String> = failures.iter().map(Finding::to_string).collect();
    let is_new = |failure: &Finding| !known.contains(&failure.to_string());
    failures.extend(content.into_iter().filter(is_new));
    Ok(Report {
        model,
        bytes,
        failures,
    })
}

impl Report {
    fn show(self, json: bool) -> Result<Exit, Failure> {
        let exit = exit_for(&self.failures);
        if json {
            println!("{:#}", self.to_json());
            return Ok(exit);
        }
        if exit != Exit::Done {
            return Err(content_failure(&self.failures));
        }
        let manifest = self.model.manifest.manifest();
        println!(
            "verified: {} files, {}, signed by {}",
            manifest.files().len(),
            indicatif::HumanBytes(self.bytes),
            self.model.signer(),
        );
        println!("payload digest: {}", self.model.manifest.payload_digest());
        Ok(exit)
    }

    fn to_json(&self) -> Value {
        let manifest = self.model.manifest.manifest();
        let signer = self.model.manifest.signer();
        let failures: Vec<_> = self
            .failures
            .iter()
            .take(MAX_REPORTED)
            .map(finding)
            .collect();
        json!({
            "verified": self.failures.is_empty(),
            "method": signer.method().name(),
            "signer": signer.to_string(),
            "trusted_as": self.model.trusted_as.as_ref().map(SignerName::as_str),
            "root_digest": manifest.root_digest().to_string(),
            "payload_digest": self.model.manifest.payload_digest().to_string(),
            "hash": manifest.hash().name(),
            "shards": manifest.files().iter().any(|file| matches!(file.content, SignedContent::Shards(_))),
            "files": manifest.files().len(),
            "bytes": self.bytes,
            "failure_count": self.failures.len(),
            "failures": failures,
        })
    }
}

fn finding(finding: &Finding) -> Value {
    let message = finding.to_string();
    match finding {
        Finding::Missing(file) => {
            json!({"file": file.to_string(), "reason": "missing", "message": message})
        }
        Finding::WrongType { file, found } => {
            json!({"file": file.to_string(), "reason": "wrong-type", "found": found, "message": message})
        }
        Finding::Unsigned(name) => {
            json!({"file": name.to_string(), "reason": "unsigned", "message": message})
        }
        Finding::Unreadable { file, .. } => {
            json!({"file": file.to_string(), "reason": "unreadable", "message": message})
        }
        Finding::Violation(violation) => self::violation(violation, &message),
    }
}

fn violation(violation: &Violation, message: &str) -> Value {
    let mut value = json!({
        "file": violation.file.to_string(),
        "start": violation.range.start,
        "end": violation.range.end,
        "algorithm": violation.algorithm.name(),
        "message": message,
    });
    let (reason, detail) = match &violation.kind {
        ViolationKind::Digest { expected, found } => {
            ("digest", json!({"expected": expected, "found": found}))
        }
        ViolationKind::Truncated { end } => ("truncated", json!({"found_length": end})),
        ViolationKind::Extended { len } => ("extended", json!({"found_length": len})),
    };
    value["reason"] = reason.into();
    if let (Some(object), Value::Object(detail)) = (value.as_object_mut(), detail) {
        object.extend(detail);
    }
    value
}
