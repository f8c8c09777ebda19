//! The table of layers that `docs/design.md` shows, made from the heads of the modules.

use std::fmt::Write as _;

use crate::rules::Order;
use crate::source::Tree;

const BEGIN: &str = "<!-- layers -->\n";
const END: &str = "<!-- /layers -->\n";

/// The table, the highest layer first.
pub(crate) fn table(tree: &Tree, order: &Order) -> String {
    let mut table = "\n| layer | where | holds |\n|---|---|---|\n".to_owned();
    for (number, layer) in order.layers.iter().enumerate().rev() {
        let mut name = format!("{number} {}", layer.name);
        for module in layer.modules {
            let file = format!("{}{module}.rs", order.folder);
            let folder = format!("{}{module}/", order.folder);
            let fronts = ["mod.rs", "main.rs"].map(|front| format!("{folder}{front}"));
            let (shown, head) = match (tree.get(&file), fronts.iter().find_map(|f| tree.get(f))) {
                (Some(head), _) => (file, head),
                (None, Some(head)) => (folder, head),
                (None, None) => continue,
            };
            let holds = first_sentence(head);
            // Writing to a string doesn't fail.
            let _ = writeln!(table, "| {name} | `{shown}` | {holds} |");
            name.clear();
        }
    }
    table + "\n"
}

/// The first sentence of a module's head, without links.
fn first_sentence(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let lines = lines.map(str::trim).take_while(|line| !line.is_empty());
    let head = lines.collect::<Vec<_>>().join(" ");
    let sentence = match head.find(". ") {
        Some(end) => &head[..end],
        None => head.trim_end_matches('.'),
    };
    without_links(sentence).replace('|', "\\|")
}

/// `[text](place)`, `[text][place]` and `[text]` as their text.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let Some(close) = rest[open..].find(']').map(|at| open + at) else {
            break;
        };
        plain += &rest[..open];
        plain += &rest[open + 1..close];
        rest = &rest[close + 1..];
        for (open, close) in [('(', ')'), ('[', ']')] {
            if let Some(place) = rest.strip_prefix(open)
                && let Some(end) = place.find(close)
            {
                rest = &place[end + 1..];
                break;
            }
        }
    }
    plain + rest
}

/// What is between the marks; panics where they are missing.
pub(crate) fn block(document: &str) -> &str {
    let start = document.find(BEGIN).expect("the mark before the table") + BEGIN.len();
    let end = document[start..].find(END).expect("the mark behind it");
    &document[start..start + end]
}

/// The document with another table.
pub(crate) fn with_block(document: &str, table: &str) -> String {
    let start = document.find(BEGIN).expect("the mark before the table") + BEGIN.len();
    let end = start + block(document).len();
    [&document[..start], table, &document[end..]].concat()
}

#[test]
fn sentences_are_taken_without_links() {
    let head =
        "//! Files: [`Output`] and\n//! [the rest](self::rest). More.\n//!\n//! Guarantees: x.\n";
    assert_eq!(first_sentence(head), "Files: `Output` and the rest");
    assert_eq!(first_sentence("//! One | two.\n"), "One \\| two");
}

#[test]
fn the_block_is_replaced_and_nothing_else() {
    let document = format!("before\n{BEGIN}old\n{END}after\n");
    assert_eq!(block(&document), "old\n");
    let new = with_block(&document, "new\n");
    assert_eq!(new, format!("before\n{BEGIN}new\n{END}after\n"));
}
