//! `model-fs index`.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context as _;
use model_fs::name::Escaped;
use model_fs::reading::{ReadError, Reader, ReaderOptions, Source, SourceError};

use super::progress::Bar;
use super::signed_model::{SignedModel, files, open_store};
use crate::cli::{IgnoreArgs, IndexArgs};
use crate::exit::{Exit, Failure};
use crate::terminal;

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(100);

pub(crate) fn run(args: IndexArgs) -> Result<(), Failure> {
    let ignore = IgnoreArgs {
        ignore_paths: Vec::new(),
        // Files that nobody signed need no index, and `mount` will say what it thinks of them.
        ignore_unsigned_files: true,
    };
    let model = SignedModel::open(&args.model, &ignore, args.trust)?;
    model.require_names()?;
    let Some(store) = open_store(args.index_dir.as_deref(), &model.location)? else {
        return Err(
            Failure::from(anyhow::anyhow!("there is no index store to write to"))
                .with_hint("choose a directory with --index-dir".to_owned()),
        );
    };
    let directory = store.directory().to_owned();
    if args.clean {
        let cleaned = store
            .clean()
            .with_context(|| format!("index store {}", Escaped::path(&directory)))?;
        terminal::note(if cleaned {
            "removed the tables of an earlier release"
        } else {
            "there are no tables of earlier releases"
        });
    }
    let files = model.manifest.files().len();
    let unsigned = model.unsigned_files();
    let reader = Reader::new(
        Arc::clone(&model.manifest),
        Arc::clone(&model.directory) as Arc<dyn Source>,
        Some(store),
        ReaderOptions {
            cache_bytes: 0,
            ..ReaderOptions::default()
        },
    );
    let bar = Bar::new(model.claimed_bytes(), "indexing");
    let (sender, receiver) = channel();
    for index in 0..files {
        let sender = sender.clone();
        reader.open_then(index, move |opened| {
            // The receiver waits until every sender is gone.
            let _ = sender.send(opened.map(|_| ()));
        });
    }
    drop(sender);
    let mut failures = Vec::new();
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(Err(error)) => failures.push(error),
            Ok(Ok(())) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        bar.set(reader.stats().full_pass_bytes);
    }
    bar.finish();
    if let Some(first) = failures.first() {
        let message = format!(
            "{} of {} failed, the first: {first}",
            failures.len(),
            self::files(files),
        );
        // Something in the way of reading says nothing about the content.
        let unreadable = |error: &ReadError| {
            let io = |error: &SourceError| matches!(error, SourceError::Io(_));
            matches!(error, ReadError::Source { error, .. } if io(error))
        };
        let exit = if failures.iter().all(unreadable) {
            Exit::Failed
        } else {
            Exit::Content
        };
        return Err(Failure::new(exit, anyhow::Error::msg(message)));
    }
    let stats = reader.stats();
    if stats.unkept_tables > 0 {
        // Each with its reason in the log.
        let message = format!(
            "{} of {} proved, but not kept in the index store {}",
            stats.unkept_tables,
            self::files(files),
            Escaped::path(&directory),
        );
        return Err(Failure::from(anyhow::Error::msg(message)).with_hint(
            "make room there, or choose another directory with --index-dir".to_owned(),
        ));
    }
    if unsigned > 0 {
        terminal::note(&format!("left out: {}, not signed", self::files(unsigned)));
    }
    terminal::print(&format!(
        "indexed: {}, {} hashed, index store {}\n",
        self::files(files),
        indicatif::HumanBytes(stats.full_pass_bytes),
        Escaped::path(&directory),
    ))
}
