//! Reads JSON and TOML as the formats here are meant: objects by the names of their members.
//!
//! Guarantees: where a type is a struct, only an object (in TOML a table) is read. Left to itself,
//! serde takes an array too, member after member by position, so that a document without one name
//! in it would have a meaning: one that no other implementation sees. This holds at every depth and
//! for types of other crates, since the deserialiser is wrapped and not the types. And nothing is
//! read that isn't UTF-8, in members that are passed over neither: `serde_json` by itself looks at
//! those only to find their end.
//!
//! In TOML no member has a name that serde gives to what it has no kind for (`$__…`), a date for
//! instance: else a table with such a member would be read as a date.
//!
//! Doesn't: look into the variants of enums that hold something. No type that is read here is one;
//! untagged ones would be read from a copy, in which serde takes arrays for structs again.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};
use toml_edit::Item;
use toml_edit::visit::{self, Visit};

use crate::name::Escaped;

/// Reads a JSON document. The error is safe to show: what `serde_json` says quotes the text.
pub(in crate::oms) fn json<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Escaped> {
    match std::str::from_utf8(bytes) {
        Ok(text) => json_text(text),
        Err(error) => Err(Escaped::bounded(&format!(
            "it is not UTF-8 at byte {}",
            error.valid_up_to()
        ))),
    }
}

/// The same of text.
pub(in crate::oms) fn json_text<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Escaped> {
    let shown = |error: serde_json::Error| Escaped::bounded(&error.to_string());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(Strict(&mut deserializer)).map_err(shown)?;
    deserializer.end().map_err(shown)?;
    Ok(value)
}

/// Reads a TOML document. The error is in one line, and safe to show.
pub(in crate::oms) fn toml<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Escaped> {
    let shown = |span: Option<Range<usize>>, said: &str| {
        let line = span
            .and_then(|span| text.get(..span.start))
            .map(|before| format!("line {}: ", before.matches('\n').count() + 1));
        let said = said.trim_end().replace('\n', ", ");
        Escaped::bounded(&format!("{}{said}", line.unwrap_or_default()))
    };
    let document =
        toml_edit::Document::parse(text).map_err(|error| shown(error.span(), error.message()))?;
    let mut private = PrivateNames(None);
    private.visit_table(document.as_table());
    if let Some((name, span)) = private.0 {
        return Err(shown(span, &format!("no member can be called \"{name}\"")));
    }
    T::deserialize(Strict(toml_edit::de::Deserializer::from(document)))
        .map_err(|error| shown(error.span(), error.message()))
}

/// The first member with a name that serde gives to what it has no kind for, and where it is.
struct PrivateNames<'doc>(Option<(&'doc str, Option<Range<usize>>)>);

impl<'doc> Visit<'doc> for PrivateNames<'doc> {
    fn visit_table_like_kv(&mut self, name: &'doc str, item: &'doc Item) {
        if name.starts_with("$__") && self.0.is_none() {
            self.0 = Some((name, item.span()));
        }
        visit::visit_table_like_kv(self, name, item);
    }
}

/// A deserialiser, or a part of one, whose structs are objects.
struct Strict<D>(D);

/// What a type makes of a value; with `OBJECT` the type is a struct.
struct StrictVisitor<V, const OBJECT: bool>(V);

