//! Every rule for statements, broken by a trusted signer: a good signature over a bad statement.
//! Each is exit 3 and a message that names the rule and the entry.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::signed::{Signer, files, resource, shards, single_file, state_root};

/// A broken rule.
struct Broken {
    rule: &'static str,
    statement: Value,
    /// What the message must name.
    says: &'static [&'static str],
}

fn broken(
    rule: &'static str,
    mut statement: Value,
    says: &'static [&'static str],
    edit: impl FnOnce(&mut Value),
) -> Broken {
    edit(&mut statement);
    Broken {
        rule,
        statement,
        says,
    }
}

/// The resources of a statement.
fn resources(statement: &mut Value) -> &mut Vec<Value> {
    statement["predicate"]["resources"]
        .as_array_mut()
        .expect("resources")
}

/// With another name for the first resource. Names are no part of the root digest.
fn named(rule: &'static str, name: &str, says: &'static [&'static str]) -> Broken {
    broken(rule, files(), says, |statement| {
        resources(statement)[0]["name"] = name.into();
    })
}

/// With another member in the first resource.
fn first(
    rule: &'static str,
    statement: Value,
    member: &str,
    value: &str,
    says: &'static [&'static str],
) -> Broken {
    broken(rule, statement, says, |statement| {
        resources(statement)[0][member] = value.into();
        state_root(statement);
    })
}

/// With another member of `serialization`; `null` stands for none.
fn serialized(
    rule: &'static str,
    statement: Value,
    member: &str,
    value: Value,
    says: &'static [&'static str],
) -> Broken {
    broken(rule, statement, says, |statement| {
        let serialization = statement["predicate"]["serialization"]
            .as_object_mut()
            .expect("serialization");
        if value.is_null() {
            serialization.remove(member);
        } else {
            serialization.insert(member.to_owned(), value);
        }
    })
}

