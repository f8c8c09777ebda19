//! Statements of what a mount served: what they say, who verifies them, and of which mounts none is
//! made.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fuser::{Config, Filesystem, INodeNo, ReplyXattr, Request, Session, SessionACL};
use model_fs::kernel::mountinfo::MountTable;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::built;
use test_support::keys;
use test_support::missing::{Need, have};
use test_support::mounted::{clear, flip, scratch};
use test_support::process::{Finished, finish};
use test_support::python_env::{Packages, PythonEnv, REFERENCE};
use test_support::unprivileged::OrdinaryUser;

use crate::operations::until;
use crate::support::{
    BLAKE3, Host, LIMIT, Model, Mount, SHA256, has_pages, only_fuse, private_key, public_key, text,
};

/// The key of a host: of another curve than the model's signer's.
fn host_key() -> PathBuf {
    keys::path("p384-pkcs8.pem")
}

fn model() -> Model {
    let model = Model::new([("weights", 600_000), ("config.json", 100)]);
    model.sign(BLAKE3);
    model
}

fn attest(host: &Host, mountpoint: &Path, key: &Path, more: &[&str]) -> Finished {
    let mut command = host.command("attest");
    command.arg(mountpoint).args(more);
    host.run(command.arg("--private-key").arg(key))
}

/// The payload of an envelope, which nobody has verified.
fn unverified(envelope: &str) -> Value {
    let envelope: Value = serde_json::from_str(envelope).expect("an envelope");
    let payload = envelope["payload"].as_str().expect("a payload");
    let mut decode = Command::new("base64");
    let payload_file = scratch();
    let path = payload_file.path().join("payload");
    fs::write(&path, payload).expect("write");
    let decoded = finish(decode.arg("-d").arg(path), LIMIT).expect("base64");
    serde_json::from_str(&decoded.stdout).expect("a statement")
}

/// The same, once libraries that aren't ours have verified and validated it.
fn verify(python: &PythonEnv, envelope: &str, public: &Path) -> Finished {
    let folder = scratch();
    let path = folder.path().join("statement.json");
    fs::write(&path, envelope).expect("write");
    let mut command = python.python();
    command.arg(built::repository("tests/mount/attest.py"));
    finish(command.arg(path).arg(public), LIMIT)
}

