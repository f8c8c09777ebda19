//! The vectors: what each states, and that both readers find it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use test_support::mounted::scratch;

use crate::model::{Outcomes, Range, exit_code};
use crate::ours;
use crate::reader::{Reader, spec};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    #[serde(rename = "about")]
    _about: String,
    files: BTreeMap<String, Recipe>,
    tables: BTreeMap<String, String>,
    payload: Vec<Part>,
    bundle: String,
    verdict: String,
    #[serde(default)]
    warnings: Vec<(String, String)>,
    #[serde(default)]
    differences: BTreeMap<String, Value>,
    #[serde(default)]
    reads: Vec<Read>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    seed: String,
    len: usize,
    #[serde(default)]
    flip: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Part {
    Text(String),
    Repeated { repeat: String, times: usize },
    Bytes { hex: String },
}

#[derive(Deserialize)]
struct Read {
    #[serde(flatten)]
    range: Range,
    #[serde(flatten)]
    stated: Outcomes,
}

impl Recipe {
    fn content(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0_u64..)
            .take(self.len.div_ceil(32))
            .flat_map(|block| {
                Sha256::new()
                    .chain_update(&self.seed)
                    .chain_update(block.to_le_bytes())
                    .finalize()
            })
            .collect();
        bytes.truncate(self.len);
        for &offset in &self.flip {
            bytes[offset] ^= 1;
        }
        bytes
    }
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Repeated { repeat, times } => repeat.repeat(*times).into_bytes(),
            Self::Bytes { hex } => hex::decode(hex).expect("hexadecimal digits"),
        }
    }
}

impl Vector {
    /// Makes its model.
    fn write(&self, model: &Path) {
        let put = |path: &Path, bytes: &[u8]| {
            fs::create_dir_all(path.parent().expect("in a folder")).expect("make a folder");
            fs::write(path, bytes).expect("write a file");
        };
        for (name, recipe) in &self.files {
            put(&model.join(name), &recipe.content());
        }
        for (name, table) in &self.tables {
            let bytes = hex::decode(table).expect("hexadecimal digits");
            put(&model.join(".model-fs").join(name), &bytes);
        }
        let payload: Vec<u8> = self.payload.iter().flat_map(Part::bytes).collect();
        let bundle = self.bundle.replace("@PAYLOAD@", &STANDARD.encode(payload));
        put(&model.join("model.sig"), bundle.as_bytes());
    }

    /// How what we find differs from what is stated.
    fn faults(&self, key: &Path) -> Vec<String> {
        let folder = scratch();
        let model = folder.path().join("model");
        self.write(&model);
        let trust = ours::trust(key);
        let found = ours::judge(&model, &trust);
        let mut faults = Vec::new();
        if found.verdict != self.verdict {
            faults.push(format!("verdict {}, not {}", found.verdict, self.verdict));
        }
        let code = ours::exit_code(&model, key);
        if code != exit_code(&self.verdict) {
            faults.push(format!("exit code {code}"));
        }
        let warned: BTreeSet<_> = self.warnings.iter().map(|(file, _)| file).collect();
        if found.warned != warned.len() {
            faults.push(format!("{} files warned of: {warned:?}", found.warned));
        }
        let differences: BTreeMap<_, _> = self
            .differences
            .iter()
            .map(|(file, stated)| (file.clone(), word(stated)))
            .collect();
        // A table may prove another length than the file has; ours says so then.
        let is_as_stated = |(file, found): (&String, &String)| {
            let stated = differences.get(file);
            stated == Some(found)
                || found == "size" && stated.is_some_and(|stated| stated == "nothing holds")
        };
        if found.differences.len() != differences.len()
            || !found.differences.iter().all(is_as_stated)
        {
            let found = found.differences;
            faults.push(format!("differences {found:?}, not {differences:?}"));
        }
        if found.verdict != "ok" && found.verdict != "content" {
            return faults;
        }
        for Read { range, stated } in &self.reads {
            let found = ours::read(&model, &trust, range);
            for (how, found, stated) in [
                ("lazy", &found.lazy, &stated.lazy),
                ("tables", &found.tables, &stated.tables),
                ("bare", &found.bare, &stated.bare),
            ] {
                if !found.fits(stated) {
                    faults.push(format!("{range:?} {how}: {found:?}, not {stated:?}"));
                }
            }
        }
        faults
    }
}

/// A stated difference as our reader tells it.
fn word(stated: &Value) -> String {
    let names = |member: &str| {
        let names = stated[member].as_array().expect("a list of algorithms");
        let names = names.iter().map(|name| name.as_str().expect("a name"));
        names.collect::<Vec<_>>().join(", ")
    };
    match stated {
        Value::String(word) => word.clone(),
        _ if names("holds").is_empty() => "nothing holds".to_owned(),
        _ => format!("{} holds, {} differs", names("holds"), names("differs")),
    }
}

#[test]
fn our_reader_finds_what_each_vector_states() {
    let folder = spec().join("vectors");
    let key = folder.join("key.pem");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .expect("list the vectors")
        .map(|entry| entry.expect("list the vectors").path())
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .collect();
    names.sort();
    assert!(names.len() > 400);
    let mut faults = Vec::new();
    for name in names {
        let text = fs::read_to_string(&name).expect("read a vector");
        let name = name.file_name().expect("a file").to_string_lossy();
        let vector: Vector =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = vector.faults(&key).into_iter();
        faults.extend(found.map(|fault| format!("{name}: {fault}")));
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_other_reader_finds_what_each_vector_states() {
    let Some(reader) = Reader::get() else {
        return;
    };
    let done = reader.run("vectors", &[&spec().join("vectors")]);
    let done = done.expect("the reader in Python, over all vectors");
    assert!(done.stdout.ends_with(" vectors, 0 faults\n"), "{done}");
}

#[test]
fn the_vectors_are_those_that_their_script_makes() {
    let Some(reader) = Reader::get() else {
        return;
    };
    let made = scratch();
    reader
        .run_script("make_vectors.py", made.path())
        .expect("make the vectors");
    let all = |folder: &Path| -> BTreeMap<_, _> {
        fs::read_dir(folder)
            .expect("list vectors")
            .map(|entry| entry.expect("list vectors"))
            .map(|entry| (entry.file_name(), fs::read(entry.path()).expect("read")))
            .collect()
    };
    let (made, kept) = (all(made.path()), all(&spec().join("vectors")));
    let names: Vec<_> = made.keys().collect();
    assert_eq!(names, kept.keys().collect::<Vec<_>>());
    for (name, bytes) in &made {
        assert!(kept[name] == *bytes, "{name:?} differs");
    }
}
