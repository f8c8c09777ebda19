//! The source as these rules see it: files by their paths, their tokens, and what each file uses of
//! which other.
//!
//! Guarantees: comments, strings and what is compiled for tests only (`#[cfg(test)]`) count for
//! nothing; a path is followed through `use` declarations, renamed ones and those of other modules
//! too, to the file that defines its last name. Doesn't: know types. What is called as a method
//! isn't seen, nor what a glob import brings in without a keyword that defines it.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Files by their paths (`src/name.rs`), with what is in them.
pub(crate) type Tree = BTreeMap<String, String>;

/// A module: the crate (`lib`, `bin`), then names.
type ModulePath = Vec<String>;

/// Where the program's crate lies.
const PROGRAM: &str = "src/bin/model-fs/";

/// How deep `use` declarations lead to one another before a path is given up.
const MOST_STEPS: usize = 16;

/// Whether a file is compiled for tests only.
pub(crate) fn is_tests(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("/testing.rs") || path.contains("/tests/")
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Module,
    /// A name that the file defines, or something `beneath` it (`Type::function`).
    Item {
        file: String,
        name: String,
        beneath: bool,
    },
}

/// That one file uses a name of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub(crate) from: String,
    pub(crate) to: String,
    /// Only to offer the name to others.
    pub(crate) passed_on: bool,
}

/// A `use` declaration of one name, or of all (`*`).
#[derive(Debug, Clone)]
struct Use {
    path: Vec<String>,
    name: String,
    public: bool,
}

/// A path in code.
#[derive(Debug, Clone)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    /// What comes before: a word, or up to two signs.
    pub(crate) before: String,
    /// The group in brackets of any kind that follows at once.
    pub(crate) group: Option<Group>,
}

/// What one module says, in a file of its own or within one.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) file: String,
    uses: Vec<Use>,
    pub(crate) mentions: Vec<Mention>,
    /// Names that follow `struct`, `fn` and the like.
    defines: BTreeSet<String>,
    pub(crate) structs: Vec<Struct>,
    pub(crate) impls: Vec<Impl>,
    /// Modules that it says are in other files.
    pub(crate) beneath: BTreeSet<String>,
}

/// A struct's definition.
#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    /// What `derive` lists.
    pub(crate) derives: BTreeSet<String>,
    pub(crate) fields: Option<Group>,
}

/// An `impl` block.
#[derive(Debug)]
pub(crate) struct Impl {
    /// The type's path.
    pub(crate) path: Vec<String>,
    pub(crate) body: Group,
}

/// All of it, read.
pub(crate) struct Source {
    pub(crate) modules: BTreeMap<ModulePath, Module>,
    /// What each file uses of which other.
    pub(crate) references: BTreeSet<Reference>,
}

impl Source {
    /// Reads all files of `src` that aren't tests.
    pub(crate) fn read(tree: &Tree) -> Self {
        let mut modules = BTreeMap::new();
        for (file, text) in tree {
            if !file.starts_with("src/") || is_tests(file) {
                continue;
            }
            let stream: TokenStream = text
                .parse()
                .unwrap_or_else(|error| panic!("{file}: {error}"));
            read_module(file, &module_path(file), stream, &mut modules);
        }
        let mut source = Self {
            modules,
            references: BTreeSet::new(),
        };
        source.references = source.find_references();
        source
    }

    /// What a path in a module leads to; `None` where that isn't in this tree.
    pub(crate) fn find(&self, module: &ModulePath, path: &[String]) -> Option<Found> {
        self.find_within(module, path, MOST_STEPS)
    }

