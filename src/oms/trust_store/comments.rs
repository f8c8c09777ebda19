//! Whose the comments of a trust file are, when one of its entries goes.
//!
//! Guarantees: a comment above an entry, with an empty line between the two, isn't the entry's, and
//! stays where it is, above what comes next. Doesn't: keep what stands directly above an entry that
//! is removed, or in it.

use toml_edit::{Decor, DocumentMut, Item, RawString, Table, TableLike};

/// Removes an entry of `signers`; gives whether it was there.
pub(super) fn remove(document: &mut DocumentMut, name: &str) -> bool {
    let Some(signers) = signers(document) else {
        return false;
    };
    let Some(above) = Above::of(signers, name) else {
        return false;
    };
    let after: Vec<String> = (signers.iter().map(|(name, _)| name.to_owned()))
        .skip_while(|other| other != name)
        .skip(1)
        .collect();
    signers.remove(name);
    let stays = of_others(&above.text);
    if stays.is_empty() {
        return true;
    }
    let next_line = |table: &mut dyn TableLike| {
        (after.iter()).any(|name| with_first_key(table, name, &mut |decor| put_above(decor, stays)))
    };
    if above.table.is_none() && self::signers(document).is_some_and(next_line) {
        return true;
    }
    if let Some(table) = next_table(document.as_table_mut(), above.table) {
        put_above(table.decor_mut(), stays);
    } else {
        let trailing = format!("{stays}{}", text(Some(document.trailing())));
        document.set_trailing(trailing);
    }
    true
}

/// Has a new table of an entry stand where the old one did, beneath the same comments. The comments
/// of a file without any entry are above its first one.
pub(super) fn put_in_place(document: &mut DocumentMut, name: &str, table: &mut Table) {
    if document.is_empty() {
        let trailing = text(Some(document.trailing())).to_owned();
        if trailing.contains('#') {
            document.set_trailing("");
            let end = if trailing.ends_with('\n') { "" } else { "\n" };
            table.decor_mut().set_prefix(format!("{trailing}{end}"));
        }
        return;
    }
    let Some(signers) = signers(document) else {
        return;
    };
    // Above a line of its own it stays by itself.
    if signers.get(name).is_some_and(Item::is_value) {
        return;
    }
    if let Some(above) = Above::of(signers, name) {
        table.set_position(above.table);
        if above.text.contains('#') {
            table.decor_mut().set_prefix(above.text);
        }
    }
}

fn signers(document: &mut DocumentMut) -> Option<&mut dyn TableLike> {
    document
        .get_mut("signers")
        .and_then(Item::as_table_like_mut)
}

/// What stands above an entry.
struct Above {
    text: String,
    /// The position of the table that it stands above; none of a line within one.
    table: Option<isize>,
}

impl Above {
    fn of(signers: &mut dyn TableLike, name: &str) -> Option<Self> {
        let item = signers.get(name)?;
        let mut tables = Vec::new();
        headed(item, &mut tables);
        if let Some(first) = tables.into_iter().min_by_key(|table| table.position()) {
            return Some(Self {
                text: text(first.decor().prefix()).to_owned(),
                table: first.position(),
            });
        }
        let mut above = String::new();
        with_first_key(signers, name, &mut |decor| {
            text(decor.prefix()).clone_into(&mut above);
        });
        Some(Self {
            text: above,
            table: None,
        })
    }
}

/// The tables of an item that have a header of their own.
fn headed<'a>(item: &'a Item, found: &mut Vec<&'a Table>) {
    let Item::Table(table) = item else {
        return;
    };
    if !table.is_implicit() && !table.is_dotted() {
        found.push(table);
    }
    for (_, item) in table {
        headed(item, found);
    }
}

/// The first table with a header behind a position.
fn next_table(table: &mut Table, behind: Option<isize>) -> Option<&mut Table> {
    let is_next =
        |table: &Table| !table.is_implicit() && !table.is_dotted() && table.position() > behind;
    let mut next = None;
    find_next(table, &mut next, &is_next);
    let position = next?;
    at_position(table, position)
}

fn find_next(table: &Table, next: &mut Option<isize>, is_next: &dyn Fn(&Table) -> bool) {
    for (_, item) in table {
        if let Item::Table(inner) = item {
            if let Some(position) = inner.position().filter(|_| is_next(inner)) {
                *next = Some(next.map_or(position, |before| before.min(position)));
            }
            find_next(inner, next, is_next);
        }
    }
}

fn at_position(table: &mut Table, position: isize) -> Option<&mut Table> {
    for (_, item) in table.iter_mut() {
        if let Item::Table(inner) = item {
            let is_headed = !inner.is_implicit() && !inner.is_dotted();
            if is_headed && inner.position() == Some(position) {
                return Some(inner);
            }
            if let Some(found) = at_position(inner, position) {
                return Some(found);
            }
        }
    }
    None
}

/// Gives what stands around the first line of an entry that is a line or several, in no table of
/// its own; gives whether there is one.
fn with_first_key(table: &mut dyn TableLike, name: &str, give: &mut dyn FnMut(&mut Decor)) -> bool {
    match table.get_mut(name) {
        Some(Item::Table(inner)) => {
            let first = inner.iter().next().map(|(name, _)| name.to_owned());
            inner.is_dotted() && first.is_some_and(|first| with_first_key(inner, &first, give))
        }
        Some(Item::Value(_)) => match table.key_mut(name) {
            Some(mut key) => {
                give(key.leaf_decor_mut());
                true
            }
            None => false,
        },
        _ => false,
    }
}

