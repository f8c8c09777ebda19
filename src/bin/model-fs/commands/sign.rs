//! `model-fs sign`.

use std::fmt::Write as _;
use std::num::NonZeroU64;
use std::path::Path;

use model_fs::manifest::{Description, Manifest, ManifestFile, Serialization};
use model_fs::model::warn_of_absent;
use model_fs::name::{Escaped, FileName};
use model_fs::oms::bundle::Bundle;
use model_fs::oms::claim::Claim;
use model_fs::oms::sign::Compat;
use model_fs::reading::location::ModelLocation;
use model_fs::reading::table::shipped;
use model_fs::reading::whole::hash::{HashPlan, hash_model};
use model_fs::reading::whole::verify;
use model_fs::reading::{Found, Links, Scan};

use crate::args::{self, SignArgs};
use crate::exit::{Exit, Failure};
use crate::hints;
use crate::index_store::open_store;
use crate::progress::Bar;
use crate::signals;
use crate::signing::{Author, Replaced, Signer, Tables};
use crate::terminal::files;

pub(crate) fn run(args: &SignArgs) -> Result<(), Failure> {
    // Before anything is hashed: whatever can be known to be in the way.
    let Some(hash) = args.hash() else {
        return Err(unreadable_by_the_reference());
    };
    signals::leave_nothing();
    let signer = Signer::load(args)?;
    let location = ModelLocation::find_to_sign(&args.model.model, args.model.signature.as_deref())?;
    let links = if args.allow_symlinks {
        Links::Follow
    } else {
        Links::Refuse
    };
    let directory = location.open(links)?;
    let mut ignored = location.ignored(&args.ignore_paths)?;
    check_ignored(&location, &ignored)?;
    leave_out_downloads(&location, &mut ignored)?;
    let scan = location.scan_to_sign(&directory, &ignored)?;
    let names = names_to_sign(&scan, args.allow_symlinks)?;
    if names.is_empty() {
        return Err(no_files(location.root()));
    }
    if args.allow_symlinks {
        warn_of_outside_links(location.root(), &names);
    }
    let output = Replaced::find(&location, &names, &ignored)?;
    if !args.force {
        output.require_author(signer.author().as_ref())?;
    }

    let serialization = Serialization {
        hash: hash.into(),
        shard_size: args
            .shard_size
            .and_then(|size| NonZeroU64::new(size.bytes())),
    };
    let tables = Tables::new(
        open_store(args.index_dir.as_deref(), &location)?,
        &location,
        args.ships_tables(),
    )?;
    let bar = Bar::new(total_bytes(&scan, &names), "hashing");
    let hashed = hash_model(
        &directory,
        &names,
        HashPlan {
            serialization,
            annotate: args.annotate(),
        },
        &|table| tables.keep(table),
        &bar,
    )
    .map_err(anyhow::Error::new)?;
    bar.finish();
    for name in &hashed.unsignable {
        tracing::warn!(file = %name, "empty file not signed: shards can't express one");
    }

    let manifest = manifest(
        &location,
        serialization,
        args.allow_symlinks,
        ignored,
        hashed.files,
    )?;
    let compat = args.compat.map_or(Compat::Specification, Compat::from);
    let bundle = manifest.sign(signer.signing(), compat).map_err(|error| {
        let hint = hints::signing(&error);
        Failure::from(hints::not_signed(error)).with_hint(hint)
    })?;
    let mut told = format!(
        "signed: {}, root digest {}, signature {}\n",
        files(manifest.files().len()),
        manifest.root_digest(),
        output.path,
    );
    // An identity token doesn't show whom it names. Now it is known, and verifiers must be told.
    if !matches!(args.signer(), args::Signer::Key(_)) {
        let written = Bundle::parse(&bundle).map_err(anyhow::Error::new)?;
        if !args.force {
            output.require_author(Some(&Author::of(written.material())))?;
        }
        let _ = writeln!(told, "signed by: {}", Claim::of(written.material()));
    }
    output.write(&bundle, &told)?;
    tables.remove_others(&location, &manifest);
    Ok(())
}

fn unreadable_by_the_reference() -> Failure {
    let error = anyhow::anyhow!(
        "--hash blake3 and --compat reference exclude each other: the command line of the \
         reference can't verify BLAKE3"
    );
    Failure::new(Exit::Usage, error)
        .with_hint("sign with --hash sha256, or leave --hash out".to_owned())
}

