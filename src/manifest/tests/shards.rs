//! Files that are listed in shards.

use serde_json::{Value, json};

use super::*;

#[test]
fn shards_are_ordered_by_number() {
    // As text, `a:10:20` comes before `a:2:10`, and `b` between the shards of nothing.
    for listed in [
        [
            "a:0:10",
            "a:10:20",
            "a:100:105",
            "a:20:30",
            "b:0:10",
            "b:10:11",
        ],
        [
            "b:10:11",
            "a:20:30",
            "a:100:105",
            "a:10:20",
            "b:0:10",
            "a:0:10",
        ],
    ] {
        let mut listed = listed.to_vec();
        listed.extend([
            "a:30:40", "a:40:50", "a:50:60", "a:60:70", "a:70:80", "a:80:90", "a:90:100",
        ]);
        let manifest = signed(&shards(&json!(10), &listed)).unwrap();
        assert_eq!(names(&manifest), ["a", "b"]);
        let SignedContent::Shards(a) = &manifest.file("a").unwrap().content else {
            panic!("a file of a sharded manifest has shards")
        };
        assert_eq!((a.len(), a.count(), a.shard_size().get()), (105, 11, 10));
        for index in 0..11_u64 {
            let name = format!("a:{}:{}", index * 10, 105.min(index * 10 + 10));
            assert_eq!(
                a.digest(index),
                Some(Algorithm::Sha256.hash(name.as_bytes()))
            );
        }
        assert_eq!(manifest.file("b").unwrap().content.len(), Some(11));
    }
}

#[test]
fn shard_names_may_have_colons() {
    let listed = [
        "a:b:0:10",
        "a:b:10:20",
        "a:0:10:0:5",
        "::0:1",
        "c:0:10/d:0:3",
    ];
    let manifest = signed(&shards(&json!(10), &listed)).unwrap();
    assert_eq!(names(&manifest), [":", "a:0:10", "a:b", "c:0:10/d"]);
    assert_eq!(manifest.file("a:b").unwrap().content.len(), Some(20));
}

#[test]
fn shard_sizes_as_older_signers_wrote_them() {
    for size in [json!(10), json!(10.0), json!(1e1)] {
        let mut statement = shards(&size, &["a:0:10", "a:10:11"]);
        assert!(signed(&statement).is_ok());
        for resource in statement["predicate"]["resources"].as_array_mut().unwrap() {
            resource["algorithm"] = json!("sha256-sharded-10");
        }
        assert!(signed(&statement).is_ok());
        statement["predicate"]["resources"][1]["algorithm"] = json!("sha256-sharded-11");
        assert!(message(&statement).contains("resource \"a:10:11\""));
    }
    for size in [json!(0), json!(-10), json!(10.5), json!(0.0), json!(1e300)] {
        let message = message(&shards(&size, &["a:0:10"]));
        assert!(
            message.contains("not a positive whole number"),
            "{size}: {message}"
        );
    }
    assert!(message(&shards(&Value::Null, &["a:0:10"])).contains("no shard_size"));
    assert!(message(&shards(&json!("10"), &["a:0:10"])).contains("not an OMS statement"));
}

#[test]
fn shard_rules() {
    let size = NonZeroU64::new(10).unwrap();
    for (listed, bad, expected) in [
        (&["a"][..], "a", ShardRule::Form),
        (&["a:10"], "a:10", ShardRule::Form),
        (&["a:0:x"], "a:0:x", ShardRule::Number),
        (&["a:0:"], "a:0:", ShardRule::Number),
        (&["a:+0:10"], "a:+0:10", ShardRule::Number),
        (&["a:-1:10"], "a:-1:10", ShardRule::Number),
        (&["a:00:10"], "a:00:10", ShardRule::Number),
        (&["a:0:010"], "a:0:010", ShardRule::Number),
        (&["a:0: 10"], "a:0: 10", ShardRule::Number),
        (
            &["a:0:18446744073709551616"],
            "a:0:18446744073709551616",
            ShardRule::Number,
        ),
        (&["a:0:0"], "a:0:0", ShardRule::EmptyRange),
        (&["a:0:10", "a:10:10"], "a:10:10", ShardRule::EmptyRange),
        (&["a:10:0"], "a:10:0", ShardRule::EmptyRange),
        (&["a:10:20"], "a:10:20", ShardRule::Gap { expected: 0 }),
        (&["a:1:11"], "a:1:11", ShardRule::Gap { expected: 0 }),
        (
            &["a:0:10", "a:20:30"],
            "a:20:30",
            ShardRule::Gap { expected: 10 },
        ),
        (
            &["a:0:10", "a:9:19"],
            "a:9:19",
            ShardRule::Overlap { expected: 10 },
        ),
        (&["a:0:10", "a:0:10"], "a:0:10", ShardRule::Duplicate),
        (
            &["a:0:10", "a:10:15", "a:10:20"],
            "a:10:15",
            ShardRule::Size { size },
        ),
        (&["a:0:9", "a:9:19"], "a:0:9", ShardRule::Size { size }),
        (&["a:0:11"], "a:0:11", ShardRule::Size { size }),
        (&["a:0:10", "a:10:21"], "a:10:21", ShardRule::Size { size }),
    ] {
        match signed(&shards(&json!(10), listed)) {
            Err(VerifyManifestError::Manifest(ManifestError::Shard { name, rule })) => {
                assert_eq!((name.to_string().as_str(), rule), (bad, expected));
            }
            other => panic!("{listed:?}: {other:?}"),
        }
    }
    for listed in [
        &["a:0:1"][..],
        &["a:0:9"],
        &["a:0:10"],
        &["a:10:11", "a:0:10"],
    ] {
        assert!(signed(&shards(&json!(10), listed)).is_ok(), "{listed:?}");
    }
    let one = shards(&json!(u64::MAX), &["a:0:18446744073709551615"]);
    assert_eq!(
        signed(&one).unwrap().files()[0].content.len(),
        Some(u64::MAX)
    );
}
