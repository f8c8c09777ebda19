//! `model-fs demo`: the whole story on a throw-away model.
//!
//! Guarantees: every step runs the program as a user would, checks what it says it shows, and the
//! first that doesn't hold ends the demo with an error; nothing is left mounted or on disk either
//! way, nor where a signal ends it. Doesn't: measure anything.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::encoding::{AsDer as _, EcPrivateKeyRfc5915Der, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustix::io::Errno;
use serde_json::{Value, json};
use tempfile::TempDir;

use model_fs::fs::{OwnerStatus, Status};
use model_fs::name::Escaped;

use crate::args::DemoArgs;
use crate::exit::Failure;
use crate::{signals, terminal};

const MIB: u64 = 1 << 20;

/// Bytes of weights in each of the two safetensors files, and in the GGUF file.
const SHARD: u64 = 40 * MIB;
const GGUF: u64 = 24 * MIB;

/// The file that is tampered with, and where: in the middle of its tensors.
const VICTIM: &str = "model-00002-of-00002.safetensors";
const TAMPERED: u64 = SHARD / 2 + 12_345;

/// What is read to show that reading is lazy.
const PEEK: u64 = MIB;

pub(crate) fn run(_args: &DemoArgs) -> Result<(), Failure> {
    let mut demo = Demo::new()?;
    let result = demo.tell();
    // Also after a failure: nothing stays mounted.
    let cleaned = demo.clean_up();
    let signal = demo.signal();
    if signal != 0 {
        drop(demo);
        signals::end_by(signal);
    }
    result?;
    cleaned?;
    terminal::print("\nall of it held\n")
}

struct Demo {
    folder: TempDir,
    mounted: bool,
    step: u32,
    /// The signal that is to end it, if not zero.
    signal: Arc<AtomicUsize>,
}

