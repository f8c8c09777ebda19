//! Each rule finds a violation that is put in, and passes over code that only looks like one.

use crate::rules::{
    Layer, Order, Trusted, circles, forged, judge, not_leaves, too_long, too_wide, upward,
};
use crate::source::{Source, Tree};

const ORDER: Order = Order {
    folder: "src/",
    layers: &[
        Layer {
            name: "words",
            modules: &["word"],
        },
        Layer {
            name: "middle",
            modules: &["middle"],
        },
        Layer {
            name: "top",
            modules: &["top", "bin"],
        },
    ],
};

const PROVED: [Trusted; 2] = [
    Trusted {
        name: "Proved",
        file: "src/middle/proved.rs",
    },
    Trusted {
        name: "Length",
        file: "src/middle/proved.rs",
    },
];

/// A tree in order, with some files replaced or added.
fn tree(changes: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (file, text) in [
        ("src/lib.rs", "pub mod word; pub mod middle; pub mod top;"),
        (
            "src/word.rs",
            "pub struct Word; impl Word { pub fn new() -> Self { Self } }",
        ),
        (
            "src/middle/mod.rs",
            "mod low; mod proved; pub use self::low::Low; pub use proved::*;",
        ),
        (
            "src/middle/low.rs",
            "use crate::word::Word; pub struct Low(Word);",
        ),
        (
            "src/middle/proved.rs",
            "use super::Low;
             /// Only `of` makes one: Proved { by }
             #[derive(Clone)]
             pub struct Proved { by: Low }
             pub struct Length(u64);
             impl Proved { pub fn of(by: Low) -> Self { Self { by } } }",
        ),
        (
            "src/top.rs",
            "use crate::middle::{Length, Low, Proved};
             pub fn prove(low: Low) -> Proved { Proved::of(low) }
             impl std::fmt::Debug for Proved {}
             pub fn of(proved: Proved) -> &'static Proved {
                 let Proved { .. } = proved;
                 todo!(\"Proved { by }\")
             }",
        ),
        (
            "src/bin/model-fs/main.rs",
            "fn main() { let _ = model_fs::word::Word::new(); }",
        ),
    ]
    .iter()
    .chain(changes)
    {
        tree.insert((*file).to_owned(), (*text).to_owned());
    }
    tree
}

fn whats(findings: Vec<crate::rules::Finding>) -> Vec<String> {
    findings.into_iter().map(|found| found.what).collect()
}

#[track_caller]
fn upward_in(changes: &[(&str, &str)], expected: &[&str]) {
    let source = Source::read(&tree(changes));
    assert_eq!(whats(upward(&source, &ORDER)), expected);
}

#[track_caller]
fn circles_in(changes: &[(&str, &str)], expected: &[&str]) {
    let source = Source::read(&tree(changes));
    assert_eq!(whats(circles(&source)), expected);
}

#[track_caller]
fn forged_in(changes: &[(&str, &str)], expected: &[&str]) {
    let source = Source::read(&tree(changes));
    let mut found = whats(forged(&source, &PROVED));
    found.dedup();
    assert_eq!(found, expected);
}

#[track_caller]
fn no_leaf_in(changes: &[(&str, &str)], expected: &[&str]) {
    let source = Source::read(&tree(changes));
    assert_eq!(whats(not_leaves(&source, &PROVED)), expected);
}

#[test]
fn what_is_in_order_is_passed() {
    upward_in(&[], &[]);
    circles_in(&[], &[]);
    forged_in(&[], &[]);
    no_leaf_in(&[], &[]);
    assert_eq!(whats(too_long(&tree(&[]))), [""; 0]);
    assert_eq!(whats(too_wide(&tree(&[]))), [""; 0]);
}

#[test]
fn upward_imports_are_found_however_they_are_written() {
    let expected = ["upward: src/word.rs -> src/middle/low.rs"];
    for text in [
        "use crate::middle::Low;",
        "use crate::{middle::{self, Low as Other}};",
        "fn f() { let _: Vec<crate::middle::Low> = vec![]; }",
        "fn f() { println!(\"{:?}\", [crate::middle::Low]); }",
        "use crate::middle; fn f(_: middle::Low) {}",
        "use super::middle as m; mod inner { use super::m::Low; }",
        "pub use crate::middle::Low;",
        "use crate::middle::*; fn f(_: Low) {}",
    ] {
        upward_in(&[("src/word.rs", text)], &expected);
    }
    for text in [
        "#[cfg(test)] mod tests { use crate::middle::Low; }",
        "#[cfg(test)] use crate::middle::Low;",
        "// use crate::middle::Low;",
        "/// [`crate::middle::Low`]\nfn f() { let _ = \"crate::middle::Low\"; }",
        "mod middle { pub struct Low; } use self::middle::Low;",
        "use other::middle::Low;",
    ] {
        upward_in(&[("src/word.rs", text)], &[]);
    }
    let in_tests = ("src/word/tests.rs", "use crate::middle::Low;");
    upward_in(&[in_tests], &[]);
    let of_program = (
        "src/bin/model-fs/a.rs",
        "use crate::b::B; use model_fs::middle::Low;",
    );
    upward_in(&[of_program], &[]);
}