/// Refuses what looks like a pattern and names nothing: it would be recorded, and have no effect.
fn check_ignored(location: &ModelLocation, ignored: &[FileName]) -> Result<(), Failure> {
    for name in ignored.iter().filter(|name| location.lacks(name)) {
        if name.as_str().contains(['*', '?', '[']) {
            let error = anyhow::anyhow!(
                "nothing in the model is called \"{name}\": ignored paths are exact, they have no \
                 patterns (OMS v1.0, 6.2.1)"
            );
            return Err(Failure::new(Exit::Usage, error).with_hint(
                "give --ignore-paths once for each file, as \
                 `$(printf -- '--ignore-paths=%s ' *.log)` does in the model's directory, or name \
                 a directory with all that lies beneath it"
                    .to_owned(),
            ));
        }
        warn_of_absent(name);
    }
    Ok(())
}

/// What a hub's client notes about a download in the directory that it downloads to. It is no part
/// of the model, and the next download changes it.
const DOWNLOADS: &str = ".cache/huggingface";

/// Leaves that out, and says so.
fn leave_out_downloads(
    location: &ModelLocation,
    ignored: &mut Vec<FileName>,
) -> Result<(), Failure> {
    let name = FileName::new(DOWNLOADS).map_err(anyhow::Error::new)?;
    let is_left_out = ignored.iter().any(|ignored| name.is_within(ignored));
    if !location.shape().is_single_file() && !is_left_out && !location.lacks(&name) {
        tracing::warn!(
            path = %name,
            "left out of the signature, and never checked: what a download has noted"
        );
        ignored.push(name);
    }
    Ok(())
}

/// What is to be signed.
fn manifest(
    location: &ModelLocation,
    serialization: Serialization,
    allow_symlinks: bool,
    mut ignore_paths: Vec<FileName>,
    files: Vec<ManifestFile>,
) -> Result<Manifest, Failure> {
    ignore_paths.extend(location.signature_to_ignore().cloned());
    if !location.shape().is_single_file() {
        // Recorded whether or not there are tables now: `index` or another signer may add them.
        ignore_paths.push(FileName::new(shipped::DIRECTORY).map_err(anyhow::Error::new)?);
    }
    let description = Description {
        subject_name: location.model_name(),
        shape: location.shape(),
        serialization,
        allow_symlinks,
        ignore_paths,
    };
    Ok(Manifest::new(description, files).map_err(anyhow::Error::new)?)
}

/// There is nothing to sign. Told before anything is made.
fn no_files(root: &Path) -> Failure {
    let error = anyhow::anyhow!("model {} has no files to sign", Escaped::path(root));
    Failure::from(error).with_hint("name the directory that has the model's files".to_owned())
}

/// Every regular file; anything else is an error (OMS v1.0, 6.1 and 6.1.1).
fn names_to_sign(scan: &Scan, allow_symlinks: bool) -> Result<Vec<FileName>, Failure> {
    if let Some(name) = scan.unnameable.first() {
        return Err(anyhow::anyhow!("\"{name}\": the name is not valid UTF-8").into());
    }
    let mut names = Vec::with_capacity(scan.entries.len());
    for (name, found) in &scan.entries {
        match found {
            Found::File { .. } => names.push(name.clone()),
            Found::Other(what) => {
                let failure = verify::Difference::WrongType {
                    file: name.clone(),
                    found: what,
                };
                let hint = (!allow_symlinks && what.contains("symbolic link"))
                    .then(|| "sign what links lead to with --allow-symlinks".to_owned());
                return Err(Failure::from(anyhow::Error::new(failure)).with_hint(hint));
            }
        }
    }
    Ok(names)
}

/// What lies outside of the model is signed as it is now, and doesn't travel with the model.
fn warn_of_outside_links(root: &Path, names: &[FileName]) {
    for name in names {
        let target = root.join(name).canonicalize();
        if target.is_ok_and(|target| !target.starts_with(root)) {
            tracing::warn!(file = %name, "a symbolic link leads out of the model");
        }
    }
}

/// Bytes of some files of a scan.
fn total_bytes(scan: &Scan, names: &[FileName]) -> u64 {
    names
        .iter()
        .filter_map(|name| scan.len_of(name))
        .fold(0, u64::saturating_add)
}