    fn find_within(&self, module: &ModulePath, path: &[String], steps: usize) -> Option<Found> {
        let steps = steps.checked_sub(1)?;
        let (first, mut rest) = path.split_first()?;
        let mut at = module.clone();
        match first.as_str() {
            "crate" => at.truncate(1),
            "self" => {}
            "super" => {
                at.pop();
                while rest.first().is_some_and(|name| name == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            "model_fs" if at[0] == "bin" => at = vec!["lib".to_owned()],
            // A module beneath, or what a `use` declaration says.
            _ => rest = path,
        }
        self.walk(at, rest, steps)
    }

    /// Follows names from a module on.
    fn walk(&self, mut at: ModulePath, mut rest: &[String], steps: usize) -> Option<Found> {
        let name = loop {
            let Some((name, after)) = rest.split_first() else {
                return Some(Found::Module);
            };
            let mut beneath = at.clone();
            beneath.push(name.clone());
            if !self.modules.contains_key(&beneath) {
                break name;
            }
            (at, rest) = (beneath, after);
        };
        let module = self.modules.get(&at)?;
        if module.defines.contains(name) {
            return Some(Found::Item {
                file: module.file.clone(),
                name: name.clone(),
                beneath: rest.len() > 1,
            });
        }
        for declared in module.uses.iter().filter(|declared| declared.name == *name) {
            // `use name::…` of another crate's name leads back to itself.
            if declared.path == [name.clone()] {
                continue;
            }
            let path = [&declared.path[..], &rest[1..]].concat();
            return self.find_within(&at, &path, steps);
        }
        for all in module.uses.iter().filter(|declared| declared.name == "*") {
            let path = [&all.path[..], rest].concat();
            if let Some(found) = self.find_within(&at, &path, steps) {
                return Some(found);
            }
        }
        None
    }

    fn find_references(&self) -> BTreeSet<Reference> {
        let mut references = BTreeSet::new();
        for (path, module) in &self.modules {
            let mut add = |found: Option<Found>, passed_on: bool| {
                if let Some(Found::Item { file, .. }) = found
                    && file != module.file
                {
                    references.insert(Reference {
                        from: module.file.clone(),
                        to: file,
                        passed_on,
                    });
                }
            };
            for declared in &module.uses {
                let used = module.mentions.iter().any(|m| m.path[0] == declared.name);
                add(self.find(path, &declared.path), declared.public && !used);
            }
            for mention in &module.mentions {
                add(self.find(path, &mention.path), false);
            }
        }
        // A use counts, even where the name is re-exported too.
        let used: Vec<Reference> = references
            .iter()
            .filter(|reference| !reference.passed_on)
            .cloned()
            .collect();
        for mut reference in used {
            reference.passed_on = true;
            references.remove(&reference);
        }
        references
    }
}

/// The module that a file is.
fn module_path(file: &str) -> ModulePath {
    let (of, inside) = match file.strip_prefix(PROGRAM) {
        Some(inside) => ("bin", inside),
        None => ("lib", file.strip_prefix("src/").unwrap_or(file)),
    };
    let inside = inside.strip_suffix(".rs").unwrap_or(inside);
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    let mut path = vec![of.to_owned()];
    if !["lib", "main"].contains(&inside) {
        path.extend(inside.split('/').map(str::to_owned));
    }
    path
}

fn read_module(
    file: &str,
    path: &ModulePath,
    stream: TokenStream,
    modules: &mut BTreeMap<ModulePath, Module>,
) {
    let mut module = Module {
        file: file.to_owned(),
        ..Module::default()
    };
    let mut inner = Vec::new();
    read_tokens(stream, true, &mut module, &mut inner);
    modules.insert(path.clone(), module);
    for (name, body) in inner {
        let mut path = path.clone();
        path.push(name);
        read_module(file, &path, body, modules);
    }
}

/// Reads the tokens of a module, or of a group in it; modules within come into `inner`.
fn read_tokens(
    stream: TokenStream,
    outermost: bool,
    module: &mut Module,
    inner: &mut Vec<(String, TokenStream)>,
) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut derives = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        if let Some((after, attribute)) = attribute(&tokens, at) {
            at = after;
            match attribute.first().map(String::as_str) {
                Some("cfg") if is_for_tests(&attribute) => {
                    // Further attributes belong to the same item.
                    while let Some((after, _)) = self::attribute(&tokens, at) {
                        at = after;
                    }
                    at = end_of_item(&tokens, at);
                }
                Some("derive") => derives.extend(attribute.into_iter().skip(1)),
                _ => {}
            }
            continue;
        }
        match &tokens[at] {
            TokenTree::Group(group) => {
                read_tokens(group.stream(), false, module, inner);
                at += 1;
            }
            TokenTree::Ident(word) => {
                let word = word.to_string();
                match (word.as_str(), tokens.get(at + 1)) {
                    // Not the one of `impl Trait + use<'a>`.
                    ("use", Some(TokenTree::Ident(_) | TokenTree::Group(_))) => {
                        let end = position(&tokens, at, ';');
                        let public = at > 0 && is_visibility(&tokens[at - 1]);
                        let mut names = Vec::new();
                        read_use(&tokens[at + 1..end], &[], &mut names);
                        module
                            .uses
                            .extend(names.into_iter().map(|(path, name)| Use {
                                path,
                                name,
                                public,
                            }));
                        at = end + 1;
                        continue;
                    }
                    ("mod", Some(TokenTree::Ident(name))) => {
                        if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                            inner.push((name.to_string(), body.stream()));
                        } else {
                            module.beneath.insert(name.to_string());
                        }
                        at += 3;
                        continue;
                    }
                    ("impl", _) => {
                        if let Some(found) = read_impl(&tokens[at..]) {
                            module.impls.push(found);
                        }
                        at += 1;
                        continue;
                    }
                    (
                        "struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static"
                        | "macro_rules",
                        _,
                    ) => {
                        let mut name = at + 1;
                        while matches!(tokens.get(name), Some(TokenTree::Punct(_)))
                            || is_word(tokens.get(name), "mut")
                        {
                            name += 1;
                        }
                        if outermost && let Some(TokenTree::Ident(name)) = tokens.get(name) {
                            module.defines.insert(name.to_string());
                        }
                        if word == "struct"
                            && let Some(TokenTree::Ident(name)) = tokens.get(at + 1)
                        {
                            module.structs.push(Struct {
                                name: name.to_string(),
                                derives: std::mem::take(&mut derives),
                                fields: tokens[at + 2..]
                                    .iter()
                                    .find_map(|token| match token {
                                        TokenTree::Group(group) => Some(Some(group.clone())),
                                        TokenTree::Punct(end) if end.as_char() == ';' => Some(None),
                                        _ => None,
                                    })
                                    .flatten(),
                            });
                            // The name isn't a mention; generics and fields are read on.
                            at += 2;
                            continue;
                        }
                        derives.clear();
                        at += 1;
                        continue;
                    }
                    _ => {}
                }
                at = read_mention(&tokens, at, module);
            }
            _ => at += 1,
        }
    }
}

