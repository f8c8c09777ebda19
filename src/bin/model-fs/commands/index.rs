//! `model-fs index`.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context as _;
use model_fs::Model;
use model_fs::name::Escaped;

use crate::args::{IgnoreArgs, IndexArgs};
use crate::exit::{Exit, Failure};
use crate::index_store::warn_of_old_tables;
use crate::progress::Bar;
use crate::signals;
use crate::signed_model;
use crate::terminal::{self, files};

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(100);

pub(crate) fn run(args: IndexArgs) -> Result<(), Failure> {
    let ignore = IgnoreArgs {
        ignore_paths: Vec::new(),
        // Files that aren't signed need no index, and `mount` will say whether it accepts them.
        ignore_unsigned_files: true,
    };
    let mut options = signed_model::options(&args.model, &ignore, args.index_dir.as_deref());
    // Nothing is read again.
    options.cache_bytes = 0;
    let signed = signed_model::open(&args.model, args.trust, options)?;
    signals::leave_nothing();
    let model = Model::new(signed)?;
    let Some(store) = model.table_store() else {
        return Err(
            Failure::from(anyhow::anyhow!("there is no index store to write to"))
                .with_hint("choose a directory with --index-dir".to_owned()),
        );
    };
    warn_of_old_tables(store);
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
    let files = model.files().len();
    let unsigned = model.signed().unsigned_files();
    let reader = model.reader();
    let bar = Bar::new(model.signed().claimed_bytes(), "indexing");
    let (sender, receiver) = channel();
    for (index, _) in model.manifest().indexed() {
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
        let exit = Exit::of_reads(&failures);
        let hint = "model-fs verify shows all that is wrong, and what helps".to_owned();
        return Err(Failure::new(exit, anyhow::Error::msg(message)).with_hint(hint));
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