#[test]
fn a_statement_of_either_lane_is_verified_by_other_implementations_and_says_what_was_served() {
    let Some(host) = Host::new() else { return };
    let Some(python) = PythonEnv::get(&REFERENCE) else {
        return;
    };
    let model = model();
    let mut lanes = vec!["fuse"];
    lanes.extend(has_pages().then_some("pages"));
    for lane in lanes {
        let mount = host.mount(&model.path(), &["--lane", lane]);
        fs::read(mount.file("weights")).expect("read");
        let status = mount.status();
        let owner = status.owner.as_ref().expect("ours");
        let facts = mount.facts();
        let done = attest(&host, mount.path(), &host_key(), &[]).expect("attest");
        let public = keys::path("p384-pub.pem");
        let verified = verify(&python, &done.stdout, &public).expect("verify");
        let stated: Value = serde_json::from_str(&verified.stdout).expect("JSON");

        let sha256 = |digest: &str| json!({"sha256": digest.strip_prefix("sha256:")});
        let root = sha256(&status.root_digest);
        assert_eq!(stated["predicateType"], "https://model-fs/served/v1");
        assert_eq!(
            stated["subject"],
            json!([{"name": "model", "digest": root}])
        );
        let predicate = &stated["predicate"];
        assert_eq!(predicate["model"]["root_digest"], root);
        let payload = sha256(&status.payload_digest);
        assert_eq!(predicate["model"]["payload_digest"], payload);
        let sum = Command::new("sha256sum")
            .arg(model.file("model.sig"))
            .output();
        let sum = String::from_utf8(sum.expect("sha256sum").stdout).expect("text");
        assert_eq!(predicate["model"]["bundle_digest"]["sha256"], sum[..64]);
        assert_eq!(predicate["signer"]["name"], status.signer);
        assert_eq!(predicate["signer"]["method"], "key");
        assert_eq!(predicate["signer"]["trusted_by"], "mount-options");
        assert_eq!(predicate["mount"]["lane"], lane);
        assert_eq!(predicate["mount"]["mountpoint"], text(mount.path()));
        assert_eq!(predicate["process"]["earlier_processes"], 0);
        assert_eq!(predicate["process"]["version"], owner.version);
        let since = [&predicate["mount"]["since"], &predicate["process"]["since"]];
        let told = [facts.since, facts.process_since].map(|it| it.expect("known").to_string());
        assert_eq!(since, [&told[0], &told[1]]);
        assert!(
            predicate["stated_at"].as_str() >= Some(&told[1]),
            "{stated}"
        );
        let counts = &predicate["counts"];
        assert_eq!(counts["violations"], 0);
        assert_eq!(counts["verified_bytes"], owner.stats.verified_bytes);
        assert_eq!(counts["verified_chunks"], owner.stats.verified_chunks);
        assert!(
            counts["verified_bytes"].as_u64() >= Some(600_000),
            "{stated}"
        );
        assert!(counts["verified_chunks"].as_u64() >= Some(10), "{stated}");
        assert!(counts["source_bytes"].as_u64() >= Some(600_000), "{stated}");

        // Neither by another key, nor changed.
        let other = keys::path("p256-pub.pem");
        verify(&python, &done.stdout, &other).expect_code(3, "another key");
        let mut changed: Value = serde_json::from_str(&done.stdout).expect("JSON");
        let payload = changed["payload"]
            .as_str()
            .expect("text")
            .replacen("ey", "eyA", 1);
        changed["payload"] = payload[..payload.len() / 4 * 4].into();
        verify(&python, &changed.to_string(), &public).expect_code(3, "another payload");
        mount.unmount();
    }
}

/// What holds documents against their schemas.
const VALIDATOR: Packages = Packages {
    name: "json-schema",
    groups: &[&["jsonschema==4.26.0"]],
};

#[test]
fn a_status_and_a_statement_are_as_their_schemas_say() {
    let Some(host) = Host::new() else { return };
    let Some(python) = PythonEnv::get(&VALIDATOR) else {
        return;
    };
    let model = model();
    let folder = scratch();
    let (mut statuses, mut statements) = (Vec::new(), Vec::new());
    let mut number = 0;
    let mut keep = |kept: &mut Vec<PathBuf>, document: &str| {
        number += 1;
        let path = folder.path().join(number.to_string());
        fs::write(&path, document).expect("write");
        kept.push(path);
    };
    for how in [
        &[][..],
        &["--prefetch", "all"],
        &["--keep-alive"],
        &["--ignore-paths", "config.json"],
        &["--lane", "pages"],
        &["--on-violation", "lockdown"],
    ] {
        let mount = host.mount(&model.path(), how);
        let is_bad = how.contains(&"lockdown");
        if is_bad {
            flip(&model.file("weights"), 100_000);
        }
        assert_eq!(fs::read(mount.file("weights")).is_err(), is_bad);
        let mut status = host.command("status");
        let status = host
            .run(status.arg(mount.path()).arg("--json"))
            .expect("status");
        keep(&mut statuses, &status.stdout);
        let stated = attest(&host, mount.path(), &host_key(), &["--with-violations"]);
        let predicate = unverified(&stated.expect("attest").stdout)["predicate"].clone();
        keep(&mut statements, &predicate.to_string());
        if how.contains(&"--keep-alive") {
            crate::kept::kill(&mount);
            let stated = attest(&host, mount.path(), &host_key(), &[]).expect("attest");
            keep(
                &mut statements,
                &unverified(&stated.stdout)["predicate"].to_string(),
            );
        }
        mount.unmount();
    }
    for (schema, documents) in [("status", &statuses), ("served", &statements)] {
        let mut command = python.python();
        command.arg(built::repository("tests/mount/schema.py"));
        command.arg(built::repository(&format!("docs/{schema}.schema.json")));
        finish(command.args(documents), LIMIT).expect(schema);
    }
}

