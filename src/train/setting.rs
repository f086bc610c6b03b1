//! Checks of settings, all of which report [`Error::Setting`].

use crate::{Error, Result};

/// `Ok` if `is_valid`; otherwise the error that says what was expected of `place`, and what was found.
pub(super) fn expect_setting(
    place: &str,
    is_valid: bool,
    expected: &str,
    found: impl ToString,
) -> Result<()> {
    if is_valid {
        return Ok(());
    }
    Err(Error::Setting { place: place.into(), expected: expected.into(), found: found.to_string() })
}
