//! The rules, as functions over a tree of files: each gives what breaks it.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::source::{Found, Mention, Reference, Source, Tree, is_punct, is_tests, is_word};

/// Lines of a file without its tests.
const MOST_LINES: usize = 600;

/// The same, for folders with a lower limit.
const MOST_LINES_IN: [(&str, usize); 1] = [("src/reading/", 400)];

/// Columns of a line, comments included.
const MOST_COLUMNS: usize = 100;

/// What breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The rule and what breaks it: what an exception names.
    pub(crate) what: String,
    /// More about it, which may change.
    pub(crate) more: String,
}

fn finding(what: String, more: impl Into<String>) -> Finding {
    let more = more.into();
    Finding { what, more }
}

/// Violations that aren't known, and known ones that no longer occur.
pub(crate) fn judge(findings: &[Finding], known: &[&str]) -> Vec<String> {
    let known: BTreeSet<&str> = known.iter().copied().collect();
    let found: BTreeSet<&str> = findings.iter().map(|found| found.what.as_str()).collect();
    let unknown = findings
        .iter()
        .filter(|finding| !known.contains(finding.what.as_str()))
        .map(|Finding { what, more }| format!("{what}\n    ({more})"));
    let gone = known
        .difference(&found)
        .map(|what| format!("{what}\n    (in the list of what is known, and no longer so)"));
    unknown.chain(gone).collect()
}

/// A layer, or a part of one: its name, and the modules that it has (`oms`, `reading/source`).
pub(crate) struct Layer {
    pub(crate) name: &'static str,
    pub(crate) modules: &'static [&'static str],
}

/// Layers from the bottom, of all of `src` or of one folder of it.
pub(crate) struct Order {
    /// `src/` or a folder beneath it.
    pub(crate) folder: &'static str,
    pub(crate) layers: &'static [Layer],
}

impl Order {
    /// The layer of a file, by its longest entry. The file that declares the folder's modules and
    /// passes on what they have is in none, unless it is named.
    fn layer(&self, file: &str) -> Option<usize> {
        let module = module_in(self.folder, file)?;
        let mut best = None;
        for (index, layer) in self.layers.iter().enumerate() {
            for entry in layer.modules {
                let beneath = module.strip_prefix(entry);
                if beneath.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                    && best.is_none_or(|(length, _)| length < entry.len())
                {
                    best = Some((entry.len(), index));
                }
            }
        }
        best.map(|(_, index)| index)
    }

    /// Whether a file declares the modules of this folder and nothing else places it.
    fn is_front(&self, file: &str) -> bool {
        let folder = self.folder.trim_end_matches('/');
        file == format!("{folder}/lib.rs")
            || file == format!("{folder}/mod.rs")
            || file == format!("{folder}.rs")
    }
}

/// The module that a file is, from a folder on.
fn module_in<'a>(folder: &str, file: &'a str) -> Option<&'a str> {
    let module = file.strip_prefix(folder)?.strip_suffix(".rs")?;
    Some(module.strip_suffix("/mod").unwrap_or(module))
}

/// Files that use what is above them, and files that no layer has.
pub(crate) fn upward(source: &Source, order: &Order) -> Vec<Finding> {
    let mut findings = Vec::new();
    let files: BTreeSet<&str> = source.modules.values().map(|m| m.file.as_str()).collect();
    for file in files {
        let inside = file.starts_with(order.folder) && !order.is_front(file);
        if inside && order.layer(file).is_none() {
            findings.push(finding(
                format!("no layer: {file}"),
                "the table of layers doesn't have it",
            ));
        }
    }
    for Reference { from, to, .. } in &source.references {
        if let (Some(low), Some(high)) = (order.layer(from), order.layer(to))
            && low < high
        {
            let [low, high] = [low, high].map(|index| order.layers[index].name);
            findings.push(finding(
                format!("upward: {from} -> {to}"),
                format!("{low} is beneath {high}"),
            ));
        }
    }
    findings
}