fn put_above(decor: &mut Decor, stays: &str) {
    let prefix = format!(
        "{stays}{}",
        text(decor.prefix()).trim_start_matches(['\r', '\n'])
    );
    decor.set_prefix(prefix);
}

fn text(raw: Option<&RawString>) -> &str {
    raw.and_then(RawString::as_str).unwrap_or_default()
}

/// What of the text above an entry isn't about it: the comments down to the last empty line, with
/// all empty lines.
fn of_others(above: &str) -> &str {
    let mut end = 0;
    let mut at = 0;
    for line in above.split_inclusive('\n') {
        at += line.len();
        if line.ends_with('\n') && line.trim().is_empty() {
            end = at;
        }
    }
    match above.get(..end) {
        Some(others) if others.contains('#') => others,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(text: &str, name: &str) -> String {
        let mut document: DocumentMut = text.parse().unwrap();
        assert!(remove(&mut document, name), "{text}");
        document.to_string()
    }

    fn replaced(text: &str, name: &str) -> String {
        let mut document: DocumentMut = text.parse().unwrap();
        let mut table = Table::new();
        table.insert("distrusted", toml_edit::value(true));
        put_in_place(&mut document, name, &mut table);
        let signers = signers(&mut document).unwrap();
        signers.insert(name, Item::Table(table));
        document.to_string()
    }

    #[test]
    fn a_comment_that_is_not_of_the_entry_stays() {
        for (before, after) in [
            // The head of a file, above an entry that has a comment of its own.
            (
                "# policy\n\n# of a\n[signers.a]\nx = 1\n\n[signers.b]\nx = 2\n",
                "# policy\n\n[signers.b]\nx = 2\n",
            ),
            (
                "\n# policy\n#\n\n\n[signers.a]\nx = 1\n# of b\n[signers.b]\nx = 2\n",
                "\n# policy\n#\n\n\n# of b\n[signers.b]\nx = 2\n",
            ),
            // Of Windows, whose line ends become ours with any change.
            (
                "# policy\r\n\r\n[signers.a]\r\nx = 1\r\n[signers.b]\r\n",
                "# policy\n\n[signers.b]\n",
            ),
            // Of the last entry, and the only one.
            (
                "[signers.b]\nx = 2\n# note\n\n[signers.a]\nx = 1\n# tail\n",
                "[signers.b]\nx = 2\n# note\n\n# tail\n",
            ),
            ("# policy\n\n[signers.a]\nx = 1\n", "# policy\n\n"),
            // An entry in several tables, the second one first, or the first one left out.
            (
                "# p\n\n[signers.a]\n[signers.a.models]\nx = []\n[signers.b]\n",
                "# p\n\n[signers.b]\n",
            ),
            (
                "# p\n\n[signers.a.models]\nx = []\n\n# q\n\n[signers.b]\n[signers.a]\ny = 1\n",
                "# p\n\n# q\n\n[signers.b]\n",
            ),
            (
                "# p\n\n[signers.a.models]\nx = []\n[signers.b]\n",
                "# p\n\n[signers.b]\n",
            ),
            // Entries that are lines.
            (
                "[signers]\n# p\n\na = { x = 1 }\nb = { x = 2 }\n",
                "[signers]\n# p\n\nb = { x = 2 }\n",
            ),
            (
                "[signers]\n# p\n\na.x = 1\na.y = 2\nb.x = 3\n",
                "[signers]\n# p\n\nb.x = 3\n",
            ),
            (
                "# p\n\nsigners.a.x = 1\nsigners.b.x = 3\n",
                "# p\n\nsigners.b.x = 3\n",
            ),
            // Its own goes, and an empty line is no comment.
            ("[signers.b]\n\n# of a\n[signers.a]\n", "[signers.b]\n"),
            ("# of a\n[signers.a]\n[signers.b]\n", "[signers.b]\n"),
        ] {
            assert_eq!(without(before, "a"), after, "{before}");
        }
        let mut document: DocumentMut = "[signers.a]\n".parse().unwrap();
        assert!(!remove(&mut document, "b"));
        assert!(!remove(&mut DocumentMut::new(), "a"));
    }

    #[test]
    fn an_entry_is_replaced_where_it_stands() {
        let new = "[signers.a]\ndistrusted = true\n";
        for (above, old, below) in [
            ("# policy\n\n# of a\n", "[signers.a]\nx = 1\n", ""),
            (
                "# policy\n\n",
                "[signers.a]\nx = 1\n[signers.a.models]\n# in a\ny = 2\n",
                "\n# of b\n[signers.b]\n",
            ),
            (
                "[signers.b]\n# c\n",
                "[signers.a.models]\nx = 1\n",
                "[signers.c]\n",
            ),
        ] {
            let before = format!("{above}{old}{below}");
            assert_eq!(replaced(&before, "a"), format!("{above}{new}{below}"));
        }
    }
}