/// With other ranges for the shards of one file.
fn ranges(rule: &'static str, names: &[&str], says: &'static [&'static str]) -> Broken {
    broken(rule, shards(), says, |statement| {
        *resources(statement) = names.iter().map(|name| resource(name, b"")).collect();
        state_root(statement);
    })
}

/// The statement as a whole.
fn whole() -> Vec<Broken> {
    vec![
        broken(
            "_type",
            files(),
            &["_type", "https://in-toto.io/Statement/v0.1"],
            |s| {
                s["_type"] = "https://in-toto.io/Statement/v0.1".into();
            },
        ),
        broken("no _type", files(), &["_type"], |s| {
            s.as_object_mut().expect("an object").remove("_type");
        }),
        broken(
            "predicateType",
            files(),
            &["predicateType", "signature/v2.0"],
            |s| {
                s["predicateType"] = "https://model_signing/signature/v2.0".into();
            },
        ),
        broken("legacy type, not signed so", files(), &["0.2"], |s| {
            s["predicateType"] = "https://model_signing/Digests/v0.1".into();
        }),
        broken("no subject", files(), &["0 subjects"], |s| {
            s["subject"] = json!([]);
        }),
        broken("two subjects", files(), &["2 subjects"], |s| {
            let one = s["subject"][0].clone();
            s["subject"] = json!([one, one]);
        }),
        broken(
            "subject without a name",
            files(),
            &["subject", "empty name"],
            |s| {
                s["subject"][0]["name"] = "".into();
            },
        ),
        broken(
            "subject without a digest",
            files(),
            &["subject", "sha256"],
            |s| {
                s["subject"][0]["digest"] = json!({});
            },
        ),
        broken("root digest", files(), &["root digest", "00000000"], |s| {
            s["subject"][0]["digest"]["sha256"] = "0".repeat(64).into();
        }),
        broken(
            "root digest, malformed",
            files(),
            &["root digest", "32 bytes"],
            |s| {
                s["subject"][0]["digest"]["sha256"] = "00".into();
            },
        ),
        broken("no predicate", files(), &["no predicate"], |s| {
            s.as_object_mut().expect("an object").remove("predicate");
        }),
        broken(
            "no serialization",
            files(),
            &["predicate.serialization"],
            |s| {
                let predicate = s["predicate"].as_object_mut();
                predicate.expect("an object").remove("serialization");
            },
        ),
        broken("no resources", files(), &["no resources"], |s| {
            resources(s).clear();
            state_root(s);
        }),
        broken(
            "no member resources",
            files(),
            &["predicate.resources"],
            |s| {
                let predicate = s["predicate"].as_object_mut();
                predicate.expect("an object").remove("resources");
            },
        ),
        broken("listed and ignored", files(), &["\"a\"", "ignored"], |s| {
            s["predicate"]["serialization"]["ignore_paths"] = json!(["a"]);
        }),
    ]
}

/// Arrays where objects belong.
fn positions() -> Vec<Broken> {
    vec![
        broken(
            "a subject by position",
            files(),
            &["sequence, expected named members"],
            |s| {
                let subject = &s["subject"][0];
                s["subject"] = json!([[subject["name"], subject["digest"]]]);
            },
        ),
        broken(
            "a resource by position",
            files(),
            &["sequence, expected named members"],
            |s| {
                let one = &mut resources(s)[0];
                *one = json!([one["name"], one["digest"], one["algorithm"]]);
            },
        ),
    ]
}

fn serializations() -> Vec<Broken> {
    vec![
        serialized(
            "method",
            files(),
            "method",
            json!("chunks"),
            &["method", "\"chunks\""],
        ),
        serialized("no method", files(), "method", Value::Null, &["method"]),
        serialized(
            "hash_type",
            files(),
            "hash_type",
            json!("md5"),
            &["hash_type", "\"md5\""],
        ),
        serialized(
            "no hash_type",
            files(),
            "hash_type",
            Value::Null,
            &["hash_type"],
        ),
        serialized(
            "no shard_size",
            shards(),
            "shard_size",
            Value::Null,
            &["no shard_size"],
        ),
        serialized(
            "zero shard_size",
            shards(),
            "shard_size",
            json!(0),
            &["shard_size is 0"],
        ),
        serialized(
            "negative",
            shards(),
            "shard_size",
            json!(-4),
            &["shard_size is -4"],
        ),
        serialized(
            "fractional",
            shards(),
            "shard_size",
            json!(4.5),
            &["shard_size is 4.5"],
        ),
        serialized("a text", shards(), "shard_size", json!("4"), &["string"]),
        serialized(
            "another hash_type than the resources'",
            files(),
            "hash_type",
            json!("blake3"),
            &["\"a\"", "\"sha256\"", "hash_type blake3"],
        ),
    ]
}

fn algorithms() -> Vec<Broken> {
    let unknown = &["\"a\"", "unknown hash algorithm", "\"sha1\""];
    vec![
        first("algorithm", files(), "algorithm", "sha1", unknown),
        first(
            "not that of hash_type",
            files(),
            "algorithm",
            "blake3",
            &["\"a\"", "\"blake3\"", "contradicts", "hash_type sha256"],
        ),
        first(
            "a shard's in files",
            files(),
            "algorithm",
            "sha256-sharded-4",
            &["\"a\"", "\"sha256-sharded-4\"", "contradicts"],
        ),
        first(
            "of another shard size",
            shards(),
            "algorithm",
            "sha256-sharded-5",
            &[
                "\"a:0:4\"",
                "\"sha256-sharded-5\"",
                "contradicts",
                "shard_size",
            ],
        ),
        first(
            "of another hash, sharded",
            shards(),
            "algorithm",
            "blake3-sharded-4",
            &["\"a:0:4\"", "\"blake3-sharded-4\"", "contradicts"],
        ),
        first(
            "not hexadecimal",
            files(),
            "digest",
            &"zz".repeat(32),
            &["\"a\"", "hexadecimal"],
        ),
        first(
            "upper case",
            files(),
            "digest",
            &"AB".repeat(32),
            &["\"a\"", "lowercase"],
        ),
        first(
            "short",
            files(),
            "digest",
            &"ab".repeat(31),
            &["\"a\"", "32 bytes", "31"],
        ),
        first(
            "long",
            files(),
            "digest",
            &"ab".repeat(33),
            &["\"a\"", "32 bytes", "33"],
        ),
        first(
            "half a byte",
            files(),
            "digest",
            &"a".repeat(63),
            &["\"a\""],
        ),
        first(
            "no digest",
            files(),
            "digest",
            "",
            &["\"a\"", "32 bytes", "0"],
        ),
    ]
}

fn names() -> Vec<Broken> {
    vec![
        named("..", "x/../a", &["x/../a", "\"..\""]),
        named(".. first", "../a", &["../a", "\"..\""]),
        named("absolute", "/etc/passwd", &["/etc/passwd", "absolute"]),
        named("./", "./a", &["./a", "\".\""]),
        named(". beside others", ".", &["\".\" is not", "component"]),
        broken(
            ". in a directory",
            files(),
            &["\".\" is not", "component"],
            |s| {
                *s = single_file(files(), ".");
            },
        ),
        named("//", "x//a", &["x//a", "empty component"]),
        named("trailing /", "x/", &["\"x/\"", "ends with a slash"]),
        named("NUL", "x\0a", &["x\\u{0}a", "NUL"]),
        named("empty", "", &["it is empty"]),
        named(
            "file and directory",
            "b",
            &["\"b\"", "\"b/c\"", "directory"],
        ),
        named("twice", "b/c", &["\"b/c\"", "more than once"]),
        broken(
            "the same twice",
            files(),
            &["\"a\"", "more than once"],
            |s| {
                let one = resources(s)[0].clone();
                resources(s).push(one);
                state_root(s);
            },
        ),
        // Shown, it does nothing to the terminal.
        named(
            "acts on terminals",
            "/\u{1b}[2J\u{202e}",
            &["/\\u{1b}[2J\\u{202e}", "absolute"],
        ),
    ]
}

fn shard_ranges() -> Vec<Broken> {
    vec![
        ranges(
            "overlapping",
            &["a:0:4", "a:2:6"],
            &["\"a:2:6\"", "overlaps", "ends at 4"],
        ),
        ranges(
            "of one start",
            &["a:0:4", "a:0:8"],
            &["\"a:0:8\"", "overlaps"],
        ),
        ranges(
            "twice",
            &["a:0:4", "a:0:4"],
            &["\"a:0:4\"", "more than once"],
        ),
        ranges(
            "gapped",
            &["a:0:4", "a:8:10"],
            &["\"a:8:10\"", "gap", "begin at 4"],
        ),
        ranges(
            "not from 0",
            &["a:4:8"],
            &["\"a:4:8\"", "gap", "begin at 0"],
        ),
        ranges("too long", &["a:0:5"], &["\"a:0:5\"", "4 bytes"]),
        ranges(
            "short inside",
            &["a:0:3", "a:3:7"],
            &["\"a:0:3\"", "4 bytes"],
        ),
        ranges("without bytes", &["a:0:0"], &["\"a:0:0\"", "no bytes"]),
        ranges("backwards", &["a:4:0"], &["\"a:4:0\"", "no bytes"]),
        ranges("not a number", &["a:0:x"], &["\"a:0:x\"", "decimal"]),
        ranges("hexadecimal", &["a:0:0x4"], &["\"a:0:0x4\"", "decimal"]),
        ranges("signed", &["a:+0:4"], &["\"a:+0:4\"", "decimal"]),
        ranges(
            "leading zero",
            &["a:0:04"],
            &["\"a:0:04\"", "leading zeros"],
        ),
        ranges(
            "beyond 64 bits",
            &["a:0:18446744073709551616"],
            &["a:0:1844", "2^64"],
        ),
        ranges("no range", &["a"], &["\"a\"", "<path>:<start>:<end>"]),
        ranges(
            "half a range",
            &["a:0"],
            &["\"a:0\"", "<path>:<start>:<end>"],
        ),
        ranges("no path", &[":0:4"], &["it is empty"]),
        ranges("a path that climbs", &["../a:0:4"], &["../a", "\"..\""]),
        ranges(
            ". in a directory",
            &[".:0:4"],
            &["\".\" is not", "component"],
        ),
        ranges(
            "file and directory",
            &["b:0:4", "b/c:0:4"],
            &["\"b\"", "\"b/c\"", "directory"],
        ),
    ]
}

#[test]
fn the_right_statements_hold() {
    let signer = Signer::new();
    for statement in [files(), shards()] {
        signer.judge(&statement).expect("a right statement");
    }
}

#[test]
fn each_broken_rule_is_named_with_its_entry() {
    let signer = Signer::new();
    let tables = [
        whole(),
        positions(),
        serializations(),
        algorithms(),
        names(),
        shard_ranges(),
    ];
    for Broken {
        rule,
        statement,
        says,
    } in tables.into_iter().flatten()
    {
        let judged = signer.judge(&statement).expect_code(3, rule);
        assert!(judged.stdout.is_empty(), "{rule}: {judged}");
        assert!(judged.stderr.starts_with("error: "), "{rule}: {judged}");
        for part in says {
            assert!(
                judged.stderr.contains(part),
                "{rule}: the message does not name {part:?}: {judged}"
            );
        }
        assert!(
            !judged.stderr.contains(['\0', '\u{1b}', '\u{202e}']),
            "{rule}: {judged}"
        );
    }
}

/// Python's `model_signing` calls the file of a model that is no directory `.`. That lets nothing
/// else through.
#[test]
fn a_single_file_may_be_called_a_dot() {
    let signer = Signer::new();
    for name in ["a", "."] {
        for statement in [files(), shards()] {
            let statement = single_file(statement, name);
            signer.judge_single_file(&statement).expect(name);
        }
    }
    // With the trust store instead of `--public-key`, the file is accepted too.
    let key = signer.public_key();
    let add = ["trust", "add", "--name", "me", "--public-key"].map(PathBuf::from);
    signer
        .home
        .run(add.into_iter().chain([key]))
        .expect("trust add");
    let [file, signature] = signer.single_file();
    for verb in ["verify", "inspect"] {
        let words = [PathBuf::from(verb), file.clone()];
        signer.home.run(words).expect(verb);
    }
    // A signature alone is shown too: the file goes by the model's name.
    let shown = signer.home.run([PathBuf::from("inspect"), signature]);
    let shown = shown.expect("inspect a signature").stdout;
    assert!(shown.contains("files          1"), "{shown}");

    for (name, says) in [
        ("./", "\"./\""),
        ("./a", "\"./a\""),
        ("..", "\"..\""),
        ("/a", "absolute"),
        ("", "empty"),
    ] {
        for statement in [files(), shards()] {
            let judged = signer.judge_single_file(&single_file(statement, name));
            let judged = judged.expect_code(3, name);
            assert!(judged.stderr.contains(says), "{name}: {judged}");
        }
    }
    for mut statement in [files(), shards()] {
        let mut more = single_file(statement.clone(), ".");
        resources(&mut statement).append(resources(&mut more));
        state_root(&mut statement);
        let judged = signer.judge_single_file(&statement);
        let judged = judged.expect_code(3, "a dot beside others");
        assert!(judged.stderr.contains("\".\" component"), "{judged}");
    }
    // Of another name, it is another file.
    signer
        .judge_single_file(&single_file(files(), "other"))
        .expect_code(4, "another name");
}

/// What is older than the text of the specification, and safe: see `docs/format.md`.
#[test]
fn harmless_differences_are_accepted() {
    let signer = Signer::new();
    let accept = |what: &str, mut statement: Value, edit: fn(&mut Value)| {
        edit(&mut statement);
        state_root(&mut statement);
        signer.judge(&statement).expect(what);
    };
    accept("a later minor version", files(), |s| {
        s["predicateType"] = "https://model_signing/signature/v1.1".into();
    });
    accept("another order", files(), |s| resources(s).reverse());
    accept("another order of shards", shards(), |s| {
        resources(s).reverse();
    });
    accept("a whole number with a fraction", shards(), |s| {
        s["predicate"]["serialization"]["shard_size"] = json!(4.0);
    });
    accept("the reference's algorithm name", shards(), |s| {
        for resource in resources(s) {
            resource["algorithm"] = "sha256-sharded-4".into();
        }
    });
    accept("no allow_symlinks", files(), |s| {
        let serialization = s["predicate"]["serialization"].as_object_mut();
        serialization.expect("an object").remove("allow_symlinks");
    });
    accept("unknown members", files(), |s| {
        s["later"] = json!({"deep": [1, null]});
        s["predicate"]["later"] = json!(1);
        resources(s)[0]["size"] = json!(10);
    });
    accept("ignored paths without effect", files(), |s| {
        s["predicate"]["serialization"]["ignore_paths"] = json!(["/abs", "../x", "model.sig"]);
    });
}
