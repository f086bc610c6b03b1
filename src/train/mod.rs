//! Training: from folders of pictures to trained weights, by the papers' recipes, and no run is lost.
//!
//! Feature `train`. It stands on burn-train: a network is a [`TrainStep`](burn::train::TrainStep), its
//! metrics, its dashboard and its [`Interrupter`](burn::train::Interrupter) are burn's.
//!
//! ```no_run
//! use alexnet_vgg::models::AlexNetConfig;
//! use alexnet_vgg::train::{self, Data, Hooks, PictureList, Pictures, Recipe};
//! use alexnet_vgg::{backend::Flex, vision::Preset};
//! use burn::backend::Autodiff;
//! use std::sync::Arc;
//!
//! let recipe = Recipe::by_name("alexnet-2012")?;
//! let (pictures, preset) = (PictureList::folder("photos")?, Preset::imagenet());
//! let (train, valid) = pictures.split(0.1, recipe.seed)?;
//! let see = |list: &PictureList, augmentation| Pictures::new(list.clone(), augmentation, preset.clone());
//! let data = Data {
//!     train: Arc::new(see(&train, recipe.augmentation(preset.crop)?)?),
//!     still: Arc::new(see(&train, None)?),
//!     valid: Arc::new(see(&valid, None)?),
//! };
//! let config = AlexNetConfig::paper().with_num_classes(train.labels().len());
//! let network = config.init::<Autodiff<Flex>>(&Default::default()).with_preset(preset.clone());
//!
//! let hooks = Hooks { output: Some("run".into()), ..Hooks::default() };
//! let outcome = train::fit(network, &recipe, &data, hooks)?;
//! println!("{:?}", outcome.history.best());
//! # Ok::<(), alexnet_vgg::Error>(())
//! ```
//!
//! - `recipe`, `schedule`, `sgd`: how, as data; `transfer`: where the weights begin.
//! - `data`: pictures, their order, the loader; `examples`, `batch`: what it gives.
//! - `fit`: the whole, and what it gives back; `run`: the loop; `step`: forward and backward; `towers`: the same on
//!   two devices; `gradients`:
//!   added up and clipped; `culprit`: where a loss that is no number began; `images_per_second`, `forgetful`: for burn-train's
//!   dashboard, and for a run without it.
//! - `processes`: several that train together; `together`: a step of one of them, in every `stretch` that it is
//!   cut into; `exchange`: the sum of their gradients.
//! - `head`, `maps`: the classifier alone, on features that are computed once.
//! - `state`, `history`, `checkpoint`, `saved`: where a run is, on disk.

mod batch;
mod checkpoint;
mod culprit;
mod data;
mod devices;
mod examples;
mod exchange;
mod fit;
mod folder;
mod forgetful;
mod gradients;
mod head;
mod history;
mod images_per_second;
mod maps;
pub mod processes;
mod recipe;
pub mod report;
mod run;
mod saved;
mod schedule;
mod sgd;
mod start;
mod state;
mod step;
mod stretch;
mod together;
mod towers;
mod trainable;
mod transfer;
mod vote;

pub use batch::Batch;
pub use data::{Broken, Loader, LoaderSettings, Order, Part, Parts, PictureList, Pictures, Shard};
pub use devices::fit_on;
pub use examples::Examples;
pub use fit::{Data, Ended, Hooks, Moment, Notice, Outcome, expect_checkpoint, fit};
pub use history::{Epoch, History, Scores};
pub use recipe::{Augmenting, Initialization, Recipe};
pub use schedule::Schedule;
pub use sgd::{Sgd, SgdConfig, UpdateRule};
pub use trainable::{Rows, Trainable, Trial};

pub(crate) use gradients::{add, collect};
pub(crate) use stretch::Stretch;

use crate::error::{Error, Result};
use sha2::{Digest, Sha256};

/// `Ok` if a setting fits.
fn setting(place: &str, fits: bool, expected: &str, found: impl ToString) -> Result<()> {
    match fits {
        true => Ok(()),
        false => Err(Error::Setting {
            place: place.into(),
            expected: expected.into(),
            found: found.to_string(),
        }),
    }
}

/// A hash as people write it.
fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
