//! Both readers over random models that the program signed, damaged or not: one verdict, one
//! outcome of each read, and never a byte that wasn't signed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use test_support::built;
use test_support::keys::write_keys;
use test_support::mounted::scratch;
use test_support::process::finish;

use crate::model::{Outcome, Outcomes, Range, exit_code, tables_of};
use crate::ours;
use crate::random::{Random, SEED};
use crate::reader::Reader;

const MODELS: usize = 200;
const READS: usize = 2;
const LIMIT: Duration = Duration::from_secs(60);

/// Lengths at which something changes, and their neighbours.
const LENGTHS: [usize; 6] = [0, 1, 1024, 65536, 131_072, 196_608];

const WORDS: [&str; 8] = [
    "a",
    "b",
    "model",
    "ü",
    "模型",
    "with space",
    "colon:1:2",
    "x.bin",
];

/// A length that is likely to be one of those.
fn length(random: &mut Random) -> usize {
    if random.percent(70) {
        let near = *random.one_of(&LENGTHS) + random.below(3);
        near.saturating_sub(1)
    } else {
        random.below(200_000)
    }
}

fn content(random: &mut Random, len: usize) -> Vec<u8> {
    match random.below(4) {
        0 => vec![0; len],
        1 => random.bytes(64).into_iter().cycle().take(len).collect(),
        _ => random.bytes(len),
    }
}

/// The signed content of a model.
type Files = BTreeMap<String, Vec<u8>>;

/// Writes files into `model`.
fn write_files(random: &mut Random, model: &Path) -> Files {
    let count = 1 + random.below(3);
    let mut files = Files::new();
    for index in 0..count {
        let word = *random.one_of(&WORDS);
        let folder = *random.one_of(&["", "in/", "in/side/"]);
        let name = format!("{folder}{index} {word}");
        let path = model.join(&name);
        fs::create_dir_all(path.parent().expect("in a folder")).expect("make a folder");
        let len = length(random);
        // Two files may be the same.
        let bytes = match files.values().next() {
            Some(other) if random.percent(10) => other.clone(),
            _ => content(random, len),
        };
        fs::write(path, &bytes).expect("write a file");
        files.insert(name, bytes);
    }
    files
}

/// How the program is asked to sign.
fn form(random: &mut Random) -> Vec<String> {
    let mut form = Vec::new();
    if random.percent(75) {
        let hash = *random.one_of(&["sha256", "sha256", "blake2b", "blake3"]);
        form.extend(["--hash".to_owned(), hash.to_owned()]);
    }
    if random.percent(15) {
        let size = 1000 + random.below(100_000);
        form.extend(["--shard-size".to_owned(), size.to_string()]);
    } else if random.percent(20) {
        form.push("--plain".to_owned());
    }
    if random.percent(20) {
        form.push("--no-tables".to_owned());
    }
    form
}

fn tables(model: &Path) -> Vec<PathBuf> {
    let Ok(tables) = fs::read_dir(tables_of(model)) else {
        return Vec::new();
    };
    let mut tables: Vec<_> = tables
        .map(|entry| entry.expect("list the tables").path())
        .collect();
    tables.sort();
    tables
}

/// What was done to a model after it was signed.
struct Damage {
    about: String,
    /// Whether a file of the content has another length now: then the specification lets a reader
    /// deliver what is left of it, or refuse.
    is_of_length: bool,
}

/// Damages a model, or leaves it as it is.
fn damage(random: &mut Random, model: &Path, names: &[&String]) -> Damage {
    let tables = tables(model);
    let (path, is_content) = match random.below(10) {
        0..3 => {
            return Damage {
                about: "none".to_owned(),
                is_of_length: false,
            };
        }
        3 if !tables.is_empty() => (random.one_of(&tables).clone(), false),
        4 => (model.join("model.sig"), false),
        _ => (model.join(random.one_of(names)), true),
    };
    let mut bytes = fs::read(&path).expect("read what is to be damaged");
    let len = bytes.len();
    let how = match random.below(6) {
        0 | 1 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            format!("flipped at {at}")
        }
        2 => {
            let len = length(random).min(bytes.len());
            bytes.truncate(len);
            format!("cut at {len}")
        }
        3 if !bytes.is_empty() => {
            bytes.pop();
            "cut by one".to_owned()
        }
        4 => {
            let more = length(random);
            let more = content(random, more);
            bytes.extend(more);
            "extended".to_owned()
        }
        5 => "removed".to_owned(),
        _ => {
            bytes.push(0);
            "extended by one".to_owned()
        }
    };
    if how == "removed" {
        fs::remove_file(&path).expect("remove a file");
    } else {
        fs::write(&path, &bytes).expect("damage a file");
    }
    Damage {
        about: format!("{}: {how}", path.display()),
        is_of_length: is_content && bytes.len() != len,
    }
}

