//! Names of files in a model, as a manifest writes them.
//!
//! Guarantees: a [`FileName`] is a relative path that stays beneath its root, whatever it is joined
//! to, and can be shown on a terminal through [`Display`](fmt::Display) without doing anything to
//! it. Doesn't: say that such a file exists.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, is_nfc, is_nfc_quick};

/// Longest path component, in bytes (`NAME_MAX` of Linux).
pub const MAX_COMPONENT: usize = 255;

/// Longest whole path, in bytes (`PATH_MAX` of Linux, less its NUL).
pub const MAX_PATH: usize = 4095;

/// A relative path of a signed file: `/` between components, none of which is empty, `.` or `..`
/// (OMS v1.0, 6.1.2; the length limits are ours).
///
/// Ordered by bytes, which for UTF-8 is Unicode code point order.
///
/// Names made together share their memory ([`FileName::all`]): a manifest may have a million.
#[derive(Clone)]
pub struct FileName {
    /// Memory that the name is a part of.
    text: Arc<Box<str>>,
    start: u32,
    len: u16,
}

impl FileName {
    /// Validates a path.
    ///
    /// # Errors
    /// A [`NameError`] that says which rule is broken.
    pub fn new(path: &str) -> Result<Self, NameError> {
        validate(path)?;
        Ok(Self::part_of(&Arc::new(path.into()), 0, path.len()))
    }

