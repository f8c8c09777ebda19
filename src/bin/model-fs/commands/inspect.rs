//! `model-fs inspect`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use model_fs::manifest::{Manifest, ManifestFile, SignedContent, UnverifiedManifest};
use model_fs::name::{Escaped, FileName};
use model_fs::oms::bundle::Material;
use model_fs::oms::claim::Claim;
use model_fs::reading::location::ModelLocation;
use model_fs::reading::table::{Laziness, laziness, shipped};
use model_fs::reading::{Links, LocalDirectory};
use serde_json::{Value, json};

use crate::args::InspectArgs;
use crate::claims::{claims, find};
use crate::exit::Failure;
use crate::terminal;

pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let (location, signature) = find(&args.path)?;
    let claims = claims(location.as_ref(), &signature)?;
    let sizes = sizes(location.as_ref(), claims.claimed_manifest());
    let lazy = Lazy::of(location.as_ref(), claims.claimed_manifest(), &sizes);
    if args.json {
        terminal::print_json(&to_json(&claims, &sizes, &lazy))
    } else {
        terminal::print(&to_text(&signature, &claims, &sizes, &lazy))
    }
}

/// What a host that has never seen the model can read lazily.
#[derive(Default)]
struct Lazy {
    files: usize,
    readable: usize,
    /// Chunk tables that this takes, and how many of them lie in the model; `None` where no model
    /// is known.
    tables: usize,
    tables_there: Option<usize>,
}

impl Lazy {
    fn of(location: Option<&ModelLocation>, manifest: &Manifest, sizes: &Sizes<'_>) -> Self {
        let mut found = Self {
            files: manifest.files().len(),
            tables_there: location.map(|_| 0),
            ..Self::default()
        };
        for file in manifest.files() {
            match laziness(&file.content, sizes.get(file.name.as_str()).copied()) {
                Laziness::No => continue,
                Laziness::Signed => {}
                Laziness::WithTable => {
                    found.tables += 1;
                    if let (Some(there), Some(location)) = (&mut found.tables_there, location) {
                        let is_there = shipped::is_there(location.directory(), &file.content);
                        *there += usize::from(is_there);
                    }
                }
            }
            found.readable += 1;
        }
        found
    }

    /// `yes`, `partly` or `no`.
    fn answer(&self) -> &'static str {
        match self.readable {
            0 => "no",
            readable if readable == self.files => "yes",
            _ => "partly",
        }
    }

    fn to_text(&self) -> String {
        let mut text = self.answer().to_owned();
        if self.answer() == "partly" {
            let _ = write!(text, ", {} of {} files", self.readable, self.files);
        }
        match self.tables_there {
            Some(there) if there < self.tables => {
                let _ = write!(
                    text,
                    ", but {} of {} chunk tables are not in {}",
                    self.tables - there,
                    self.tables,
                    shipped::DIRECTORY,
                );
            }
            _ => {}
        }
        text
    }
}

/// Sizes of files by name.
type Sizes<'a> = BTreeMap<&'a str, u64>;

/// Whose word the sizes are.
fn sizes_are(manifest: &Manifest) -> &'static str {
    let signed = manifest
        .files()
        .iter()
        .filter(|it| it.content.len().is_some());
    match signed.count() {
        0 => "as found",
        signed if signed == manifest.files().len() => "signed",
        _ => "partly signed, else as found",
    }
}

/// Sizes of the files, signed or as found beside the signature.
fn sizes<'a>(location: Option<&ModelLocation>, manifest: &'a Manifest) -> Sizes<'a> {
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
fn total(sizes: &Sizes<'_>) -> u64 {
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
    match manifest.serialization().shard_size {
        None => "files".to_owned(),
        Some(size) => format!("shards of {size} bytes"),
    }
}

fn to_text(
    signature: &Path,
    claims: &UnverifiedManifest,
    sizes: &Sizes<'_>,
    lazy: &Lazy,
) -> String {
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
         bytes          {} in {} files of known size\n\
         sizes          {}\n\
         lazy anywhere  {}\n",
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
        sizes_are(manifest),
        lazy.to_text(),
    );
    if let Some(ignored) = manifest.ignored_annotations() {
        let _ = writeln!(text, "annotations    {ignored}");
    }
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
        SignedContent::Whole(whole) => whole.digest().to_string(),
        SignedContent::Shards(shards) => {
            format!("{}:{} shards", shards.algorithm(), shards.count())
        }
    }
}

fn to_json(claims: &UnverifiedManifest, sizes: &Sizes<'_>, lazy: &Lazy) -> Value {
    let manifest = claims.claimed_manifest();
    let files: Vec<_> = manifest
        .files()
        .iter()
        .map(|file| {
            json!({
                "name": file.name.as_str(),
                "size": sizes.get(file.name.as_str()),
                "size_is_signed": file.content.len().is_some(),
                "signed": signed(file),
                "blake3": file.content.blake3().map(hex::encode),
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
        "lazy_on_any_host": lazy.answer(),
        "chunk_tables": {"needed": lazy.tables, "there": lazy.tables_there},
        "ignored_annotations": manifest.ignored_annotations().map_or(0, |it| it.resources),
        "files": files,
    })
}
