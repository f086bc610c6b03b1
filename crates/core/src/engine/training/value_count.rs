//! The check of a slice's length.

use crate::error::{Error, Result};

/// An error that names `place` if there are not as many values as expected.
pub fn expect_count(place: &str, values: &[f32], expected: usize) -> Result<()> {
    if values.len() == expected {
        Ok(())
    } else {
        Err(Error::ValueCount { place: place.into(), expected, found: values.len() })
    }
}