#[test]
fn what_met_a_violation_is_stated_only_where_that_is_asked_for() {
    let Some(host) = Host::new() else { return };
    let model = model();
    for how in [&[][..], &["--on-violation", "lockdown"]] {
        let mount = host.mount(&model.path(), how);
        flip(&model.file("weights"), 100_000);
        assert!(fs::read(mount.file("weights")).is_err());
        let folder = scratch();
        let file = folder.path().join("out");
        let output = ["--output", text(&file)];
        let refused = attest(&host, mount.path(), &host_key(), &output);
        let refused = refused.expect_code(4, "attest");
        assert_eq!(refused.stdout, "", "{refused}");
        assert!(refused.stderr.contains("in 1 place\n"), "{refused}");
        assert!(refused.stderr.contains("--with-violations"), "{refused}");
        assert!(!file.exists());
        let stated = attest(&host, mount.path(), &host_key(), &["--with-violations"]);
        let predicate = &unverified(&stated.expect("attest").stdout)["predicate"];
        assert_eq!(predicate["counts"]["violations"], 1);
        assert_eq!(predicate["mount"]["locked_down"], !how.is_empty());
        let places = predicate["recent_violations"].as_array().expect("places");
        let place = places[0].as_str().expect("text");
        assert!(
            place.contains("\"weights\" bytes 65536 to 131072"),
            "{place}"
        );
        flip(&model.file("weights"), 100_000);
        mount.unmount();
    }
}

#[test]
fn a_signer_of_the_trust_store_is_stated_with_the_entry() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mut add = host.command("trust");
    add.args(["add", "--name", "acme", "--public-key"]);
    host.run(add.arg(public_key())).expect("trust add");
    let mountpoint = TempDir::new().expect("mkdir");
    let mut command = host.command("mount");
    command.arg(model.path()).arg("--foreground").arg("--");
    command.arg(mountpoint.path());
    let mount = Mount::of(command, mountpoint);
    let trust = mount.owner_status().trust.expect("a decision");
    let stated = attest(&host, mount.path(), &host_key(), &[]).expect("attest");
    let signer = &unverified(&stated.stdout)["predicate"]["signer"];
    let file = host.home().join(".config/model-fs/trust.toml");
    assert_eq!(trust.trust_file.as_deref(), Some(text(&file)));
    for (key, value) in [
        ("trusted_by", "trust-store"),
        ("trust_entry", "acme"),
        ("trust_file", text(&file)),
        ("key", trust.key.as_deref().expect("a key")),
    ] {
        assert_eq!(signer[key], value, "{key}");
    }
    mount.unmount();
}

#[test]
fn what_earlier_processes_of_a_mount_did_is_said_not_to_be_known() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mount = host.mount(&model.path(), &["--keep-alive"]);
    fs::read(mount.file("weights")).expect("read");
    let before = mount.facts();
    let predicate = || {
        let stated = attest(&host, mount.path(), &host_key(), &[]).expect("attest");
        unverified(&stated.stdout)["predicate"].clone()
    };
    let first = predicate();
    assert_eq!(first["process"]["earlier_processes"], 0);
    assert_eq!(first["process"]["not_counted"], Value::Null);
    // Two moments that a second tells apart.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    crate::kept::kill(&mount);
    let then = predicate();
    assert_eq!(then["process"]["earlier_processes"], 1);
    let said = then["process"]["not_counted"].as_str().expect("a text");
    assert!(said.contains("isn't known"), "{said}");
    // What the next process verified is what it took to go on, at most.
    let again = then["counts"]["verified_bytes"].as_u64().expect("a number");
    assert!(again < 600_000, "{then}");
    assert_eq!(then["mount"]["since"], first["mount"]["since"]);
    let after = mount.facts();
    assert_eq!(after.since, before.since);
    assert!(after.process_since > before.process_since, "{after:?}");
    mount.unmount();
}