#[test]
fn a_file_that_no_layer_has_is_found() {
    upward_in(&[("src/new.rs", "")], &["no layer: src/new.rs"]);
    upward_in(&[("src/middles.rs", "")], &["no layer: src/middles.rs"]);
}

#[test]
fn circles_are_found_also_by_way_of_others() {
    circles_in(
        &[(
            "src/middle/low.rs",
            "use super::Proved; pub struct Low(Proved);",
        )],
        &["circle: src/middle/low.rs, src/middle/proved.rs"],
    );
    circles_in(
        &[
            ("src/middle/a.rs", "use super::b::B; pub struct A(B);"),
            (
                "src/middle/b.rs",
                "pub struct B; fn f() { crate::middle::c::c() }",
            ),
            (
                "src/middle/c.rs",
                "use crate::middle::a; pub fn c() { let _: a::A; }",
            ),
        ],
        &["circle: src/middle/a.rs, src/middle/b.rs, src/middle/c.rs"],
    );
    // A file that only declares modules and re-exports their names takes no part, unless it uses
    // them itself.
    let child = (
        "src/middle/child.rs",
        "use super::Own; pub struct Child(Own);",
    );
    circles_in(
        &[
            child,
            (
                "src/middle/mod.rs",
                "mod child; mod low; pub struct Own; pub use child::Child;",
            ),
        ],
        &[],
    );
    circles_in(
        &[
            child,
            (
                "src/middle/mod.rs",
                "mod child; mod low; pub struct Own; pub use child::Child; fn f(_: Child) {}",
            ),
        ],
        &["circle: src/middle/child.rs, src/middle/mod.rs"],
    );
    circles_in(
        &[(
            "src/middle/low.rs",
            "pub struct Low; #[cfg(test)] mod tests { use super::super::Proved; }",
        )],
        &[],
    );
}

#[test]
fn long_files_and_wide_lines_are_found() {
    let long = "// a line\n".repeat(601);
    let found = too_long(&tree(&[("src/word.rs", &long)]));
    assert_eq!(whats(found), ["long: src/word.rs"]);
    let tests = "// a line\n".repeat(300) + "#[cfg(test)]\nmod tests {\n" + &long;
    assert!(too_long(&tree(&[("src/word.rs", &tests)])).is_empty());
    let tests = "#[cfg(all(test, unix))]\nmod tests {\n".to_owned() + &long;
    assert!(too_long(&tree(&[("src/word.rs", &tests)])).is_empty());
    let no_tests = "#[cfg(unix)]\nmod tests {\n".to_owned() + &long;
    let found = too_long(&tree(&[("src/word.rs", &no_tests)]));
    assert_eq!(whats(found), ["long: src/word.rs"]);
    assert!(too_long(&tree(&[("src/word/tests.rs", &long)])).is_empty());
    let reading = "// a line\n".repeat(401);
    let found = too_long(&tree(&[("src/reading/a.rs", &reading)]));
    assert_eq!(whats(found), ["long: src/reading/a.rs"]);

    let wide = format!("//! {}\n", "ä".repeat(97));
    let found = too_wide(&tree(&[("src/word.rs", &wide)]));
    assert_eq!(whats(found), ["wide: src/word.rs"]);
    let fits = format!("//! {}\n", "ä".repeat(96));
    assert!(too_wide(&tree(&[("src/word.rs", &fits)])).is_empty());
    let wide = format!("fn f() {{ \"{}\" }}", "a".repeat(100));
    let found = too_wide(&tree(&[("tests/a/main.rs", &wide)]));
    assert_eq!(whats(found), ["wide: tests/a/main.rs"]);
}

