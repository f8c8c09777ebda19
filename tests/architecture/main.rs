//! Rules for the layout of the source.
//!
//! Over all of `src/`, the library and the program:
//! - imports go downward: [`LAYERS`], and within two of them [`OMS`] and [`READING`];
//! - no files use one another in a circle, directly or by way of others;
//! - a file has at most 600 lines without its tests (400 in `reading`);
//! - a line has at most 100 columns, in tests, benchmarks and examples too;
//! - a [trusted type](TRUSTED) has private fields, and nothing outside of its file makes one;
//! - that file is a leaf: a module beneath it would see the private fields;
//! - `docs/design.md` shows the layers as they are. `MODEL_FS_BLESS=1` writes them there.
//!
//! [`KNOWN`] lists the exceptions. An exception that no longer breaks its rule must be removed from
//! the list. `put_in` shows each rule fail.

mod document;
mod known;
mod put_in;
mod rules;
mod source;

use std::fs;
use std::path::Path;

use test_support::built;

use self::known::KNOWN;
use self::rules::{Layer, Order, Trusted};
use self::source::{Source, Tree};

const fn layer(name: &'static str, modules: &'static [&'static str]) -> Layer {
    Layer { name, modules }
}

const fn trusted(name: &'static str, file: &'static str) -> Trusted {
    Trusted { name, file }
}

/// The layers, from the bottom.
const LAYERS: Order = Order {
    folder: "src/",
    layers: &[
        layer(
            "words",
            &["digest", "name", "chunk", "files", "threads", "sync"],
        ),
        layer("OMS", &["oms"]),
        layer("manifest", &["manifest"]),
        layer("verified reading", &["reading"]),
        layer("file system", &["fs"]),
        layer("kernel", &["kernel"]),
        layer("front door", &["model"]),
        layer("command line", &["bin/model-fs"]),
    ],
};

/// The parts of `oms`, from the bottom: as in the head of `src/oms/mod.rs`.
const OMS: Order = Order {
    folder: "src/oms/",
    layers: &[
        layer("spellings", &["wire"]),
        layer("envelope", &["dsse"]),
        layer("documents", &["bundle", "statement"]),
        layer("signer", &["signer"]),
        layer("method: key", &["method/key"]),
        layer("method: certificate", &["method/certificate"]),
        layer("method: Sigstore", &["method/sigstore", "method/pkcs11"]),
        layer("methods", &["method"]),
        layer("claim and trust", &["claim", "trust"]),
        layer("verification", &["verify"]),
        layer("signing and trust store", &["sign", "trust_store"]),
    ],
};

/// The parts of `reading`, from the bottom.
const READING: Order = Order {
    folder: "src/reading/",
    layers: &[
        layer("source", &["source"]),
        layer("violation", &["violation"]),
        layer("table", &["table"]),
        layer("location", &["location"]),
        layer("reports", &["reports"]),
        layer("stats", &["stats"]),
        layer("chunk", &["chunk"]),
        layer("fetch", &["fetch"]),
        layer("ahead", &["ahead"]),
        layer("open file", &["open_file"]),
        layer("opening", &["opening"]),
        layer("reader", &["reader"]),
        layer("whole", &["whole"]),
    ],
};

/// Types that only a proof makes, each with the file of its constructors.
const TRUSTED: &[Trusted] = &[
    trusted("PinnedPayload", "src/oms/method/certificate/pinned.rs"),
    trusted("VerifiedStatement", "src/oms/verify.rs"),
    trusted("VerifiedByAny", "src/oms/verify.rs"),
    trusted("VerifiedManifest", "src/manifest/verified.rs"),
    trusted("MergedValues", "src/reading/table/subtree.rs"),
    trusted("HostKey", "src/reading/table/proved.rs"),
    trusted("Hashed", "src/reading/table/full_pass.rs"),
    trusted("Required", "src/reading/table/file.rs"),
    trusted("ChunkDigests", "src/reading/table/digests.rs"),
    trusted("ChunkProof", "src/reading/table/digests.rs"),
    trusted("Candidate", "src/reading/table/proved.rs"),
    trusted("SelfProving", "src/reading/table/proved.rs"),
    trusted("Bound", "src/reading/table/proved.rs"),
    trusted("ChunkTable", "src/reading/table/proved.rs"),
    trusted("ProvedLength", "src/reading/table/proved.rs"),
    trusted("VerifiedBytes", "src/reading/chunk/verified.rs"),
    trusted("DataBytes", "src/fs/data/bytes.rs"),
];

fn read(folder: &Path, name: &str, tree: &mut Tree) {
    for entry in fs::read_dir(folder.join(name)).expect("list the source") {
        let entry = entry.expect("list the source");
        let file = entry.file_name().into_string().expect("a name in UTF-8");
        let name = format!("{name}/{file}");
        if entry.file_type().expect("a type").is_dir() {
            read(folder, &name, tree);
        } else if entry.path().extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(entry.path()).expect("read the source");
            tree.insert(name, text);
        }
    }
}

/// All of the given folders of this repository.
fn tree(folders: &[&str]) -> Tree {
    let mut tree = Tree::new();
    for folder in folders {
        read(Path::new(env!("CARGO_MANIFEST_DIR")), folder, &mut tree);
    }
    tree
}

#[test]
fn the_source_is_laid_out_as_it_should_be() {
    let tree = tree(&["src"]);
    let source = Source::read(&tree);
    let mut findings = rules::circles(&source);
    for order in [&LAYERS, &OMS, &READING] {
        findings.extend(rules::upward(&source, order));
    }
    findings.extend(rules::too_long(&tree));
    let with_tests = self::tree(&["src", "tests", "benches", "examples"]);
    findings.extend(rules::too_wide(&with_tests));
    findings.extend(rules::forged(&source, TRUSTED));
    findings.extend(rules::not_leaves(&source, TRUSTED));

    let wrong = rules::judge(&findings, KNOWN);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_design_shows_the_layers_as_they_are() {
    let path = built::repository("docs/design.md");
    let document = fs::read_to_string(&path).expect("read the design");
    let table = document::table(&tree(&["src"]), &LAYERS);
    if std::env::var_os("MODEL_FS_BLESS").is_some_and(|value| value == "1") {
        let document = document::with_block(&document, &table);
        fs::write(&path, document).expect("write the design");
        return;
    }
    assert_eq!(
        document::block(&document),
        table,
        "docs/design.md shows other layers (MODEL_FS_BLESS=1 writes these there)"
    );
}

/// The paths that `test_support::built` works out are those that cargo gives.
#[test]
fn programs_and_scratch_folders_are_found() {
    let same = |found: &Path, told: &str| {
        let told = fs::canonicalize(told).expect("what cargo tells is there");
        assert_eq!(fs::canonicalize(found).expect("what is found"), told);
    };
    same(Path::new(built::program()), env!("CARGO_BIN_EXE_model-fs"));
    same(&built::scratch(), env!("CARGO_TARGET_TMPDIR"));
}
