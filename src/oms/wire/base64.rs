//! Base64 as the JSON form of protocol buffers and DSSE allow it: either alphabet, padding or none.
//! Signatures cover decoded bytes, so the spelling carries no meaning.
//!
//! Guarantees: what [`InPlace`] decodes is what [`decode`] gives, and [`InPlace::restore`] gives
//! back the very text. A signature file may be large and is shown in the mount: so it is held in
//! memory once, decoded while it is looked at and as text afterwards.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Characters that are decoded or encoded at a time: whole groups of four.
const PIECE: usize = 8 << 10;

/// Bytes that a piece holds.
const PIECE_BYTES: usize = PIECE / 4 * 3;

const fn config(padding: DecodePaddingMode) -> GeneralPurposeConfig {
    GeneralPurposeConfig::new().with_decode_padding_mode(padding)
}

/// The two alphabets, with padding or without.
const ANY_PADDING: [GeneralPurpose; 2] = engines(DecodePaddingMode::Indifferent);
/// The same for what isn't at the end of a text: no padding.
const INSIDE: [GeneralPurpose; 2] = engines(DecodePaddingMode::RequireNone);

const fn engines(padding: DecodePaddingMode) -> [GeneralPurpose; 2] {
    [
        GeneralPurpose::new(
            &alphabet::STANDARD,
            config(padding).with_encode_padding(false),
        ),
        GeneralPurpose::new(
            &alphabet::URL_SAFE,
            config(padding).with_encode_padding(false),
        ),
    ]
}

/// Which of the two alphabets a text is in; either where it has none of the characters that differ.
fn alphabet_of(text: &[u8]) -> usize {
    usize::from(text.contains(&b'-') || text.contains(&b'_'))
}

/// Decodes a text.
pub(in crate::oms) fn decode(text: &str) -> Option<Vec<u8>> {
    ANY_PADDING[alphabet_of(text.as_bytes())].decode(text).ok()
}

/// A part of a buffer that was text in base64 and is decoded now.
#[derive(Debug, Clone)]
pub(in crate::oms) struct InPlace {
    buffer: Arc<[u8]>,
    /// Where the text was. The decoded bytes stand at its beginning.
    text: Range<usize>,
    /// Number of decoded bytes.
    len: usize,
    alphabet: usize,
    /// The last piece of the text: nothing else has padding.
    end: Box<[u8]>,
}

impl InPlace {
    /// Decodes a part of `buffer`, which is copied first if it is shared.
    pub(in crate::oms) fn decode(mut buffer: Arc<[u8]>, text: Range<usize>) -> Option<Self> {
        let whole = unique(&mut buffer).get_mut(text.clone())?;
        let alphabet = alphabet_of(whole);
        let last = whole.len().saturating_sub(1) / PIECE * PIECE;
        let end = whole[last..].into();
        let mut piece = [0; PIECE];
        let mut len = 0;
        for start in (0..whole.len()).step_by(PIECE) {
            let engine = if start == last {
                &ANY_PADDING[alphabet]
            } else {
                &INSIDE[alphabet]
            };
            let stop = whole.len().min(start + PIECE);
            let piece = &mut piece[..stop - start];
            piece.copy_from_slice(&whole[start..stop]);
            // Three bytes for four characters: never beyond what was copied.
            len += engine
                .decode_slice_unchecked(piece, &mut whole[len..stop])
                .ok()?;
        }
        Some(Self {
            buffer,
            text,
            len,
            alphabet,
            end,
        })
    }

    /// The decoded bytes.
    pub(in crate::oms) fn bytes(&self) -> &[u8] {
        &self.buffer[self.text.start..][..self.len]
    }

    /// The buffer as it was.
    pub(in crate::oms) fn restore(mut self) -> Arc<[u8]> {
        let whole = &mut unique(&mut self.buffer)[self.text];
        let last = whole.len() - self.end.len();
        // From the end: a piece of text begins behind the bytes of all pieces before it.
        whole[last..].copy_from_slice(&self.end);
        let mut piece = [0; PIECE_BYTES];
        for start in (0..last).step_by(PIECE).rev() {
            piece.copy_from_slice(&whole[start / 4 * 3..][..PIECE_BYTES]);
            let encoded =
                INSIDE[self.alphabet].encode_slice(piece, &mut whole[start..start + PIECE]);
            debug_assert_eq!(encoded, Ok(PIECE));
        }
        self.buffer
    }
}

/// A buffer to write to. Nearly always the same one.
fn unique(buffer: &mut Arc<[u8]>) -> &mut [u8] {
    Arc::make_mut(buffer)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    /// What decoding in place gives, and whether the text comes back.
    fn in_place(text: &str) -> Option<Vec<u8>> {
        let framed: Arc<[u8]> = format!("<{text}>").into_bytes().into();
        let decoded = InPlace::decode(Arc::clone(&framed), 1..text.len() + 1)?;
        let bytes = decoded.bytes().to_vec();
        assert_eq!(decoded.restore(), framed);
        Some(bytes)
    }

    #[test]
    fn sizes_around_pieces() {
        for pieces in [0, 1, 2, 5] {
            for delta in -4_isize..=4 {
                let Some(len) = (pieces * PIECE_BYTES).checked_add_signed(delta) else {
                    continue;
                };
                let bytes: Vec<u8> = (0..len)
                    .map(|i| u8::try_from(i * 7919 % 256).unwrap())
                    .collect();
                for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
                    let text = engine.encode(&bytes);
                    assert_eq!(decode(&text).as_ref(), Some(&bytes));
                    assert_eq!(in_place(&text).as_ref(), Some(&bytes), "{len} bytes");
                }
            }
        }
    }

    #[test]
    fn one_alphabet_and_padding_only_at_the_end() {
        let long = "A".repeat(PIECE);
        for wrong in [
            "+-==", "/_//", "A", "AA=A", "=", "====", "AB==", "A A=", "AA==AA==",
        ] {
            for text in [
                wrong.to_owned(),
                format!("{wrong}{long}"),
                format!("{long}{wrong}"),
                format!("{long}{wrong}{long}"),
                format!("{}{wrong}{long}", &long[..PIECE - 4]),
            ] {
                assert_eq!(in_place(&text), decode(&text), "{wrong}");
            }
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_buffer_in_use_is_left_alone() {
        let buffer: Arc<[u8]> = (*b"AAECAw").into();
        let decoded = InPlace::decode(Arc::clone(&buffer), 0..6).unwrap();
        assert_eq!(decoded.bytes(), [0, 1, 2, 3]);
        assert_eq!(*buffer, *b"AAECAw");
        let same = decoded.clone();
        assert_eq!(*decoded.restore(), *b"AAECAw");
        assert_eq!(same.bytes(), [0, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn decodes_what_decode_does(text in "[A-Za-z0-9+/_=-]{0,12}") {
            prop_assert_eq!(in_place(&text), decode(&text));
        }
    }
}