/// Reads the path that begins here, and returns where it ends.
fn read_mention(tokens: &[TokenTree], start: usize, module: &mut Module) -> usize {
    let mut path = Vec::new();
    let mut at = start;
    while let Some(TokenTree::Ident(name)) = tokens.get(at) {
        path.push(name.to_string());
        at += 1;
        if !(is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')) {
            break;
        }
        if !matches!(tokens.get(at + 2), Some(TokenTree::Ident(_))) {
            break;
        }
        at += 2;
    }
    let before = |back: usize| start.checked_sub(back).and_then(|at| tokens.get(at));
    // `a.b`, but not `0..b`; `<A as B>::c`.
    let of_value = is_punct(before(1), '.') && !is_punct(before(2), '.');
    let of_type = is_punct(before(1), ':') && is_punct(before(2), ':');
    if !of_value && !of_type {
        let group = match tokens.get(at) {
            Some(TokenTree::Group(group)) => Some(group.clone()),
            _ => None,
        };
        let sign = |back: usize| match before(back) {
            Some(TokenTree::Punct(sign)) => sign.to_string(),
            _ => String::new(),
        };
        let before = match before(1) {
            Some(TokenTree::Ident(word)) => sign(2) + &word.to_string(),
            _ => sign(2) + &sign(1),
        };
        module.mentions.push(Mention {
            path,
            before,
            group,
        });
    }
    at
}

/// The attribute that begins here, as words, and where it ends.
fn attribute(tokens: &[TokenTree], at: usize) -> Option<(usize, Vec<String>)> {
    if !is_punct(tokens.get(at), '#') {
        return None;
    }
    let inner = usize::from(is_punct(tokens.get(at + 1), '!'));
    match tokens.get(at + 1 + inner) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            let mut words = Vec::new();
            read_words(group.stream(), &mut words);
            Some((at + 2 + inner, words))
        }
        _ => None,
    }
}

