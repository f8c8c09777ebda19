//! `model-fs inspect`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use model_fs::digest::Digest;
use model_fs::manifest::{
    Manifest, ManifestFile, Serialization, SignedContent, UnverifiedManifest,
};
use model_fs::name::{Escaped, FileName};
use model_fs::oms::bundle::Material;
use model_fs::oms::claim::Claim;
use model_fs::reading::location::{LocationError, ModelLocation, read_given_signature};
use model_fs::reading::{Links, LocalDirectory};
use serde_json::{Value, json};

use crate::cli::InspectArgs;
use crate::exit::{Exit, Failure};
use crate::terminal;

pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let (location, signature) = find(&args.path)?;
    let claims = claims(location.as_ref(), &signature)?;
    let sizes = sizes(location.as_ref(), claims.claimed_manifest());
    if args.json {
        terminal::print_json(&to_json(&claims, &sizes))
    } else {
        terminal::print(&to_text(&signature, &claims, &sizes))
    }
}

/// The signature to show, and the model that it may be about: a model's own signature, or whatever is
/// given if it has none.
fn find(path: &Path) -> Result<(Option<ModelLocation>, PathBuf), Failure> {
    let location = match ModelLocation::find(path, None) {
        // Nothing but a signature can come through a pipe.
        Err(LocationError::Kind(_)) => return Ok((None, path.to_owned())),
        found => found?,
    };
    let location = if location.shape().is_single_file() && !location.has_signature() {
        ModelLocation::find(path, Some(path))?
    } else {
        location
    };
    let signature = location.signature();
    Ok((Some(location), signature))
}

/// What a signature claims.
fn claims(
    location: Option<&ModelLocation>,
    signature: &Path,
) -> Result<UnverifiedManifest, Failure> {
    let bundle = match location {
        Some(location) => location.read_signature()?,
        None => read_given_signature(signature)?,
    };
    UnverifiedManifest::parse_without_verifying(bundle)
        .map_err(|error| Failure::new(Exit::Signature, error))
}

/// The digest of what a signature says, whoever wrote it: that of a signature file, or of a model's.
pub(crate) fn payload_digest(path: &Path) -> Result<Digest, Failure> {
    let (location, signature) = find(path)?;
    Ok(claims(location.as_ref(), &signature)?.payload_digest())
}

/// Sizes of the files, signed or as found beside the signature.
fn sizes<'a>(location: Option<&ModelLocation>, manifest: &'a Manifest) -> BTreeMap<&'a str, u64> {
    let links = if manifest.allow_symlinks() {
        Links::Follow
    } else {
        Links::Refuse
    };
    let directory = location.map(|location| LocalDirectory::of(location.directory(), links));
    let found = |file: &ManifestFile| {
        let directory = directory.as_ref()?.as_ref().ok()?;
        directory.scan_one(&file.name).ok()?.len_of(&file.name)
    };
    manifest
        .files()
        .iter()
        .filter_map(|file| {
            let len = file.content.len().or_else(|| found(file))?;
            Some((file.name.as_str(), len))
        })
        .collect()
}

/// Sizes are claims, so their sum may be anything.
fn total(sizes: &BTreeMap<&str, u64>) -> u64 {
    sizes.values().copied().fold(0, u64::saturating_add)
}

/// What a Sigstore bundle says of its entries in transparency logs.
fn log_entries(claims: &UnverifiedManifest) -> impl Iterator<Item = String> {
    let entries = match claims.claimed_material() {
        Material::Sigstore { evidence, .. } => evidence.claimed_entries(),
        Material::Key { .. } | Material::Certificate { .. } => &[],
    };
    entries.iter().map(|entry| {
        let time = entry.claimed_time().and_then(|seconds| {
            let time = jiff::Timestamp::from_second(seconds).ok()?;
            Some(format!(", {time}"))
        });
        format!(
            "{} {}, number {}{}",
            Escaped::bounded(entry.claimed_kind()),
            Escaped::bounded(entry.claimed_version()),
            entry.claimed_index(),
            time.unwrap_or_default(),
        )
    })
}

fn serialization(manifest: &Manifest) -> String {
    match manifest.serialization() {
        Serialization::Files => "files".to_owned(),
        Serialization::Shards { size } => format!("shards of {size} bytes"),
    }
}

fn to_text(signature: &Path, claims: &UnverifiedManifest, sizes: &BTreeMap<&str, u64>) -> String {
    let manifest = claims.claimed_manifest();
    let mut text = format!(
        "NOTHING WAS VERIFIED: this is what the signature file claims\n\
         signature      {}\n\
         method         {}\n\
         claimed signer {}\n\
         model name     {}\n\
         root digest    {} (contents alone)\n\
         payload digest {} (all that is signed)\n\
         hash           {}\n\
         serialization  {}\n\
         symlinks       {}\n\
         files          {}\n\
         bytes          {} in {} files of known size\n",
        Escaped::path(signature),
        claims.claimed_material().method(),
        Claim::of(claims.claimed_material()),
        Escaped::bounded(manifest.subject_name()),
        manifest.root_digest(),
        claims.payload_digest(),
        manifest.hash(),
        serialization(manifest),
        if manifest.allow_symlinks() {
            "followed"
        } else {
            "refused"
        },
        manifest.files().len(),
        total(sizes),
        sizes.len(),
    );
    for entry in log_entries(claims) {
        let _ = writeln!(text, "log entry      {entry}");
    }
    for path in manifest.ignore_paths() {
        let _ = writeln!(text, "ignored        {path}");
    }
    for file in manifest.files() {
        let size = sizes
            .get(file.name.as_str())
            .map_or_else(|| "?".to_owned(), u64::to_string);
        let _ = writeln!(text, "{size:>14} {} {}", signed(file), file.name);
    }
    text
}

/// What was signed of a file, in a word.
fn signed(file: &ManifestFile) -> String {
    match &file.content {
        SignedContent::Whole(digest) => digest.to_string(),
        SignedContent::Shards(shards) => {
            format!("{}:{} shards", shards.algorithm(), shards.count())
        }
    }
}

fn to_json(claims: &UnverifiedManifest, sizes: &BTreeMap<&str, u64>) -> Value {
    let manifest = claims.claimed_manifest();
    let files: Vec<_> = manifest
        .files()
        .iter()
        .map(|file| {
            json!({
                "name": file.name.as_str(),
                "size": sizes.get(file.name.as_str()),
                "signed": signed(file),
            })
        })
        .collect();
    json!({
        "verified": false,
        "method": claims.claimed_material().method().name(),
        "claimed_signer": Claim::of(claims.claimed_material()).to_string(),
        "claimed_log_entries": log_entries(claims).collect::<Vec<_>>(),
        "model_name": manifest.subject_name(),
        "root_digest": manifest.root_digest().to_string(),
        "payload_digest": claims.payload_digest().to_string(),
        "hash": manifest.hash().name(),
        "serialization": serialization(manifest),
        "allow_symlinks": manifest.allow_symlinks(),
        "ignore_paths": manifest.ignore_paths().iter().map(FileName::as_str).collect::<Vec<_>>(),
        "file_count": manifest.files().len(),
        "bytes": total(sizes),
        "files": files,
    })
}