/// Files that use one another, directly or by way of others.
pub(crate) fn circles(source: &Source) -> Vec<Finding> {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for reference in source.references.clone() {
        if !reference.passed_on {
            graph
                .entry(reference.from)
                .or_default()
                .insert(reference.to);
        }
    }
    let reached: BTreeMap<&String, BTreeSet<&String>> = graph
        .keys()
        .map(|file| (file, reachable(&graph, file)))
        .collect();
    let mut circles = BTreeSet::new();
    for (file, beyond) in &reached {
        if beyond.contains(file) {
            let with: Vec<&str> = beyond
                .iter()
                .filter(|other| reached.get(**other).is_some_and(|back| back.contains(file)))
                .map(|other| other.as_str())
                .collect();
            circles.insert(with);
        }
    }
    circles
        .into_iter()
        .map(|files| {
            let within = |from: &&str| {
                let uses = graph[*from].iter().map(String::as_str);
                let uses: Vec<&str> = uses.filter(|to| files.contains(to)).collect();
                format!("{from} uses {}", uses.join(", "))
            };
            let more: Vec<String> = files.iter().map(within).collect();
            finding(format!("circle: {}", files.join(", ")), more.join("; "))
        })
        .collect()
}

fn reachable<'a>(
    graph: &'a BTreeMap<String, BTreeSet<String>>,
    from: &String,
) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&String> = graph[from].iter().collect();
    while let Some(file) = next.pop() {
        if found.insert(file) {
            next.extend(graph.get(file).into_iter().flatten());
        }
    }
    found
}

/// Files that are too long without their tests.
pub(crate) fn too_long(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree {
        if is_tests(file) {
            continue;
        }
        let lines = lines_without_tests(text);
        let limit = MOST_LINES_IN
            .iter()
            .find(|(folder, _)| file.starts_with(folder));
        let limit = limit.map_or(MOST_LINES, |(_, limit)| *limit);
        if lines > limit {
            findings.push(finding(
                format!("long: {file}"),
                format!("{lines} lines, at most {limit}"),
            ));
        }
    }
    findings
}

/// Lines before the tests at the end.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).rposition(|pair| {
        let is_for_tests = pair[0] == "#[cfg(test)]" || pair[0].starts_with("#[cfg(all(test,");
        is_for_tests && pair[1].starts_with("mod tests")
    });
    tests.unwrap_or(lines.len())
}

/// Files with lines that are too wide.
pub(crate) fn too_wide(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree {
        let wide: Vec<String> = text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.chars().count() > MOST_COLUMNS && !cant_be_wrapped(line))
            .map(|(index, _)| (index + 1).to_string())
            .collect();
        if !wide.is_empty() {
            let more = format!(
                "more than {MOST_COLUMNS} columns in line {}",
                wide.join(", ")
            );
            findings.push(finding(format!("wide: {file}"), more));
        }
    }
    findings
}

/// A row of a table in a comment, an address alone in one, or a raw string, which can't be
/// continued on the next line.
fn cant_be_wrapped(line: &str) -> bool {
    let line = line.trim_start();
    let comment = ["//! ", "/// ", "// "]
        .iter()
        .find_map(|sign| line.strip_prefix(sign));
    match comment {
        Some(text) => text.starts_with('|') || (text.contains("://") && !text.contains(' ')),
        None => line.starts_with("r\"") || line.starts_with("r#\""),
    }
}

/// A type that only a proof makes, and the file that has its constructors.
pub(crate) struct Trusted {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
}