macro_rules! forward {
    ($($method:ident($($name:ident: $kind:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($name: $kind,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            self.0.$method($($name,)* StrictVisitor::<V, false>(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0
            .deserialize_struct(name, fields, StrictVisitor::<V, true>(visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_ignored_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }

    forward! {
        deserialize_any()
        deserialize_bool()
        deserialize_i8()
        deserialize_i16()
        deserialize_i32()
        deserialize_i64()
        deserialize_i128()
        deserialize_u8()
        deserialize_u16()
        deserialize_u32()
        deserialize_u64()
        deserialize_u128()
        deserialize_f32()
        deserialize_f64()
        deserialize_char()
        deserialize_str()
        deserialize_string()
        deserialize_bytes()
        deserialize_byte_buf()
        deserialize_option()
        deserialize_unit()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_seq()
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_map()
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier()
    }
}

macro_rules! forward_visit {
    ($($method:ident($kind:ty))*) => {$(
        fn $method<E: de::Error>(self, value: $kind) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>, const OBJECT: bool> Visitor<'de> for StrictVisitor<V, OBJECT> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if OBJECT {
            f.write_str("named members")
        } else {
            self.0.expecting(f)
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        if OBJECT {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        self.0.visit_seq(Strict(seq))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(map))
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(value))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(data)
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    forward_visit! {
        visit_bool(bool)
        visit_i8(i8)
        visit_i16(i16)
        visit_i32(i32)
        visit_i64(i64)
        visit_i128(i128)
        visit_u8(u8)
        visit_u16(u16)
        visit_u32(u32)
        visit_u64(u64)
        visit_u128(u128)
        visit_f32(f32)
        visit_f64(f64)
        visit_char(char)
        visit_str(&str)
        visit_borrowed_str(&'de str)
        visit_string(String)
        visit_bytes(&[u8])
        visit_borrowed_bytes(&'de [u8])
        visit_byte_buf(Vec<u8>)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        self.0.next_key_seed(Strict(seed))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer<'a> {
        #[serde(borrow)]
        text: Cow<'a, str>,
        inner: Option<Inner>,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        map: BTreeMap<String, Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        number: u8,
    }

    #[test]
    fn objects_are_read_as_ever() {
        let outer: Outer<'_> = json(
            br#" {"text":"a","x":[1,{"y":[]}],"inner":{"number":1},"list":[{"number":2}],
                  "map":{"k":{"number":3}}} "#,
        )
        .unwrap();
        assert!(matches!(outer.text, Cow::Borrowed("a")));
        assert_eq!(outer.inner, Some(Inner { number: 1 }));
        assert_eq!(outer.list, [Inner { number: 2 }]);
        assert_eq!(outer.map["k"], Inner { number: 3 });
        let raw: &RawValue = json(b"[ 1]").unwrap();
        assert_eq!(raw.get(), "[ 1]");
        let escaped: Outer<'_> = json(br#"{"text":"\u0061","inner":null}"#).unwrap();
        assert_eq!(escaped.text, "a");
    }

    #[test]
    fn arrays_are_no_objects_at_any_depth() {
        for text in [
            r#"["a",null,[],{}]"#,
            r#"{"text":"a","inner":[1]}"#,
            r#"{"text":"a","list":[[1]]}"#,
            r#"{"text":"a","list":[{"number":1},[1]]}"#,
            r#"{"text":"a","map":{"k":[1]}}"#,
        ] {
            let error = json::<Outer<'_>>(text.as_bytes()).unwrap_err().to_string();
            assert!(
                error.starts_with("invalid type: sequence, expected named members at line 1"),
                "{text}: {error}"
            );
            // What is guarded against.
            assert!(serde_json::from_str::<Outer<'_>>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn tables_are_no_arrays_either() {
        #[derive(Debug, Deserialize)]
        struct File {
            #[serde(default)]
            one: BTreeMap<String, Inner>,
            two: Option<Inner>,
        }
        let file: File = toml("[one.a]\nnumber = 1\n[two]\nnumber = 2\n").unwrap();
        assert_eq!(file.one["a"], Inner { number: 1 });
        assert_eq!(file.two, Some(Inner { number: 2 }));
        for (text, line) in [("[one]\na = [1]\n", 2), ("\n\ntwo = [2]\n", 3)] {
            let error = toml::<File>(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("line {line}: invalid type: sequence")),
                "{error}"
            );
            assert!(toml_edit::de::from_str::<File>(text).is_ok(), "{text}");
        }
    }

    /// By its name a member could pass for a date, whose kind serde doesn't know.
    #[test]
    fn no_table_is_a_date() {
        #[derive(Debug, Deserialize)]
        struct File {
            date: toml_edit::Datetime,
        }
        let file: File = toml("date = 2025-05-01\n").unwrap();
        assert_eq!(file.date.to_string(), "2025-05-01");
        for text in [
            "\ndate = { \"$__toml_private_datetime\" = \"2025-05-01\" }\n",
            "[date]\n\"$__toml_private_datetime\" = \"2025-05-01\"\n",
            "date = 2025-05-01\nx = [{ y = { \"$__toml_private_datetime\" = 1 } }]\n",
        ] {
            let error = toml::<File>(text).unwrap_err().to_string();
            assert_eq!(
                error,
                "line 2: no member can be called \"$__toml_private_datetime\""
            );
            // What is guarded against.
            assert!(toml_edit::de::from_str::<File>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn nothing_is_read_that_is_not_utf_8() {
        for (before, after) in [
            (&b"{\"text\":\"a\",\"x\":\""[..], &b"\"}"[..]),
            (b"{\"text\":\"a\",\"", b"\":1}"),
            (b"{\"text\":\"", b"\"}"),
        ] {
            let document = |middle: &[u8]| [before, middle, after].concat();
            assert!(json::<Outer<'_>>(&document("ü".as_bytes())).is_ok());
            for bad in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"] {
                let error = json::<Outer<'_>>(&document(bad)).unwrap_err().to_string();
                assert_eq!(error, format!("it is not UTF-8 at byte {}", before.len()));
            }
        }
    }

    #[test]
    fn errors_are_bounded_and_escaped() {
        let text = format!("\"{}\u{202e}\"", "x".repeat(1 << 20));
        let error = json::<u8>(text.as_bytes()).unwrap_err().to_string();
        assert!(error.len() < 4096 && !error.contains('\u{202e}'));
        assert!(json::<u8>(b"1 2").is_err());
    }
}
