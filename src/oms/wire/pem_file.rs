//! The blocks of a PEM file (RFC 7468).
//!
//! Guarantees: no block is passed over. The decoder looks for the next whole block and takes
//! anything before it for text, so one whose first or last line is damaged would silently be
//! missing: of keys that are to be trusted, and of certificates. Doesn't: look into a block, or
//! bound a file.

use crate::name::Escaped;

/// What every block begins and ends with.
const MARKS: [&[u8]; 2] = [b"-----BEGIN ", b"-----END "];

/// The blocks, in their order; text around them is passed over. `None` if one is damaged, or cut
/// off.
pub(in crate::oms) fn blocks(file: &[u8]) -> Option<Vec<pem::Pem>> {
    let blocks = pem::parse_many(file).ok()?;
    MARKS
        .into_iter()
        .all(|mark| count(file, mark) == blocks.len())
        .then_some(blocks)
}

/// What a file has instead of the wanted block.
pub(in crate::oms) fn found(blocks: &[pem::Pem]) -> Escaped {
    if blocks.is_empty() {
        return Escaped::new("no PEM block");
    }
    let tags: Vec<_> = blocks.iter().map(pem::Pem::tag).collect();
    Escaped::bounded(&tags.join(", "))
}

fn count(file: &[u8], mark: &[u8]) -> usize {
    file.windows(mark.len())
        .filter(|window| window == &mark)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN A-----\nAAAA\n-----END A-----\n";

    #[test]
    fn whole_blocks_with_text_around_them() {
        for (file, found) in [
            (String::new(), 0),
            ("text\n-----\n".into(), 0),
            (BLOCK.into(), 1),
            (format!("text\n{BLOCK}text\n\n\n{BLOCK}text"), 2),
            (BLOCK.replace('\n', "\r\n"), 1),
        ] {
            let blocks = blocks(file.as_bytes());
            assert_eq!(blocks.map(|blocks| blocks.len()), Some(found), "{file}");
        }
    }

    #[test]
    fn a_damaged_block_is_not_passed_over() {
        for (from, to) in [
            ("-----BEGIN A-----", "----BEGIN A-----"),
            ("-----BEGIN A-----", "-----BEGIN A----"),
            ("-----BEGIN A-----", "------BEGIN A-----"),
            ("-----BEGIN A-----", "-----BEGIN B-----"),
            ("-----BEGIN A-----\n", ""),
            ("-----END A-----", "-----END A----"),
            ("-----END A-----", "----END A-----"),
            ("-----END A-----\n", ""),
            ("A-----\n", ""),
            ("AAAA", "AAA*"),
        ] {
            let damaged = BLOCK.replacen(from, to, 1);
            assert_ne!(damaged, BLOCK);
            for file in [
                damaged.clone(),
                format!("{BLOCK}{damaged}"),
                format!("{damaged}{BLOCK}"),
                format!("{BLOCK}{damaged}{BLOCK}"),
            ] {
                assert!(blocks(file.as_bytes()).is_none(), "{file}");
            }
        }
    }
}
