//! Trust, as the command line has it: whom flags and the trust store name, where the store lies,
//! and how its entries are shown.

mod entries;
mod files;
mod flags;

pub(crate) use self::entries::{
    PINNED, ROOT_DIGESTS_ALONE, VALID_AT, describe, store_to_json, store_to_text, to_text,
};
pub(crate) use self::files::Files;
pub(crate) use self::flags::{Trusted, load_trust, not_trusted};