fn read_words(stream: TokenStream, words: &mut Vec<String>) {
    for token in stream {
        match token {
            TokenTree::Group(group) => read_words(group.stream(), words),
            TokenTree::Ident(word) => words.push(word.to_string()),
            _ => {}
        }
    }
}

/// `cfg(test)`, `cfg(all(test, …))`; not `cfg(not(test))`.
fn is_for_tests(cfg: &[String]) -> bool {
    cfg.iter().any(|word| word == "test") && !cfg.iter().any(|word| word == "not")
}

/// Where the item, statement or field that begins here is over.
fn end_of_item(tokens: &[TokenTree], start: usize) -> usize {
    let first = tokens[start..]
        .iter()
        .find(|token| !is_visibility(token) && !is_word(Some(token), "unsafe"))
        .map(ToString::to_string)
        .unwrap_or_default();
    // Braces may be a part of these, and a comma ends no item.
    let to_semicolon = ["use", "static", "type"].contains(&first.as_str());
    let items = [
        "fn", "mod", "impl", "struct", "enum", "trait", "const", "async", "extern",
    ];
    let to_comma = !to_semicolon && !items.contains(&first.as_str());
    for (at, token) in tokens.iter().enumerate().skip(start) {
        let over = match token {
            TokenTree::Punct(sign) => sign.as_char() == ';' || (to_comma && sign.as_char() == ','),
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && !to_semicolon,
            _ => false,
        };
        if over {
            return at + 1;
        }
    }
    tokens.len()
}

/// `pub`, or the `(crate)` behind it.
fn is_visibility(token: &TokenTree) -> bool {
    match token {
        TokenTree::Ident(word) => *word == "pub",
        TokenTree::Group(group) => group.delimiter() == Delimiter::Parenthesis,
        _ => false,
    }
}

/// The names of a `use` declaration, each with its path.
fn read_use(tokens: &[TokenTree], prefix: &[String], names: &mut Vec<(Vec<String>, String)>) {
    let parts = tokens.split(|token| is_punct(Some(token), ','));
    for part in parts.filter(|part| !part.is_empty()) {
        let mut path = prefix.to_vec();
        let mut name = None;
        let mut words = part.iter().peekable();
        while let Some(token) = words.next() {
            match token {
                TokenTree::Ident(word) if *word == "as" => {
                    name = words.next().map(ToString::to_string);
                }
                // `a::{self}` is `a`.
                TokenTree::Ident(word) if *word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    read_use(&inner, &path, names);
                    path.clear();
                }
                TokenTree::Punct(star) if star.as_char() == '*' => name = Some("*".to_owned()),
                _ => {}
            }
        }
        if let Some(last) = path.last() {
            let name = name.unwrap_or_else(|| last.clone());
            names.push((path, name));
        }
    }
}

/// The `impl` block that begins here; `None` where it is a type (`-> impl Trait`).
fn read_impl(tokens: &[TokenTree]) -> Option<Impl> {
    let mut path: Vec<String> = Vec::new();
    let mut depth = 0_usize;
    let mut over = false;
    for (at, token) in tokens.iter().enumerate().skip(1) {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                return Some(Impl {
                    path,
                    body: group.clone(),
                });
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                ';' | ',' | '=' if depth == 0 => return None,
                '<' => depth += 1,
                '>' if !is_punct(tokens.get(at - 1), '-') => depth = depth.saturating_sub(1),
                _ => {}
            },
            TokenTree::Ident(word) if depth == 0 && !over => match word.to_string().as_str() {
                // What comes before it is the trait.
                "for" => path.clear(),
                "where" => over = true,
                "dyn" | "mut" | "const" | "unsafe" => {}
                name => path.push(name.to_owned()),
            },
            _ => {}
        }
    }
    None
}

fn position(tokens: &[TokenTree], start: usize, punct: char) -> usize {
    let found = tokens[start..]
        .iter()
        .position(|token| is_punct(Some(token), punct));
    found.map_or(tokens.len(), |found| start + found)
}

pub(crate) fn is_punct(token: Option<&TokenTree>, punct: char) -> bool {
    matches!(token, Some(TokenTree::Punct(found)) if found.as_char() == punct)
}

pub(crate) fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(found)) if *found == word)
}
