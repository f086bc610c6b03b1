//! What to do about pictures that cannot be read.

use crate::Error;
use serde::{Deserialize, Serialize};

/// What to do about a picture, or any other example, that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokenPicture {
    /// Stop with an error that names the file.
    #[default]
    Stop,
    /// Leave it out, and record the reason.
    Skip,
}

impl BrokenPicture {
    /// Whether an example that could not be read because of `error` is skipped: only if the example itself is at
    /// fault.
    pub(in crate::train) fn skips(self, error: &Error) -> bool {
        self == Self::Skip && matches!(error, Error::Io { .. } | Error::Picture { .. })
    }
}