#[test]
fn a_key_is_read_and_a_file_replaced_as_sign_does_it() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mount = host.mount(&model.path(), &[]);
    let folder = scratch();
    let (file, password) = (folder.path().join("served.json"), folder.path().join("pw"));
    fs::write(&password, "wrong\n").expect("write");
    let encrypted = keys::path("p256-pkcs8-pbkdf2.pem");
    let refused = attest(&host, mount.path(), &encrypted, &[]).expect_code(1, "no password");
    assert!(refused.stderr.contains("--password-file"), "{refused}");
    let given = ["--password-file", text(&password)];
    attest(&host, mount.path(), &encrypted, &given).expect_code(1, "another password");
    let missing = folder.path().join("nothing");
    attest(&host, mount.path(), &missing, &[]).expect_code(1, "no key");
    let mut none = host.command("attest");
    host.run(none.arg(mount.path())).expect_code(2, "no key");

    let output = ["--output", text(&file)];
    let done = attest(&host, mount.path(), &host_key(), &output).expect("attest");
    assert!(done.stdout.starts_with("attested: "), "{done}");
    let first = fs::read(&file).expect("read");
    assert_eq!(fs::metadata(&file).expect("stat").mode() & 0o7777, 0o644);
    // A later one by the same key takes its place, as a whole.
    let before = fs::metadata(&file).expect("stat").ino();
    attest(&host, mount.path(), &host_key(), &output).expect("attest again");
    assert_ne!(fs::metadata(&file).expect("stat").ino(), before);
    let second = fs::read(&file).expect("read");
    let refused = attest(&host, mount.path(), &private_key(), &output).expect_code(1, "attest");
    assert!(refused.stderr.contains("--force"), "{refused}");
    fs::write(&file, "notes").expect("write");
    attest(&host, mount.path(), &host_key(), &output).expect_code(1, "attest");
    assert_eq!(fs::read(&file).expect("read"), b"notes");
    let forced = ["--output", text(&file), "--force"];
    attest(&host, mount.path(), &private_key(), &forced).expect("attest");
    let third = fs::read(&file).expect("read");
    assert!(
        first != second && second != third,
        "each has a signature of its own"
    );

    // Nothing is claimed that can't be written.
    let mut full = host.command("attest");
    full.arg(mount.path()).arg("--private-key").arg(host_key());
    let full = full.stdout(File::options().write(true).open("/dev/full").expect("open"));
    let full = full.stderr(Stdio::null()).status().expect("attest");
    assert_eq!(full.code(), Some(1));
    let full = ["--output", "/dev/full"];
    attest(&host, mount.path(), &host_key(), &full).expect_code(1, "attest");
    mount.unmount();
}

/// A file system that says whatever it was given to say, upon whose last word a mount may go.
struct Forger {
    said: String,
    goes: Option<PathBuf>,
}

impl Filesystem for Forger {
    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, size: u32, reply: ReplyXattr) {
        if size == 0 {
            reply.size(u32::try_from(self.said.len()).expect("it is short"));
            return;
        }
        if let Some(path) = &self.goes {
            rustix::mount::unmount(path, UnmountFlags::DETACH).expect("take it away");
        }
        reply.data(self.said.as_bytes());
    }
}

/// A mount of a file system that isn't ours and that calls itself so.
struct Forged(TempDir);