    /// Validates a path of the system.
    ///
    /// # Errors
    /// As [`FileName::new`], and [`NameRule::NotUtf8`]: names are text.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, NameError> {
        match path.as_ref().to_str() {
            Some(text) => Self::new(text),
            None => Err(NameError {
                name: Escaped::bounded_path(path),
                rule: NameRule::NotUtf8,
            }),
        }
    }

    /// Validates many paths and gives as many names.
    ///
    /// # Errors
    /// A [`NameError`] for the first that breaks a rule.
    ///
    /// # Panics
    /// For more than 2³² bytes.
    pub fn all<'a>(
        paths: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<impl Iterator<Item = Self>, NameError> {
        let mut text = String::with_capacity(paths.clone().map(str::len).sum());
        for path in paths.clone() {
            validate(path)?;
            text.push_str(path);
        }
        let text = Arc::new(text.into_boxed_str());
        let mut start = 0;
        Ok(paths.map(move |path| {
            let name = Self::part_of(&text, start, path.len());
            start += path.len();
            name
        }))
    }

    fn part_of(text: &Arc<Box<str>>, start: usize, len: usize) -> Self {
        Self {
            text: Arc::clone(text),
            start: u32::try_from(start).expect("fewer than 2^32 bytes of names"),
            len: u16::try_from(len).expect("a name has at most `MAX_PATH` bytes"),
        }
    }

    /// The path as written in the manifest.
    pub fn as_str(&self) -> &str {
        let start = self.start as usize;
        &self.text[start..start + usize::from(self.len)]
    }

    /// The components, first the one nearest the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.as_str().split('/')
    }

    /// The path of the directory that holds the file; `None` at the root.
    pub fn parent(&self) -> Option<&str> {
        self.as_str().rsplit_once('/').map(|(parent, _)| parent)
    }

    /// Whether this path is `ancestor` or lies beneath it.
    pub fn is_within(&self, ancestor: &FileName) -> bool {
        match self.as_str().strip_prefix(ancestor.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

impl PartialEq for FileName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for FileName {}

impl Hash for FileName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialOrd for FileName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FileName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

fn validate(path: &str) -> Result<(), NameError> {
    let rule = |rule| {
        Err(NameError {
            name: Escaped::bounded(path),
            rule,
        })
    };
    if path.is_empty() {
        return rule(NameRule::Empty);
    }
    if path.len() > MAX_PATH {
        return rule(NameRule::LongPath);
    }
    if path.contains('\0') {
        return rule(NameRule::Nul);
    }
    if path.starts_with('/') {
        return rule(NameRule::Absolute);
    }
    if path.ends_with('/') {
        return rule(NameRule::TrailingSlash);
    }
    for component in path.split('/') {
        match component {
            "" => return rule(NameRule::EmptyComponent),
            "." => return rule(NameRule::Dot),
            ".." => return rule(NameRule::DotDot),
            _ if component.len() > MAX_COMPONENT => return rule(NameRule::LongComponent),
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Escaped::new(self.as_str()), f)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl AsRef<Path> for FileName {
    fn as_ref(&self) -> &Path {
        Path::new(self.as_str())
    }
}

/// Untrusted text made safe to show: control characters, line separators and characters that
/// change the direction or are invisible are written as `\u{…}`, bytes that are no UTF-8 as `\x…`,
/// and a backslash as two, so that different text is shown differently.
///
/// Texts that differ only in Unicode normalisation look the same. So in one that isn't in
/// normalisation form C, or begins with a character that would combine with what it is put behind,
/// all characters that form C may change or move are written as `\u{…}` too. Then of all spellings
/// of a text at most one is shown as it is, that of form C; what is shown is itself in form C, and
/// no two texts are shown alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escaped(String);

impl Escaped {
    /// Longest text kept by [`Escaped::bounded`], in characters.
    pub const MAX_SHOWN: usize = 256;

    /// Escapes all of `text`.
    pub fn new(text: &str) -> Self {
        let mut out = String::with_capacity(text.len());
        let is_normal = is_normalised(text);
        for c in text.chars() {
            if is_escaped(c, is_normal) {
                out.extend(c.escape_unicode());
            } else if c == '\\' {
                out.push_str("\\\\");
            } else {
                out.push(c);
            }
        }
        Self(out)
    }

    /// Escapes a path, or whatever else the system gives as bytes. The one way to show a path:
    /// [`Path::display`] leaves everything in it that acts on a terminal, and what isn't UTF-8
    /// looks all the same.
    pub fn path(path: impl AsRef<Path>) -> Self {
        let mut out = String::new();
        for chunk in path.as_ref().as_os_str().as_bytes().utf8_chunks() {
            out.push_str(&Self::new(chunk.valid()).0);
            for byte in chunk.invalid() {
                // Writing to a string can't fail.
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
        Self(out)
    }

    /// Escapes the beginning of a path, for messages about one that may be huge.
    pub fn bounded_path(path: impl AsRef<Path>) -> Self {
        let bytes = path.as_ref().as_os_str().as_bytes();
        if bytes.len() <= Self::MAX_SHOWN {
            return Self::path(path);
        }
        let mut escaped = Self::path(OsStr::from_bytes(&bytes[..Self::MAX_SHOWN]));
        escaped.0.push('…');
        escaped
    }

    /// Escapes what is our own text around text that was escaped before: a second lock, behind
    /// which nothing acts on a terminal. Backslashes stay as they are, and so does any
    /// normalisation.
    pub fn again(text: &str) -> Self {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if is_hostile(c) {
                out.extend(c.escape_unicode());
            } else {
                out.push(c);
            }
        }
        Self(out)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Escapes the beginning of `text`, for messages about text that may be huge.
    pub fn bounded(text: &str) -> Self {
        match text.char_indices().nth(Self::MAX_SHOWN) {
            None => Self::new(text),
            Some((end, _)) => {
                let mut escaped = Self::new(&text[..end]);
                escaped.0.push('…');
                escaped
            }
        }
    }
}

impl fmt::Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a character could act on a terminal or mislead its reader: controls (C0, C1, DEL), line
/// and paragraph separators, bidirectional formatting (Unicode UAX #9), what is invisible because
/// Unicode calls it default-ignorable (zero-width characters, variation selectors, fillers, tags),
/// and interlinear annotation.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || is_default_ignorable(c)
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
}

/// A text as a JSON string, quotes included, which is as safe to show as an [`Escaped`] one and,
/// read again, the very text: where that has `\u{…}`, this has JSON's own escapes (RFC 8259,
/// section 7). A mark behind an escape, whose last character it would go to, is escaped too.
pub fn json_string(text: &str) -> String {
    let is_normal = is_normalised(text);
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    let mut is_behind_escape = false;
    for c in text.chars() {
        let short = match c {
            '"' | '\\' => Some(c),
            '\n' => Some('n'),
            '\r' => Some('r'),
            '\t' => Some('t'),
            _ => None,
        };
        let is_escape = is_escaped(c, is_normal) || (is_behind_escape && !is_settled(c));
        if let Some(short) = short {
            out.extend(['\\', short]);
        } else if is_escape {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string can't fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
        is_behind_escape = is_escape || short.is_some();
    }
    out.push('"');
    out
}

/// Whether a character is written as an escape, in a text that is normalised or isn't.
fn is_escaped(c: char, is_normal: bool) -> bool {
    is_hostile(c) || (!is_normal && !is_settled(c))
}

/// Whether text is in Unicode's normalisation form C, and stays so whatever it is put behind.
/// Nearly all names are ASCII, which always is.
fn is_normalised(text: &str) -> bool {
    text.is_ascii() || (text.chars().next().is_none_or(is_settled) && is_nfc(text))
}

/// Whether form C leaves a character as and where it is, whatever stands before it: its quick check
/// (UAX #15) says yes, and it is no mark that others are ordered by. A text of such characters
/// alone is in form C.
fn is_settled(c: char) -> bool {
    c.is_ascii()
        || (canonical_combining_class(c) == 0
            && is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes)
}

/// `Default_Ignorable_Code_Point`, as `DerivedCoreProperties.txt` of Unicode 16.0 has it. Every
/// character with `Bidi_Control` is one of them. What later versions may add lies in blocks that
/// are reserved for it, and these are in the list already.
fn is_default_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A path as a word of a command line that a user may copy into a shell: as it is where nothing in
/// it means something to a shell, else quoted. What isn't to be shown, or would look like another
/// path, is written as bash, zsh, ksh and POSIX.1-2024 write it, `$'\033'`.
pub fn shell_word(path: impl AsRef<Path>) -> String {
    let bytes = path.as_ref().as_os_str().as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:,@%=".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Ok(text) if !text.contains(is_hostile) && is_normalised(text) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => {
            let escaped: String = bytes
                .iter()
                .map(|&byte| match byte {
                    b'\'' | b'\\' => format!("\\{}", char::from(byte)),
                    b' '..=b'~' => char::from(byte).to_string(),
                    // Three octal digits: hexadecimal ones have no end in some shells.
                    _ => format!("\\{byte:03o}"),
                })
                .collect();
            format!("$'{escaped}'")
        }
    }
}

/// A path that a manifest may not contain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{name}\" is not a valid file name: {rule}")]
pub struct NameError {
    /// The path, escaped and bounded.
    pub name: Escaped,
    /// The rule it breaks.
    pub rule: NameRule,
}

/// The rules for a path in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameRule {
    /// At least one character.
    #[error("it is empty")]
    Empty,
    /// At most [`MAX_PATH`] bytes.
    #[error("it is longer than {MAX_PATH} bytes")]
    LongPath,
    /// At most [`MAX_COMPONENT`] bytes between slashes.
    #[error("a component is longer than {MAX_COMPONENT} bytes")]
    LongComponent,
    /// Text.
    #[error("it is not valid UTF-8")]
    NotUtf8,
    /// No NUL.
    #[error("it contains a NUL character")]
    Nul,
    /// Relative to the model.
    #[error("it is absolute")]
    Absolute,
    /// A file, not a directory.
    #[error("it ends with a slash")]
    TrailingSlash,
    /// No `//`.
    #[error("it has an empty component")]
    EmptyComponent,
    /// No `.`.
    #[error("it has a \".\" component")]
    Dot,
    /// No `..`.
    #[error("it has a \"..\" component")]
    DotDot,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_models_contain() {
        for path in [
            "config.json",
            "a/b/c.bin",
            "with space/ünï.txt",
            "a:b:1:2",
            "..a/b..",
            ".hidden",
            &"x".repeat(MAX_COMPONENT),
        ] {
            assert_eq!(FileName::new(path).unwrap().as_str(), path);
        }
    }

    #[test]
    fn names_the_broken_rule() {
        let long = "x".repeat(MAX_COMPONENT + 1);
        let deep = "x/".repeat(MAX_PATH / 2) + "xx";
        for (path, rule) in [
            ("", NameRule::Empty),
            ("/etc/passwd", NameRule::Absolute),
            ("a/", NameRule::TrailingSlash),
            ("a//b", NameRule::EmptyComponent),
            ("./a", NameRule::Dot),
            ("a/./b", NameRule::Dot),
            ("../a", NameRule::DotDot),
            ("a/..", NameRule::DotDot),
            ("a\0b", NameRule::Nul),
            (long.as_str(), NameRule::LongComponent),
            (deep.as_str(), NameRule::LongPath),
        ] {
            assert_eq!(FileName::new(path).unwrap_err().rule, rule, "{path:?}");
        }
    }

    /// As a JSON string every text is what it was, in form C, and escaped where it is elsewhere.
    #[test]
    fn json_strings_look_different_where_they_are() {
        for (text, shown) in [
            ("", "\"\""),
            ("é", "\"é\""),
            ("e\u{301}", "\"e\\u0301\""),
            ("\u{301}x", "\"\\u0301x\""),
            ("\u{212b}", "\"\\u212b\""),
            ("ü\u{338}", "\"ü\u{338}\""),
            ("ü e\u{301}", "\"ü e\\u0301\""),
            ("\u{1d15e}", "\"\\ud834\\udd5e\""),
            ("\u{e0041}", "\"\\udb40\\udc41\""),
            (
                "a\"\\\n\r\t\u{7f}\u{1}",
                "\"a\\\"\\\\\\n\\r\\t\\u007f\\u0001\"",
            ),
            ("\n\u{303}", "\"\\n\\u0303\""),
            ("\u{200e}\u{301}", "\"\\u200e\\u0301\""),
            ("\\\u{338}", "\"\\\\\\u0338\""),
        ] {
            let json = json_string(text);
            assert_eq!(json, shown);
            let read: String = serde_json::from_str(&json).unwrap();
            assert_eq!(read, text);
            assert!(is_nfc(&json) && !json.contains(is_hostile), "{json}");
        }
        let telling = |c: &char| *c < '\u{300}' || is_hostile(*c) || !is_settled(*c);
        for c in ('\0'..=char::MAX).filter(telling) {
            for text in [format!("{c}"), format!("a{c}"), format!("\n{c}\u{301}")] {
                let json = json_string(&text);
                assert!(is_nfc(&json) && !json.contains(is_hostile), "{json}");
                // What is escaped elsewhere is escaped here.
                assert!(
                    c.is_ascii() || Escaped::new(&text).as_str().contains(c) || !json.contains(c)
                );
                assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            }
        }
    }

    #[test]
    fn names_made_together_are_as_those_made_alone() {
        let paths = ["a", "ü/b", "a/b/c", "a"];
        let names: Vec<_> = FileName::all(paths.into_iter()).unwrap().collect();
        for (name, path) in names.iter().zip(paths) {
            assert_eq!(*name, FileName::new(path).unwrap());
            assert_eq!(name.as_str(), path);
        }
        assert!(names[0] < names[2] && names[2] < names[1]);
        let wrong = FileName::all(["a", "../b", "/c"].into_iter())
            .err()
            .unwrap();
        assert_eq!(wrong.rule, NameRule::DotDot);
        assert_eq!(FileName::all([].into_iter()).unwrap().count(), 0);
    }

    #[test]
    fn within_goes_by_components() {
        let name = |path| FileName::new(path).unwrap();
        assert!(name("a/b").is_within(&name("a")));
        assert!(name("a").is_within(&name("a")));
        assert!(!name("ab/c").is_within(&name("a")));
        assert!(!name("a").is_within(&name("a/b")));
    }

    #[test]
    fn hostile_characters_are_shown_not_sent() {
        let shown = FileName::new("a\u{1b}[2Jb\u{202e}c\n\\")
            .unwrap()
            .to_string();
        assert_eq!(shown, "a\\u{1b}[2Jb\\u{202e}c\\u{a}\\\\");
        let error = FileName::new(&"/\u{7}".repeat(100_000)).unwrap_err();
        assert!(error.to_string().len() < 4096);
    }

    #[test]
    fn whatever_is_invisible_is_shown() {
        // The first and the last of each range, and their neighbours.
        for (hostile, harmless) in [
            (
                "\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}",
                "\u{ac}\u{ae}\u{115e}\u{1161}",
            ),
            (
                "\u{17b4}\u{17b5}\u{180b}\u{180f}",
                "\u{17b3}\u{180a}\u{1810}",
            ),
            (
                "\u{200b}\u{200f}\u{2028}\u{202e}",
                "\u{200a}\u{2010}\u{2027}\u{202f}",
            ),
            (
                "\u{2060}\u{2065}\u{206f}\u{3164}",
                "\u{205f}\u{2070}\u{3163}",
            ),
            (
                "\u{fe00}\u{fe0f}\u{feff}\u{ffa0}",
                "\u{fe10}\u{ff9f}\u{ffa1}",
            ),
            (
                "\u{fff0}\u{fffb}\u{1bca0}\u{1bca3}",
                "\u{fffc}\u{1bc9f}\u{1d172}",
            ),
            (
                "\u{1d173}\u{1d17a}\u{e0000}\u{e0fff}",
                "ü漢\u{1d17b}\u{e1000}",
            ),
            ("\0\t\n\r\u{1b}\u{7f}\u{80}\u{85}\u{9b}\u{9f}", " ~\u{a0}"),
        ] {
            assert!(hostile.chars().all(is_hostile), "{hostile:?}");
            assert!(!harmless.chars().any(is_hostile), "{harmless:?}");
            assert!(Escaped::new(hostile).as_str().is_ascii());
            assert_eq!(Escaped::new(harmless).as_str(), harmless);
        }
    }

    /// The spellings of a text that Unicode calls canonically equivalent: only that of form C is
    /// shown as it is, and none is shown as another.
    #[test]
    fn what_differs_in_normalisation_alone_is_told_apart() {
        for (spellings, shown) in [
            // Composed, decomposed.
            (
                &["\u{e9}.txt", "e\u{301}.txt"][..],
                &["\u{e9}.txt", "e\\u{301}.txt"][..],
            ),
            // A sign of its own, the letter, the letter and its mark.
            (
                &["\u{c5}", "\u{212b}", "A\u{30a}"],
                &["\u{c5}", "\\u{212b}", "A\\u{30a}"],
            ),
            // Marks in two orders, neither of which combines with anything.
            (
                &["q\u{316}\u{305}", "q\u{305}\u{316}"],
                &["q\u{316}\u{305}", "q\\u{305}\\u{316}"],
            ),
            // A mark that has no composed form is in form C, and so is shown as it is.
            (&["q\u{301}"], &["q\u{301}"]),
            // Excluded from composition: the decomposed spelling is that of form C.
            (
                &["\u{915}\u{93c}", "\u{958}"],
                &["\u{915}\u{93c}", "\\u{958}"],
            ),
            // Syllables and their letters.
            (
                &["\u{ac01}", "\u{ac00}\u{11a8}", "\u{1100}\u{1161}\u{11a8}"],
                &[
                    "\u{ac01}",
                    "\u{ac00}\\u{11a8}",
                    "\u{1100}\\u{1161}\\u{11a8}",
                ],
            ),
            // What looks the same, and isn't canonically equivalent, is another matter.
            (&["\u{fb01}", "fi"], &["\u{fb01}", "fi"]),
        ] {
            for (text, expected) in spellings.iter().zip(shown) {
                assert_eq!(Escaped::new(text).as_str(), *expected);
                assert_eq!(Escaped::path(text).as_str(), *expected);
            }
        }
        // One place is enough, and a text that looks like an escape isn't one.
        assert_eq!(Escaped::new("\u{e9}e\u{301}").as_str(), "\u{e9}e\\u{301}");
        assert_eq!(Escaped::new("e\\u{301}").as_str(), "e\\\\u{301}");
    }

    /// A mark at the beginning would go to whatever stands before the name.
    #[test]
    fn nothing_combines_with_what_it_is_put_behind() {
        assert_eq!(Escaped::new("\u{301}e").as_str(), "\\u{301}e");
        assert_eq!(Escaped::new("\u{11a8}").as_str(), "\\u{11a8}");
        let bytes = OsStr::from_bytes(b"\xfe\xcc\x81");
        assert_eq!(Escaped::path(bytes).as_str(), "\\xfe\\u{301}");
    }

    /// Over all texts of some characters of every kind: what is shown is in form C, and nothing
    /// else is shown alike.
    #[test]
    fn no_two_texts_are_shown_alike() {
        let letters = [
            'e', '\\', '}', '\u{301}', '\u{305}', '\u{316}', '\u{338}', '=', '\u{e9}', '\u{212b}',
            '\u{c5}', '\u{30a}', '\u{1b}', '\u{200d}', '\u{1100}', '\u{1161}', '\u{ac00}',
        ];
        let mut texts = vec![String::new()];
        for _ in 0..3 {
            let longer = texts
                .iter()
                .flat_map(|text| letters.iter().map(move |letter| format!("{text}{letter}")));
            texts = longer.collect();
        }
        let mut seen = std::collections::HashSet::new();
        for text in &texts {
            let shown = Escaped::new(text);
            assert!(is_nfc(shown.as_str()), "{text:?}");
            assert!(seen.insert(shown.as_str().to_owned()), "{text:?}");
        }
    }

    #[test]
    fn paths_are_shown_whatever_bytes_they_have() {
        let path = |bytes: &'static [u8]| std::ffi::OsStr::from_bytes(bytes);
        for (bytes, shown) in [
            (&b"/plain/path"[..], "/plain/path"),
            (b"/m\xff\xfe/\xc3\xbc", "/m\\xff\\xfe/ü"),
            (b"cut \xe2\x80", "cut \\xe2\\x80"),
            (b"\x1b[2J\nverified", "\\u{1b}[2J\\u{a}verified"),
            // Not what the second looks like.
            (b"\\xff", "\\\\xff"),
            (b"", ""),
        ] {
            assert_eq!(Escaped::path(path(bytes)).as_str(), shown);
        }
        assert_eq!(Escaped::again("a\\u{7}\u{7}").as_str(), "a\\u{7}\\u{7}");
    }

    #[test]
    fn names_are_text() {
        let error = FileName::from_path(OsStr::from_bytes(b"f\xff")).unwrap_err();
        assert_eq!(error.rule, NameRule::NotUtf8);
        assert_eq!(
            error.to_string(),
            "\"f\\xff\" is not a valid file name: it is not valid UTF-8"
        );
        assert_eq!(FileName::from_path("a/b").unwrap().as_str(), "a/b");
        let long = "\u{7}".repeat(100_000);
        assert!(Escaped::bounded_path(&long).as_str().len() < 4096);
        assert_eq!(Escaped::bounded_path("x").as_str(), "x");
    }

    #[test]
    fn words_are_what_a_shell_reads_back() {
        for bytes in [
            &b"/plain/path-1.2"[..],
            b"/with space/'quote'",
            b"$(reboot) `reboot` \\",
            b"/\xc3\xbc",
            b"/u\xcc\x88",
            b"new\nline 'quote' \\ \xff7\x1b[2J",
            b"",
        ] {
            let word = shell_word(std::ffi::OsStr::from_bytes(bytes));
            assert!(!word.contains(is_hostile) && is_nfc(&word), "{word:?}");
            let output = std::process::Command::new("bash")
                .args(["-c", &format!("printf %s {word}")])
                .output()
                .unwrap();
            assert_eq!(output.stdout, bytes, "{word}");
        }
    }
}