impl Demo {
    fn new() -> anyhow::Result<Self> {
        let signal = signals::noted().context("cannot listen for signals")?;
        let folder = tempfile::Builder::new()
            .prefix("model-fs-demo-")
            .tempdir()
            .context("cannot make a folder for the demo")?;
        for name in ["model", "mnt"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self {
            folder,
            mounted: false,
            step: 0,
            signal,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mounted_path(&self, name: &str) -> PathBuf {
        self.path("mnt").join(name)
    }

    fn signal(&self) -> usize {
        self.signal.load(Ordering::Relaxed)
    }

    /// An error where a signal has asked for the end.
    fn go_on(&self) -> anyhow::Result<()> {
        ensure!(self.signal() == 0, "interrupted");
        Ok(())
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.go_on()?;
        self.step += 1;
        tell(&format!("\n{}. {text}", self.step))
    }

    fn tell(&mut self) -> anyhow::Result<()> {
        tell(&format!(
            "everything happens in {}",
            Escaped::path(self.folder.path())
        ))?;

        self.say("a model, as hubs ship them: safetensors, GGUF, ONNX, configuration, tokenizer")?;
        let total = write_model(&self.path("model"))?;
        make_key(&self.path("key.pem"), &self.path("key.pub"))?;
        tell(&format!(
            "   {} in {}",
            size(total),
            Escaped::path(self.path("model"))
        ))?;

        self.say(
            "its publisher signs it: SHA-256 for every verifier, and BLAKE3 and sizes beside it",
        )?;
        self.command(&["sign", "model", "--private-key", "key.pem"])?;

        self.say(
            "a host that has never seen it mounts it: the signature is checked, no content is read",
        )?;
        self.mount()?;
        let before = self.status()?.stats;
        ensure!(before.source_bytes == 0, "mounting read content");
        tell("   content read so far: 0 bytes")?;

        self.say("a program reads a little: only that is read and verified")?;
        self.compare(VICTIM, SHARD / 4, PEEK)?;
        let after = self.status()?.stats;
        let (read, verified) = (after.source_bytes, after.verified_bytes);
        ensure!(verified >= PEEK, "what was read wasn't verified");
        ensure!(
            read < 8 * PEEK,
            "reading {PEEK} bytes took {read} from the source"
        );
        tell(&format!(
            "   {} wanted, {} read from the model and {} verified, of {} ({:.1} %)",
            size(PEEK),
            size(read),
            size(verified),
            size(total),
            100.0 * as_float(read) / as_float(total)
        ))?;

        self.say("then all of it, and it is the model byte for byte")?;
        let mut compared = 0;
        for name in files(&self.path("model"))? {
            self.go_on()?;
            let len = self.path("model").join(&name).metadata()?.len();
            self.compare(&name, 0, len)?;
            compared += len;
        }
        ensure!(compared == total, "the mount doesn't show all of the model");
        tell(&format!("   {} compared", size(compared)))?;

        self.say("an attacker who owns the disk changes one byte, behind the mount's back")?;
        self.command(&["umount", "mnt"])?;
        self.mounted = false;
        self.mount()?;
        self.flip()?;
        tell(&format!("   byte {TAMPERED} of {VICTIM}"))?;
        let mut byte = [0];
        let opened = File::open(self.mounted_path(VICTIM))?;
        match opened.read_exact_at(&mut byte, TAMPERED) {
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                tell(&format!("   reading it through the mount: {error}"))?;
            }
            Err(error) => bail!("reading the tampered byte failed with {error}, not EIO"),
            Ok(()) => bail!("the mount delivered a tampered byte"),
        }
        // An open file would keep the mount busy.
        drop(opened);
        let status = self.status()?;
        let recent = status.recent_violations.first();
        let recent = recent.map(String::as_str).unwrap_or_default();
        ensure!(recent.contains(VICTIM), "the violation wasn't reported");
        tell(&format!("   reported: {recent}"))?;

        self.say("everything else is still served, and so is that byte once it is right again")?;
        self.compare(VICTIM, 0, SHARD / 4)?;
        self.compare("model-00001-of-00002.safetensors", 0, SHARD)?;
        self.flip()?;
        self.compare(VICTIM, 0, SHARD)?;
        tell("   compared again, all right")?;

        self.say("the mount goes away")?;
        self.command(&["umount", "mnt"])?;
        self.mounted = false;
        ensure!(
            std::fs::read_dir(self.path("mnt"))?.next().is_none(),
            "something is still mounted"
        );
        Ok(())
    }

    fn mount(&mut self) -> anyhow::Result<()> {
        // Set first: a mount that fails halfway has to be taken away, too.
        self.mounted = true;
        self.command(&["mount", "model", "mnt", "--public-key", "key.pub"])
    }

    /// Runs a verb of this very program in the demo's folder, and shows it. It has an index store
    /// of its own: the user's stays as it is.
    fn command(&self, args: &[&str]) -> anyhow::Result<()> {
        self.go_on()?;
        tell(&format!("   $ model-fs {}", args.join(" ")))?;
        let output = self
            .program(args)
            .output()
            .context("cannot run this program again")?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            tell(&format!("   {line}"))?;
        }
        ensure!(
            output.status.success(),
            "model-fs {} failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            // Not reached by Ctrl-C: what has begun is done before the demo takes it back.
            .process_group(0)
            .stdin(Stdio::null());
        // `mount` stays behind in the background and keeps these open: a pipe would never end.
        if args.first() == Some(&"mount") {
            command.stdout(Stdio::null()).stderr(Stdio::inherit());
        }
        command
    }

    /// What the mount tells its owner.
    fn status(&self) -> anyhow::Result<OwnerStatus> {
        let output = self.program(&["status", "mnt", "--json"]).output()?;
        let status: Status =
            serde_json::from_slice(&output.stdout).context("the mount has no status")?;
        status.owner.context("the status isn't that for an owner")
    }

    /// That the mount shows the same bytes as the model.
    fn compare(&self, name: &str, offset: u64, len: u64) -> anyhow::Result<()> {
        let read = |path: &Path| -> io::Result<blake3::Hash> {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut hasher = blake3::Hasher::new();
            io::copy(&mut file.take(len), &mut hasher)?;
            Ok(hasher.finalize())
        };
        let context = || format!("reading {name}");
        let mounted = read(&self.mounted_path(name)).with_context(context)?;
        let model = read(&self.path("model").join(name)).with_context(context)?;
        ensure!(
            mounted == model,
            "the mount shows other bytes of {name} than the model has"
        );
        Ok(())
    }

    fn flip(&self) -> io::Result<()> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(self.path("model").join(VICTIM))?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, TAMPERED)?;
        file.write_all_at(&[byte[0] ^ 1], TAMPERED)
    }