impl Forged {
    /// By `user`, as the kernel has it; only root can make one of another user.
    fn new(user: u32, said: String, goes: bool) -> Self {
        let mountpoint = TempDir::new().expect("mkdir");
        let path = mountpoint.path().canonicalize().expect("find it");
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = OwnedFd::from(device.expect("open"));
        let options = format!(
            "fd={},rootmode=40755,user_id={user},group_id={user},allow_other",
            device.as_raw_fd()
        );
        let options = std::ffi::CString::new(options).expect("text");
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount(
            "/srv/model",
            &path,
            "fuse.model-fs",
            flags,
            options.as_c_str(),
        )
        .expect("mount");
        let forger = Forger {
            said,
            goes: goes.then(|| path.clone()),
        };
        let config = Config::default();
        let session = Session::from_fd(forger, device, SessionACL::All, config).expect("begin");
        std::thread::spawn(move || session.run());
        Self(mountpoint)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Forged {
    fn drop(&mut self) {
        clear(self.0.path());
    }
}

#[test]
fn nothing_is_stated_of_other_mounts_or_by_the_word_of_others() {
    let Some(host) = Host::new() else { return };
    let refused = |path: &Path, why: &str| {
        let refused = attest(&host, path, &host_key(), &[]).expect_code(1, "attest");
        assert_eq!(refused.stdout, "", "{refused}");
        assert!(refused.stderr.contains(why), "{why}: {refused}");
    };
    let model = model();
    refused(&model.path(), "is not a mount of model-fs");
    refused(Path::new("/proc"), "is a proc mount");
    refused(Path::new("/nowhere"), "No such file");
    let mount = host.mount(&model.path(), &[]);
    refused(&mount.file("weights"), "is not a mountpoint");
    if !have(Need::Root) {
        return;
    }
    // What a real mount says, in the mouth of another user.
    let said = serde_json::to_string(&mount.status()).expect("JSON");
    let forged = Forged::new(65534, said.clone(), false);
    let told = host.run(host.command("status").arg(forged.path()));
    assert!(told.stderr.contains("the word of user 65534"), "{told}");
    refused(forged.path(), "user 65534 mounted this");
    drop(forged);
    // Of root's own, whoever serves it is believed; but not of what is gone by then.
    let real = Forged::new(0, said.clone(), false);
    attest(&host, real.path(), &host_key(), &[]).expect("attest");
    drop(real);
    let gone = Forged::new(0, said, true);
    let at = gone.path().canonicalize().expect("find it");
    refused(&at, "was taken away or covered meanwhile");
    let table = MountTable::read().expect("read");
    assert!(table.at(&at).is_none());
    // One that tells less than is stated.
    let less = json!({"signer": "acme", "root_digest": "", "payload_digest": "", "files": 1,
        "locked_down": false, "mount": {"mountpoint": "/", "source": "/"}});
    let less = Forged::new(0, less.to_string(), false);
    refused(less.path(), "doesn't tell all that is stated");
    mount.unmount();
}

#[test]
fn a_mount_that_died_or_does_not_answer_is_not_stated() {
    let Some(host) = Host::new() else { return };
    let model = model();
    let mut mount = host.mount(&model.path(), &[]);
    let stopped = crate::passes::Stopped::new(mount.pid());
    let refused = attest(&host, mount.path(), &host_key(), &[]);
    drop(stopped);
    let refused = refused.expect_code(1, "attest");
    assert!(refused.stderr.contains("doesn't answer"), "{refused}");
    kill_process(mount.pid(), Signal::KILL).expect("kill");
    mount.wait();
    let refused = attest(&host, mount.path(), &host_key(), &[]).expect_code(1, "attest");
    assert!(refused.stderr.contains("is dead"), "{refused}");
    assert_eq!(refused.stdout, "");
}

#[test]
fn an_ordinary_user_states_their_own_mount_and_root_does_not() {
    let Some(host) = Host::new() else { return };
    crate::users::open_fuse_to_all();
    let Some(user) = OrdinaryUser::new() else {
        return;
    };
    user.copy(&private_key(), "key.pem");
    user.copy(&public_key(), "public.pem");
    let (model, mountpoint) = (user.folder("model"), user.folder("mnt"));
    fs::write(model.join("weights"), "weights").expect("write");
    OrdinaryUser::give(&model.join("weights"));
    let run = |arguments: &[&str]| {
        let mut command = user.command_as_nobody(Path::new(built::program()));
        finish(command.args(arguments), LIMIT)
    };
    run(&["sign", "model", "--private-key", "key.pem"]).expect("sign");
    run(&["mount", "model", "mnt", "--public-key", "public.pem"]).expect("mount");
    let own = run(&["attest", "mnt", "--private-key", "key.pem"]).expect("attest");
    assert_eq!(unverified(&own.stdout)["subject"][0]["name"], "model");
    if rustix::process::geteuid().is_root() {
        let refused = attest(&host, &mountpoint, &host_key(), &[]).expect_code(1, "attest");
        assert!(
            refused.stderr.contains("mounted this, whose word"),
            "{refused}"
        );
    }
    run(&["umount", "mnt"]).expect("umount");
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Root's mount, which lets them in, doesn't tell them what is stated.
    let model = crate::support::Model::new([("weights", 10)]);
    model.sign(SHA256);
    let mountpoint = TempDir::new_in(user.home()).expect("mkdir");
    let mut command = host.on_model("mount", &model.path(), &["--allow-other", "--lane", "fuse"]);
    command.arg("--foreground").arg("--").arg(mountpoint.path());
    let mount = Mount::of(command, mountpoint);
    let refused = run(&["attest", text(mount.path()), "--private-key", "key.pem"]);
    let refused = refused.expect_code(1, "attest");
    assert!(
        refused.stderr.contains("only the mount's owner and root"),
        "{refused}"
    );
    mount.unmount();
}

/// Processes that this one has started and that ask a mount.
fn asking(parent: u32) -> usize {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.unwrap_or_default();
    let asks = |child: &&str| {
        let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("--status-child")
    };
    children.split_whitespace().filter(asks).count()
}

#[test]
fn mounts_are_asked_at_the_same_time_and_each_of_those_that_hang_once() {
    let Some(host) = Host::new() else { return };
    if !only_fuse("a mount is asked by a process") {
        return;
    }
    let model = model();
    let mounts = [(); 3].map(|()| host.mount(&model.path(), &[]));
    // One is asked for its attribute, by a process; the other one's daemon is, where it can be.
    if let Some(socket) = crate::control::socket(&mounts[0]) {
        fs::remove_file(socket).expect("remove");
    }
    let by_process = [1, usize::from(crate::control::socket(&mounts[1]).is_none())];
    let stopped = [0, 1].map(|index: usize| crate::passes::Stopped::new(mounts[index].pid()));
    let mut command = host.command("status");
    command.args(["--watch", "--json"]).stdout(Stdio::piped());
    let mut watching = command.spawn().expect("start");
    until("they are asked at the same time", || {
        // Another test may have mounts that don't answer, too.
        asking(watching.id()) >= by_process.iter().sum()
    });
    let out = watching.stdout.take().expect("its output");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(out));
    let mut look = || -> Vec<Value> {
        let line = lines.next().expect("a line").expect("read");
        serde_json::from_str(&line).expect("JSON")
    };
    let of = |documents: &[Value], mount: &Mount| {
        let is_it = |it: &&Value| it["mount"]["mountpoint"] == text(mount.path());
        documents.iter().find(is_it).expect("it is there").clone()
    };
    for _ in 0..4 {
        let documents = look();
        for (index, mount) in mounts.iter().enumerate() {
            let document = of(&documents, mount);
            let error = document["error"].as_str();
            let hangs = error.is_some_and(|error| error.contains("doesn't answer"));
            assert_eq!(hangs, index < 2, "{document}");
        }
    }
    let children = |mount: &Mount| {
        // The directory that a process of ours asks is its standard input.
        let parent = watching.id();
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = fs::read_to_string(path).expect("list");
        let at = |child: &&str| {
            let stdin = fs::read_link(format!("/proc/{child}/fd/0"));
            stdin.is_ok_and(|stdin| stdin == mount.path())
        };
        children.split_whitespace().filter(at).count()
    };
    let children = [0, 1].map(|index: usize| children(&mounts[index]));
    assert_eq!(children, by_process);
    drop(stopped);
    until("they are told again", || {
        let documents = look();
        mounts
            .iter()
            .all(|mount| of(&documents, mount)["violations"] == 0)
    });
    watching.kill().expect("end it");
    watching.wait().expect("wait");
    for mount in mounts {
        mount.unmount();
    }
}