fn range(random: &mut Random, names: &[&String]) -> Range {
    Range {
        file: (*random.one_of(names)).clone(),
        offset: length(random) as u64,
        len: 1 + length(random),
    }
}

struct Case {
    model: PathBuf,
    files: Files,
    form: Vec<String>,
    damage: Damage,
    reads: Vec<Range>,
}

impl Case {
    /// Whether these outcomes may be: never bytes that aren't the signed ones, and the same of both
    /// readers unless there is a choice. There is one behind a signed end, which may be told before
    /// anything is proved, and in a file of another length.
    fn may_be(&self, range: &Range, ours: &Outcomes, theirs: &Outcomes) -> bool {
        let file = &self.files[&range.file];
        let start = usize::try_from(range.offset).map_or(file.len(), |it| it.min(file.len()));
        let signed = &file[start..file.len().min(start + range.len)];
        let is_choice = signed.is_empty() || self.damage.is_of_length;
        let signed = Outcome::of(signed);
        let may_be = |one: &Outcome| *one == signed || *one == Outcome::error();
        [
            (&ours.lazy, &theirs.lazy),
            (&ours.tables, &theirs.tables),
            (&ours.bare, &theirs.bare),
        ]
        .iter()
        .all(|&(one, other)| may_be(one) && may_be(other) && (is_choice || one == other))
    }
}

fn make(random: &mut Random, folder: &Path, number: usize) -> Case {
    let model = folder.join(number.to_string());
    let files = write_files(random, &model);
    let form = form(random);
    let home = folder.join("home");
    fs::create_dir_all(&home).expect("make a folder");
    let mut sign = built::program_at_home(&home);
    sign.arg("sign").arg(&model).args(&form);
    sign.arg("--private-key").arg(folder.join("key.pem"));
    let signed = finish(&mut sign, LIMIT);
    // With shards nothing is said about empty files, so a model of those alone isn't signed.
    let is_signed = signed.succeeded();
    assert!(
        is_signed || files.values().all(Vec::is_empty),
        "{form:?}: {signed}"
    );
    if !is_signed {
        fs::remove_dir_all(&model).expect("remove a model");
        return make(random, folder, number);
    }
    let names: Vec<_> = files.keys().collect();
    let damage = damage(random, &model, &names);
    let reads = (0..READS).map(|_| range(random, &names)).collect();
    Case {
        model,
        files,
        form,
        damage,
        reads,
    }
}

#[test]
fn both_readers_find_the_same_of_random_models() {
    let Some(reader) = Reader::get() else {
        return;
    };
    let (mut random, seed) = Random::new();
    let folder = scratch();
    write_keys(folder.path()).expect("make keys");
    let key = folder.path().join("key.pub");
    let trust = ours::trust(&key);
    let cases: Vec<Case> = (0..MODELS)
        .map(|number| make(&mut random, folder.path(), number))
        .collect();
    // A signature that was removed is no verdict: there is nothing to compare.
    let cases: Vec<Case> = cases
        .into_iter()
        .filter(|case| case.model.join("model.sig").exists())
        .collect();
    let asked: Vec<_> = cases
        .iter()
        .map(|case| (case.model.clone(), case.reads.clone()))
        .collect();
    let theirs = reader.judge(&key, &asked);
    assert_eq!(theirs.len(), cases.len());

    let mut faults = Vec::new();
    for (case, theirs) in cases.iter().zip(theirs) {
        let lengths: Vec<_> = case.files.iter().map(|it| (it.0, it.1.len())).collect();
        let about = format!("{lengths:?}, {:?}, {}", case.form, case.damage.about);
        let mut fault = |what: String| faults.push(format!("{about}: {what}"));
        let ours = ours::judge(&case.model, &trust);
        if ours.verdict != theirs.verdict {
            fault(format!("{ours:?}, the other: {theirs:?}"));
            continue;
        }
        let differing = theirs.differences.as_object();
        let differing: Vec<_> = differing.into_iter().flat_map(|it| it.keys()).collect();
        if differing != ours.differences.keys().collect::<Vec<_>>() {
            fault(format!("{ours:?}, the other: {differing:?}"));
        }
        let code = ours::exit_code(&case.model, &key);
        if code != exit_code(&theirs.verdict) {
            fault(format!("exit code {code}, the other: {}", theirs.verdict));
        }
        for (range, theirs) in case.reads.iter().zip(theirs.reads) {
            let ours = ours::read(&case.model, &trust, range);
            if !case.may_be(range, &ours, &theirs) {
                fault(format!("{range:?}: {ours:?}, the other: {theirs:?}"));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults; again with {SEED}={seed}\n{}\n",
        faults.len(),
        faults.join("\n")
    );
}
