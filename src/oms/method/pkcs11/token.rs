//! Tokens: which one a URI names, and the way in.

use cryptoki::context::{Function, Pkcs11};
use cryptoki::error::{Error as CryptokiError, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;

use super::error::{Pkcs11Error, failed, list};
use super::uri::Wanted;
use crate::name::Escaped;
use crate::oms::method::key::Password;

/// The one token that fits. The PIN must not go to another.
pub(super) fn find_token(
    module: &Pkcs11,
    wanted: &Wanted,
) -> Result<(Slot, TokenInfo), Pkcs11Error> {
    let unreadable = |error: &CryptokiError| failed("the module's tokens can't be listed", error);
    let library_fits = fits_library(module, wanted).map_err(|error| unreadable(&error))?;
    let mut found = Vec::new();
    let mut others = Vec::new();
    for slot in module
        .get_slots_with_token()
        .map_err(|error| unreadable(&error))?
    {
        // A token that is pulled out just now, or is broken, isn't the one.
        let (Ok(token), Ok(slot_info)) = (module.get_token_info(slot), module.get_slot_info(slot))
        else {
            continue;
        };
        if !token.token_initialized() {
            continue;
        }
        let fits = library_fits
            && fits(wanted.token.as_deref(), token.label())
            && fits(wanted.manufacturer.as_deref(), token.manufacturer_id())
            && fits(wanted.serial.as_deref(), token.serial_number())
            && fits(wanted.model.as_deref(), token.model())
            && fits(
                wanted.slot_manufacturer.as_deref(),
                slot_info.manufacturer_id(),
            )
            && fits(
                wanted.slot_description.as_deref(),
                slot_info.slot_description(),
            )
            && wanted.slot_id.is_none_or(|id| id == slot.id());
        if fits {
            found.push((slot, token));
        } else {
            others.push((slot, token));
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Pkcs11Error::NoToken {
            found: list(others.iter().map(shown_token)),
        }),
        _ => Err(Pkcs11Error::Tokens {
            found: list(found.iter().map(shown_token)),
        }),
    }
}

fn fits_library(module: &Pkcs11, wanted: &Wanted) -> Result<bool, CryptokiError> {
    let library = module.get_library_info()?;
    let version = library.library_version();
    Ok(fits(
        wanted.library_manufacturer.as_deref(),
        library.manufacturer_id(),
    ) && fits(
        wanted.library_description.as_deref(),
        library.library_description(),
    ) && wanted
        .library_version
        .is_none_or(|wanted| wanted == (version.major(), version.minor())))
}

fn fits(wanted: Option<&str>, found: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

fn shown_token((slot, token): &(Slot, TokenInfo)) -> String {
    format!(
        "token={} serial={} slot-id={}",
        token.label(),
        token.serial_number(),
        slot.id()
    )
}

pub(super) fn log_in(
    session: &Session,
    token: &TokenInfo,
    pin: Option<&Password>,
) -> Result<(), Pkcs11Error> {
    let label = || Escaped::bounded(token.label());
    let done = match pin {
        None if !token.login_required() => return Ok(()),
        // The token has a keypad of its own.
        None if token.protected_authentication_path() => session.login(UserType::User, None),
        None => return Err(Pkcs11Error::NoPin(label())),
        Some(_) if token.user_pin_locked() => return Err(Pkcs11Error::PinLocked(label())),
        Some(pin) => {
            let pin = RawAuthPin::new(Box::new(pin.bytes().to_vec()));
            session.login_with_raw(UserType::User, &pin)
        }
    };
    done.map_err(|error| match error {
        CryptokiError::Pkcs11(
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
            Function::Login,
        ) => Pkcs11Error::WrongPin(label()),
        CryptokiError::Pkcs11(RvError::PinLocked, Function::Login) => {
            Pkcs11Error::PinLocked(label())
        }
        other => failed("the token refuses the login", &other),
    })
}