/// What would make a trusted type outside of its file, or let others fill in its fields.
pub(crate) fn forged(source: &Source, trusted: &[Trusted]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Trusted { name, file } in trusted {
        let of_file = source.modules.values().filter(|m| m.file == *file);
        let defined = of_file
            .flat_map(|module| &module.structs)
            .find(|found| found.name == *name);
        let Some(defined) = defined else {
            findings.push(finding(
                format!("forged: {name}"),
                format!("{file} doesn't define it"),
            ));
            continue;
        };
        for derived in ["Default", "Deserialize"] {
            if defined.derives.contains(derived) {
                findings.push(finding(
                    format!("forged: {name}"),
                    format!("{derived} makes one without a proof"),
                ));
            }
        }
        let fields = defined.fields.iter().flat_map(Group::stream);
        if fields.into_iter().any(|token| is_word(Some(&token), "pub")) {
            findings.push(finding(
                format!("forged: {name}"),
                "a field of it isn't private",
            ));
        }
    }
    for (path, module) in &source.modules {
        let is_trusted = |path_of_type: &[String]| {
            let Some(Found::Item {
                file,
                name,
                beneath: false,
            }) = source.find(path, path_of_type)
            else {
                return None;
            };
            trusted
                .iter()
                .find(|trusted| trusted.name == name && trusted.file == file)
                .filter(|trusted| trusted.file != module.file)
        };
        for mention in module.mentions.iter().filter(|mention| makes(mention)) {
            if let Some(Trusted { name, .. }) = is_trusted(&mention.path) {
                findings.push(finding(
                    format!("forged: {name} in {}", module.file),
                    "a value is written there",
                ));
            }
        }
        for block in &module.impls {
            if let Some(Trusted { name, .. }) = is_trusted(&block.path)
                && gives(block.body.stream(), name)
            {
                findings.push(finding(
                    format!("forged: {name} in {}", module.file),
                    "a function of the type gives one there",
                ));
            }
        }
    }
    findings
}

/// Files of trusted types that aren't leaves: private fields are open to modules beneath, so that
/// what those do would have to be trusted too.
pub(crate) fn not_leaves(source: &Source, trusted: &[Trusted]) -> Vec<Finding> {
    let files: BTreeSet<&str> = trusted.iter().map(|trusted| trusted.file).collect();
    let modules = source.modules.values();
    modules
        .filter(|module| files.contains(module.file.as_str()) && !module.beneath.is_empty())
        .map(|module| {
            let beneath: Vec<&str> = module.beneath.iter().map(String::as_str).collect();
            finding(
                format!("no leaf: {}", module.file),
                format!("beneath it is {}", beneath.join(", ")),
            )
        })
        .collect()
}

/// Whether a path with a group behind it is a value: no pattern with `..` alone, no type before a
/// body.
fn makes(mention: &Mention) -> bool {
    let Some(group) = &mention.group else {
        return false;
    };
    let before = mention.before.as_str();
    // `impl<T> Type {`, `-> Type {`, `-> &Type {`, `-> &'a Type {`; not `=> Type {`.
    let a_type = ["impl", "for", "dyn", ">&"].contains(&before)
        || before.starts_with('\'')
        || (before.ends_with('>') && before != "=>");
    match group.delimiter() {
        Delimiter::Brace => !a_type && group.stream().to_string().replace(' ', "") != "..",
        Delimiter::Parenthesis => before != "fn",
        _ => false,
    }
}

/// Whether a block has a function that returns the type, by its name or as `Self`.
fn gives(block: TokenStream, name: &str) -> bool {
    let tokens: Vec<TokenTree> = block.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if !is_word(tokens.get(at), "fn") {
            at += 1;
            continue;
        }
        let mut arrow = false;
        at += 1;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => break,
                TokenTree::Punct(end) if end.as_char() == ';' => break,
                TokenTree::Ident(word) if *word == "where" => arrow = false,
                TokenTree::Group(group) if arrow => {
                    let inside: Vec<String> =
                        group.stream().into_iter().map(|t| t.to_string()).collect();
                    if inside.iter().any(|word| word == "Self" || word == name) {
                        return true;
                    }
                }
                TokenTree::Ident(word) if arrow && (*word == "Self" || *word == name) => {
                    return true;
                }
                _ => {}
            }
            arrow |= is_punct(Some(token), '>') && is_punct(tokens.get(at - 1), '-');
            at += 1;
        }
    }
    false
}