    fn clean_up(&mut self) -> anyhow::Result<()> {
        if self.mounted {
            model_fs::kernel::unmount(&self.path("mnt"))?;
            self.mounted = false;
        }
        Ok(())
    }
}

/// Shows a line.
fn tell(line: &str) -> anyhow::Result<()> {
    let shown = terminal::print(&format!("{line}\n"));
    shown.map_err(|failure| failure.error)
}

/// A small model with the files that hubs ship. The weights are random, which load and hash like
/// any others. Returns its size in bytes.
fn write_model(model: &Path) -> anyhow::Result<u64> {
    let mut index = serde_json::Map::new();
    for part in 1..=2 {
        let name = format!("model-0000{part}-of-00002.safetensors");
        let tensor = format!("model.layers.{part}.mlp.up_proj.weight");
        let end = SHARD - 4096;
        let header = json!({
            tensor.as_str(): {"dtype": "BF16", "shape": [end / 2], "data_offsets": [0, end]}
        });
        // Padded with spaces, as the format allows, so that the tensors begin on a page.
        let mut start = header.to_string().into_bytes();
        start.resize(4096 - 8, b' ');
        let mut bytes = (start.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut start);
        write_weights(&model.join(&name), &bytes, SHARD)?;
        index.insert(tensor, name.into());
    }
    let index = json!({"metadata": {"total_size": 2 * SHARD}, "weight_map": index});
    write_weights(&model.join("model-q8_0.gguf"), b"GGUF\x03\0\0\0", GGUF)?;
    std::fs::create_dir_all(model.join("onnx"))?;
    write_weights(
        &model.join("onnx/model.onnx"),
        b"\x08\x08\x12\x04demo",
        2 * MIB,
    )?;
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 2048,
        "torch_dtype": "bfloat16"
    });
    let vocabulary: serde_json::Map<String, Value> = (0..20_000)
        .map(|id| (format!("token{id}"), id.into()))
        .collect();
    let tokenizer = json!({"version": "1.0", "model": {"type": "BPE", "vocab": vocabulary}});
    for (name, text) in [
        ("model.safetensors.index.json", index.to_string()),
        ("config.json", config.to_string()),
        ("tokenizer.json", tokenizer.to_string()),
        (
            "README.md",
            "# A model that is random through and through\n".to_owned(),
        ),
    ] {
        std::fs::write(model.join(name), text).context("cannot write the model")?;
    }
    let mut total = 0;
    for name in files(model)? {
        total += model.join(name).metadata()?.len();
    }
    ensure!(total >= 64 * MIB, "the model came out too small");
    Ok(total)
}

/// Writes `start`, then pseudo-random bytes up to `len`.
fn write_weights(path: &Path, start: &[u8], len: u64) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let mut file = io::BufWriter::new(File::create(path)?);
        file.write_all(start)?;
        let seed = blake3::hash(path.as_os_str().as_encoded_bytes());
        let random = blake3::Hasher::new_keyed(seed.as_bytes()).finalize_xof();
        io::copy(&mut random.take(len - start.len() as u64), &mut file)?;
        file.flush()
    };
    write().context("cannot write the model")
}

/// The signed files of the demo's model, by name.
fn files(model: &Path) -> anyhow::Result<Vec<String>> {
    let directory =
        model_fs::reading::LocalDirectory::open(model, model_fs::reading::Links::Refuse)?;
    let scan =
        directory.scan(|name| name.as_str() == ".model-fs" || name.as_str() == "model.sig")?;
    Ok(scan
        .entries
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect())
}

/// Makes a key pair, as `openssl ecparam -genkey` does.
fn make_key(private: &Path, public: &Path) -> anyhow::Result<()> {
    let pair =
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).context("cannot make a key")?;
    let secret = pair.private_key();
    let secret: EcPrivateKeyRfc5915Der<'_> = secret.as_der().context("cannot write the key")?;
    let open: PublicKeyX509Der<'_> = pair.public_key().as_der().context("cannot write the key")?;
    write_pem(private, "EC PRIVATE KEY", secret.as_ref())?;
    write_pem(public, "PUBLIC KEY", open.as_ref())
}

fn write_pem(path: &Path, label: &str, der: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(pem::encode(&pem::Pem::new(label, der)).as_bytes())?;
    Ok(())
}

fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "shown with one digit after the point"
)]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}
