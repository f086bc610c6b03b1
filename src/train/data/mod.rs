//! What training reads: lists of labeled pictures, their order in an epoch, and the threads that have
//! the next batches ready while the network learns from one.

mod csv;
mod folder;
mod list;
mod loader;
mod order;
mod parts;
mod pictures;
mod readers;
mod subsets;

pub use list::PictureList;
pub use loader::{Loader, LoaderSettings, Shard};
pub use order::Order;
pub use parts::{Part, Parts};
pub use pictures::Pictures;

use crate::error::Error;
use serde::{Deserialize, Serialize};

/// What happens at a picture that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// An error, which names the file.
    #[default]
    Stop,
    /// It is left out, and remembered with the reason.
    Skip,
}

impl Broken {
    /// Whether it is the picture's fault, and is left out.
    pub(super) fn skips(self, error: &Error) -> bool {
        self == Self::Skip && matches!(error, Error::Io { .. } | Error::Picture { .. })
    }
}
