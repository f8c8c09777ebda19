//! `model-fs attest`.
//!
//! Guarantees: only a mount is stated whose word counts for this user, their own or root's, as the
//! kernel says, and which tells them all; it is asked once, by descriptor, and is still mounted
//! where it was after that. Where violations were met, nothing is stated unless that was asked for.
//! Doesn't: know whether the process behind the mount is this program; whoever mounted it does.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use model_fs::files::Output;
use model_fs::fs::Status;
use model_fs::name::Escaped;
use model_fs::oms::key::SigningKey;
use model_fs::oms::sign::claimed_key;
use serde_json::Value;

use crate::args::AttestArgs;
use crate::asked::Mount;
use crate::attestation::{PREDICATE_TYPE, Served};
use crate::exit::{Exit, Failure};
use crate::findings::places;
use crate::signing::bare_key;
use crate::terminal;

/// Most bytes of a file that is replaced. A statement holds no more than a status does.
const MAX_REPLACED: usize = 1 << 20;

pub(crate) fn run(args: &AttestArgs) -> Result<(), Failure> {
    // Before anything is asked: whatever can be known to be in the way.
    let key = bare_key(&args.key)?;
    let place = args.output.as_deref();
    let place = place.map(|path| Place::find(path, &*key, args.force));
    let place = place.transpose()?;

    let mount = Mount::find(&args.mountpoint)?;
    let path = Escaped::path(mount.mountpoint());
    require_word(&mount)?;
    let status: Status = serde_json::from_value(Value::Object(mount.facts()?))
        .context("a status that can't be read")?;
    let Some(owner) = &status.owner else {
        let error = anyhow!("{path}: only the mount's owner and root are told what is stated");
        return Err(error.into());
    };
    if (owner.stats.violations > 0 || owner.locked_down) && !args.with_violations {
        let places = places(owner.stats.violations);
        let error = anyhow!("{path}: nothing stated; content wasn't what was signed, in {places}");
        let hint = "model-fs status shows them; --with-violations states them too";
        return Err(Failure::new(Exit::Content, error).with_hint(hint.to_owned()));
    }
    let now = Timestamp::from_second(Timestamp::now().as_second()).map_err(anyhow::Error::new)?;
    let served = Served::new(&status, owner, now).map_err(|error| {
        let hint = "a mount that an earlier version made has to be made anew";
        Failure::from(error.context(path.to_string())).with_hint(hint.to_owned())
    })?;
    let envelope = served.sign(&*key).context("cannot sign the statement")?;
    // What was mounted there since is another mount, of which nothing was asked.
    mount.require_there()?;
    match place {
        None => terminal::print_bytes(&envelope),
        Some(place) => place.write(&envelope, &path),
    }
}

/// That what the mount says is as good as this user's own word, as `status --check` has it.
fn require_word(mount: &Mount) -> Result<(), Failure> {
    if mount.is_believed() {
        return Ok(());
    }
    let path = Escaped::path(mount.mountpoint());
    let who = match mount.user() {
        Some(user) => format!("user {user}"),
        None => "another user".to_owned(),
    };
    let error = anyhow!("{path}: {who} mounted this, whose word is theirs to state");
    let hint = "have the user who mounted it attest it, with a key of their own";
    Err(Failure::from(error).with_hint(hint.to_owned()))
}

/// The file that the statement is written to.
struct Place {
    output: Output,
    shown: Escaped,
}

impl Place {
    /// Finds out what would be replaced: nothing, or a statement by the same key, as it says
    /// itself.
    fn find(path: &Path, key: &dyn SigningKey, force: bool) -> Result<Self, Failure> {
        let shown = Escaped::path(path);
        let output = Output::given(path).with_context(|| format!("output {shown}"))?;
        let is_ours = match output.read_existing(MAX_REPLACED) {
            Ok(None) => true,
            Ok(Some(bytes)) => {
                claimed_key(&bytes, PREDICATE_TYPE).as_deref() == Some(key.public_key().hint())
            }
            Err(_) => false,
        };
        if !is_ours && !force {
            let error = anyhow!(
                "output {shown}: there is a file already, which is no statement by this key"
            );
            let hint = "replace it with --force, or write another file";
            return Err(Failure::from(error).with_hint(hint.to_owned()));
        }
        Ok(Self { output, shown })
    }

    /// Writes it as a whole. Then tells of it: on stdout, unless that is where it went.
    fn write(self, envelope: &[u8], mountpoint: &Escaped) -> Result<(), Failure> {
        let is_stdout = self.output.is_stdout();
        let shown = self.shown;
        let told = format!("attested: {mountpoint}, statement {shown}\n");
        self.output
            .write(0o644, envelope)
            .with_context(|| format!("output {shown}"))?;
        if is_stdout {
            terminal::note(told.trim_end());
            return Ok(());
        }
        terminal::print(&told)
    }
}
