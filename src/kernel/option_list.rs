//! Lists of mount options, as mount(8) and the libraries of FUSE write them.
//!
//! `name,name=value,…`. A value with commas stands in double quotes, as mount(8) has it, or has a
//! backslash before each, as FUSE has it; `\040` is the byte of that octal number, and a backslash
//! before anything else stands for what follows. Guarantees: [`joined`] of what [`split`] gives
//! means the same. Doesn't: know any option.

use crate::name::Escaped;

/// A list with a quote that isn't closed: which options the rest would be can only be guessed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mount option \"{0}\": a double quote in it isn't closed")]
pub struct OpenQuote(Escaped);

/// The options of a list, without quotes and backslashes. Empty ones are left out.
///
/// # Errors
/// [`OpenQuote`].
pub fn split(list: &[u8]) -> Result<Vec<Vec<u8>>, OpenQuote> {
    let mut options = vec![Vec::new()];
    let (mut rest, mut quoted) = (list, false);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let taken = match byte {
            b'"' => {
                quoted = !quoted;
                continue;
            }
            b',' if !quoted => {
                options.push(Vec::new());
                continue;
            }
            b'\\' => escaped(&mut rest),
            byte => byte,
        };
        if let Some(option) = options.last_mut() {
            option.push(taken);
        }
    }
    if quoted {
        let open = options.pop().unwrap_or_default();
        return Err(OpenQuote(Escaped::bounded(&String::from_utf8_lossy(&open))));
    }
    options.retain(|option| !option.is_empty());
    Ok(options)
}

/// What a backslash and the bytes after it stand for, which are taken from `rest`.
fn escaped(rest: &mut &[u8]) -> u8 {
    if let [
        a @ b'0'..=b'3',
        b @ b'0'..=b'7',
        c @ b'0'..=b'7',
        after @ ..,
    ] = *rest
    {
        *rest = after;
        return (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0');
    }
    match rest.split_first() {
        Some((&byte, after)) => {
            *rest = after;
            byte
        }
        None => b'\\',
    }
}

/// One option as a list that [`split`] takes for that option.
pub fn joined(option: &[u8]) -> Vec<u8> {
    let mut list = Vec::with_capacity(option.len());
    for &byte in option {
        if matches!(byte, b',' | b'"' | b'\\') {
            list.push(b'\\');
        }
        list.push(byte);
    }
    list
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commas_quotes_and_backslashes_are_read_as_others_read_them() {
        for (list, options) in [
            ("", &[][..]),
            (",,", &[]),
            ("ro,,key=a b", &["ro", "key=a b"]),
            ("ro,key=\"a,b\",x", &["ro", "key=a,b", "x"]),
            (r"key=a\,b,x", &["key=a,b", "x"]),
            (r"key=a\054b\040c\\", &["key=a,b c\\"]),
            (r#"key=\"a,b"#, &["key=\"a", "b"]),
            // Nothing follows, or no octal number does.
            (r"key=\", &["key=\\"]),
            (r"key=\08\477", &["key=08477"]),
        ] {
            let found = split(list.as_bytes()).unwrap();
            let options: Vec<_> = options.iter().map(|it| it.as_bytes().to_vec()).collect();
            assert_eq!(found, options, "{list}");
        }
    }

    proptest! {
        #[test]
        fn what_is_joined_splits_into_the_same(
            options in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..5)
        ) {
            let lists: Vec<_> = options.iter().map(|option| joined(option)).collect();
            prop_assert_eq!(split(&lists.join(&b',')), Ok(options));
        }
    }

    #[test]
    fn a_quote_that_isnt_closed_takes_no_option_with_it() {
        for list in [
            "key=\"a,b",
            "comment=\"oops,public_key=/k",
            "a,\"",
            "x=\"a\"\"",
        ] {
            assert!(split(list.as_bytes()).is_err(), "{list}");
        }
    }
}
