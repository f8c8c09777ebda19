//! Arrays in JSON that are counted to their end and kept only so far.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

/// A JSON array of which only the first `MAX` entries are kept and all are counted: a rule about
/// their number can be checked, and a hostile array costs no memory.
#[derive(Debug)]
pub(in crate::oms) struct Few<T, const MAX: usize> {
    pub(in crate::oms) items: Vec<T>,
    pub(in crate::oms) count: usize,
}

impl<T, const MAX: usize> Default for Few<T, MAX> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            count: 0,
        }
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Few<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FewVisitor<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for FewVisitor<T, MAX> {
            type Value = Few<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while items.len() < MAX {
                    match seq.next_element()? {
                        Some(item) => items.push(item),
                        None => break,
                    }
                }
                let mut count = items.len();
                if count == MAX {
                    while seq.next_element::<IgnoredAny>()?.is_some() {
                        count += 1;
                    }
                }
                Ok(Few { items, count })
            }
        }

        deserializer.deserialize_seq(FewVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_keeps_the_first_and_counts_all() {
        for count in 0..6 {
            let text = serde_json::to_string(&vec![7; count]).unwrap();
            let few: Few<u8, 3> = serde_json::from_str(&text).unwrap();
            assert_eq!((few.items.len(), few.count), (count.min(3), count));
        }
    }
}