#[test]
fn lines_that_cant_be_wrapped_may_be_wide() {
    let wide = |line: &str| line.replace('*', &"a b".repeat(50));
    for line in [
        "//! | a | * |",
        "    /// | a | * |",
        "    r#\"*\"#",
        "    r\"*\",",
    ] {
        assert!(too_wide(&tree(&[("src/word.rs", &wide(line))])).is_empty());
    }
    let address = format!("//! https://example.org/{}", "a".repeat(100));
    assert!(too_wide(&tree(&[("src/word.rs", &address)])).is_empty());
    let address = format!("//! See https://example.org/{}", "a".repeat(100));
    assert_eq!(too_wide(&tree(&[("src/word.rs", &address)])).len(), 1);
    for line in ["/// a | * |", "| * |", "f(r#\"*\"#)", "\"*\""] {
        assert_eq!(
            too_wide(&tree(&[("src/word.rs", &wide(line))])).len(),
            1,
            "{line}"
        );
    }
}

#[test]
fn trusted_types_that_have_modules_beneath_them_are_found() {
    let types = "pub struct Proved { by: u64 } pub struct Length(u64);";
    let expected = ["no leaf: src/middle/proved.rs"];
    for modules in [
        "mod deeper;",
        "pub(super) mod deeper;",
        "#[path = \"elsewhere.rs\"] mod deeper;",
        "#[cfg(unix)] mod deeper;",
        "mod inner { mod deeper; }",
    ] {
        no_leaf_in(
            &[("src/middle/proved.rs", &format!("{modules} {types}"))],
            &expected,
        );
    }
    for modules in [
        "#[cfg(test)] mod tests;",
        "#[cfg(test)] mod tests { mod deeper; }",
        "mod inner { pub struct Here; }",
        "// mod deeper;",
    ] {
        no_leaf_in(
            &[("src/middle/proved.rs", &format!("{modules} {types}"))],
            &[],
        );
    }
    // Other files may have modules.
    no_leaf_in(&[("src/middle/low.rs", "mod deeper; pub struct Low;")], &[]);
}

#[test]
fn what_is_known_is_passed_as_long_as_it_is_so() {
    let wide = format!("//! {}\n", "a".repeat(97));
    let found = too_wide(&tree(&[("src/word.rs", &wide)]));
    let known = "wide: src/word.rs";
    assert!(judge(&found, &[known]).is_empty());
    assert_eq!(judge(&found, &[]).len(), 1);
    assert_eq!(judge(&[], &[known]).len(), 1);
    assert_eq!(judge(&found, &["wide: src/top.rs"]).len(), 2);
}

#[test]
fn forged_constructors_are_found() {
    let inside = "mod deeper;
        use crate::middle::Low;
        /// Only `of` makes one.
        pub struct Proved { by: Low }
        pub struct Length(u64);";
    for text in [
        "use super::Proved; pub fn forge(by: super::super::Low) -> Proved { Proved { by } }",
        "pub fn forge(by: L) -> P { super::Proved { by } }",
        "use super::Proved as P; pub fn forge(by: L) -> P { match by { by => P { by } } }",
        "use super::*; impl Proved { pub fn forge(by: L) -> Self { Self { by } } }",
        "use super::Proved; impl From<L> for Proved { fn from(by: L) -> Proved { todo!() } }",
        "use super::Proved; impl Proved { fn forge() -> Option<Box<Self>> { None } }",
        "use super::Proved; impl Proved { fn forge() -> (u64, Self) { todo!() } }",
    ] {
        forged_in(
            &[
                ("src/middle/proved.rs", inside),
                ("src/middle/proved/deeper.rs", text),
            ],
            &["forged: Proved in src/middle/proved/deeper.rs"],
        );
    }
    forged_in(
        &[
            ("src/middle/proved.rs", inside),
            (
                "src/middle/proved/deeper.rs",
                "use super::Length; fn f() -> Length { Length(7) }",
            ),
        ],
        &["forged: Length in src/middle/proved/deeper.rs"],
    );
    for (definition, expected) in [
        (
            "pub struct Proved { pub by: u64 } pub struct Length(u64);",
            "forged: Proved",
        ),
        (
            "pub struct Proved { by: u64, #[x] pub(crate) of: u64 } pub struct Length(u64);",
            "forged: Proved",
        ),
        (
            "#[derive(Default)] pub struct Proved { by: u64 } pub struct Length(u64);",
            "forged: Proved",
        ),
        (
            "#[derive(serde::Deserialize)] pub struct Length(u64); pub struct Proved;",
            "forged: Length",
        ),
        (
            "pub struct Length(pub u64); pub struct Proved;",
            "forged: Length",
        ),
        ("pub struct Length(u64);", "forged: Proved"),
    ] {
        forged_in(&[("src/middle/proved.rs", definition)], &[expected]);
    }
}
