//! What a model's owner ships never becomes what is trusted about another model.
//!
//! The adversary owns a toy: a model signed with BLAKE3 under a key that is trusted for toys. A
//! host reads it once. In the tables that are shipped with it they have written the identity of a
//! production model's file, which another signer signed, and they replace that model's files by the
//! toy's.

use std::fs;
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use model_fs::digest::Algorithm;
use model_fs::manifest::{ShardDigests, SignedContent};
use test_support::keys;
use test_support::process::Finished;

use crate::support::{
    ANNOTATED, BLAKE2B, BLAKE3, Host, Mode, Model, SHA256, WHOLE, assert_eio, read_range, tool,
};

/// A file of a production model, and how it is signed.
struct Production {
    name: &'static str,
    len: u64,
    options: &'static [&'static str],
    shard_size: Option<u64>,
}

const SHARD: u64 = 5 << 20;

const PRODUCTION: [Production; 6] = [
    Production {
        name: "weights.bin",
        len: 2 * WHOLE,
        options: SHA256,
        shard_size: None,
    },
    // Small enough to be checked directly.
    Production {
        name: "config.json",
        len: 16,
        options: SHA256,
        shard_size: None,
    },
    Production {
        name: "weights.bin",
        len: 2 * WHOLE,
        options: BLAKE2B,
        shard_size: None,
    },
    Production {
        name: "weights.bin",
        len: 2 * WHOLE,
        options: BLAKE3,
        shard_size: None,
    },
    // Found by its annotated digest.
    Production {
        name: "weights.bin",
        len: 2 * WHOLE,
        options: ANNOTATED,
        shard_size: None,
    },
    // Too large to be chunks.
    Production {
        name: "weights.bin",
        len: SHARD + 1000,
        options: &["--hash", "sha256", "--shard-size", "5242880"],
        shard_size: Some(SHARD),
    },
];

impl Production {
    /// Signed under the production key, and not yet tampered with.
    fn model(&self) -> Model {
        let model = Model::new([(self.name, self.len)]);
        model.sign(self.options);
        model
    }

    /// What tables of its file are found by.
    fn identity(&self, model: &Model) -> [u8; 32] {
        let bytes = model.bytes(self.name);
        let algorithm = Algorithm::from_name(match self.options {
            BLAKE3 | ANNOTATED => "blake3",
            BLAKE2B => "blake2b",
            _ => "sha256",
        })
        .expect("an algorithm");
        let content = match self.shard_size {
            None => SignedContent::Whole(algorithm.hash(bytes).into()),
            Some(size) => {
                let shards = bytes.chunks(usize::try_from(size).expect("fits in memory"));
                let digests: Vec<u8> = shards
                    .flat_map(|shard| algorithm.hash(shard).as_bytes().to_vec())
                    .collect();
                let size = NonZeroU64::new(size).expect("not zero");
                let shards = ShardDigests::new(algorithm, size, bytes.len() as u64, digests);
                SignedContent::Shards(shards.expect("shards"))
            }
        };
        content.identity()
    }
}

/// The adversary's model: as long as the production file, so that lengths don't give it away, and
/// with more than one chunk, so that there is a table.
fn toy(production: &Production) -> Model {
    let toy = Model::new([("toy.bin", production.len.max(200_000))]);
    let publisher = Host::anywhere();
    let mut sign = publisher.command("sign");
    sign.arg(toy.path()).args(BLAKE3).arg("--private-key");
    sign.arg(keys::path("p384-pkcs8.pem"));
    publisher.run(&mut sign).expect("sign");
    toy
}

fn the_table(model: &Model) -> PathBuf {
    let mut tables = fs::read_dir(model.file(".model-fs")).expect("list tables");
    let table = tables.next().expect("a table").expect("list").path();
    assert!(tables.next().is_none());
    table
}

/// The toy is read in full, under its own key.
#[track_caller]
fn read_toy(host: &Host, toy: &Model) {
    let mountpoint = host.home().join("toys");
    fs::create_dir_all(&mountpoint).expect("mkdir");
    let mut mount = host.command("mount");
    mount
        .args([toy.path(), mountpoint.clone()])
        .arg("--public-key");
    mount.arg(keys::path("p384-pub.pem"));
    host.run(&mut mount).expect("mount the toy");
    let found = tool("cmp", [toy.golden("toy.bin"), mountpoint.join("toy.bin")]);
    let mut umount = host.command("umount");
    host.run(umount.arg(&mountpoint)).expect("umount");
    found.expect("cmp");
}

#[track_caller]
fn production_fails(host: &Host, production: &Production, model: &Model, what: &str) {
    let mount = host.mount(&model.path(), &[]);
    let read = read_range(&mount.file(production.name), Mode::Cached, 0, 4096);
    assert_eio(
        read,
        &format!("{} {:?}, {what}", production.name, production.options),
    );
    assert!(mount.stats().violations > 0, "{what}");
    mount.unmount();
    let mut verify = host.on_model("verify", &model.path(), &[]);
    host.run(&mut verify).expect_code(4, "verify");
}

/// An adversary writes another identity into a shipped table, and ships it under any name.
#[test]
fn a_table_that_is_shipped_with_a_toy_says_nothing_about_another_model() {
    let Some(_) = Host::new() else { return };
    for production in &PRODUCTION {
        let (model, toy) = (production.model(), toy(production));
        let table = the_table(&toy);
        let mut edited = fs::read(&table).expect("read");
        edited[24..56].copy_from_slice(&production.identity(&model));
        fs::write(&table, &edited).expect("write");
        let beside = format!("{}.table", hex::encode(production.identity(&model)));
        for folder in [toy.file(".model-fs"), model.file(".model-fs")] {
            fs::create_dir_all(&folder).expect("mkdir");
            fs::write(folder.join(&beside), &edited).expect("write");
        }
        fs::write(model.file(production.name), toy.bytes("toy.bin")).expect("write");
        let host = Host::anywhere();
        for _ in 0..2 {
            read_toy(&host, &toy);
            production_fails(&host, production, &model, "a table of a toy");
        }
    }
}

/// The machine's identity, as the MAC key of stores is derived from it.
fn machine_identity() -> Vec<u8> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|path| fs::read(path).ok().filter(|id| !id.is_empty()))
        .unwrap_or_default()
}

/// What the released code kept when it had read such a toy: its table, under the identity that it
/// named, with a valid MAC.
fn poison(host: &Host, toy: &Model, identity: &[u8; 32], version: &str) {
    let secret = fs::read(host.store().join("host.key")).expect("read the host key");
    let material = [&secret[..], &machine_identity()].concat();
    let key = blake3::derive_key("model-fs index store 2026-11-22 binding MAC", &material);
    let mut table = fs::read(the_table(toy)).expect("read");
    table[24..56].copy_from_slice(identity);
    let mac = blake3::keyed_hash(&key, &table[..96]);
    table[96..128].copy_from_slice(mac.as_bytes());
    let name = hex::encode(identity);
    let folder = host.store().join(version).join(&name[..2]);
    fs::create_dir_all(&folder).expect("mkdir");
    let path = folder.join(name + ".table");
    fs::write(&path, table).expect("write");
    for owned in [folder.parent().expect("a version"), &folder, &path] {
        fs::set_permissions(owned, fs::Permissions::from_mode(0o700)).expect("chmod");
    }
}

#[test]
fn stores_of_earlier_releases_are_not_believed_and_can_be_removed() {
    let Some(_) = Host::new() else { return };
    for production in &PRODUCTION {
        let (model, toy) = (production.model(), toy(production));
        let identity = production.identity(&model);
        let host = Host::anywhere();
        let index = |options: &[&str]| -> Finished {
            let mut index = host.on_model("index", &model.path(), options);
            host.run(&mut index).expect("index")
        };
        // Makes the key; and forgets what was learned.
        index(&[]);
        let _ = fs::remove_dir_all(host.store().join("v2"));
        for version in ["v1", "v2"] {
            poison(&host, &toy, &identity, version);
        }
        fs::write(model.file(production.name), toy.bytes("toy.bin")).expect("write");
        production_fails(&host, production, &model, "a store of the released code");
        // The right bytes still come.
        model.restore(production.name);
        let mount = host.mount(&model.path(), &[]);
        tool(
            "cmp",
            [model.golden(production.name), mount.file(production.name)],
        )
        .expect("cmp");
        mount.unmount();
        assert!(host.store().join("v1").exists());
        let said = index(&["--clean"]);
        assert!(said.stderr.contains("removed"), "{said}");
        assert!(!host.store().join("v1").exists());
        assert!(
            index(&["--clean"]).stderr.contains("there are no"),
            "{said}"
        );
    }
}

/// It is said once that an old store is there, not at every mount.
#[test]
fn that_an_old_store_is_ignored_is_said_once() {
    let model = Model::new([("small", 10)]);
    model.sign(SHA256);
    let host = Host::anywhere();
    fs::create_dir_all(host.store().join("v1/00")).expect("mkdir");
    for path in [host.store(), host.store().join("v1")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("chmod");
    }
    let verify = || {
        let mut verify = host.on_model("verify", &model.path(), &[]);
        host.run(&mut verify).expect("verify").stderr
    };
    assert!(verify().contains("index --clean"));
    assert!(!verify().contains("index --clean"));
}

/// One signer, two models, both read before: neither passes for the other.
#[test]
fn files_of_two_models_of_one_signer_do_not_pass_for_one_another() {
    let Some(_) = Host::new() else { return };
    for production in &PRODUCTION {
        let (one, mut other) = (production.model(), Model::new::<&str>([]));
        let another: Vec<u8> = one
            .bytes(production.name)
            .iter()
            .map(|byte| byte ^ 1)
            .collect();
        other.add(production.name, another);
        other.sign(production.options);
        let host = Host::anywhere();
        for model in [&one, &other] {
            let mut index = host.on_model("index", &model.path(), &[]);
            host.run(&mut index).expect("index");
        }
        let copy = |from: &Model, to: &Path| {
            fs::write(to, from.bytes(production.name)).expect("write");
        };
        copy(&other, &one.file(production.name));
        copy(&one, &other.file(production.name));
        for model in [&one, &other] {
            production_fails(&host, production, model, "swapped");
        }
    }
}
