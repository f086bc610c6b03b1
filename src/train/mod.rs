//! Training: from folders of pictures to trained weights, with the recipes of the papers, and with
//! checkpoints from which every run can be resumed.
//!
//! This is the feature `train`. It is built on burn-train: a network is a [`TrainStep`](burn::train::TrainStep), and
//! the metrics, the dashboard and the [`Interrupter`](burn::train::Interrupter) are burn-train's.
//!
//! [`train_on_folder`] does everything for a folder of pictures:
//!
//! ```no_run
//! use alexnet_vgg::backend::Flex;
//! use alexnet_vgg::models::NetworkConfig;
//! use alexnet_vgg::train::{FolderOptions, Recipe, TrainOptions, train_on_folder};
//!
//! let recipe = Recipe::by_name("finetune")?;
//! let folder = FolderOptions {
//!     weights: Some("vgg16.safetensors".into()),
//!     ..FolderOptions::new(NetworkConfig::by_name("vgg16")?, recipe)
//! };
//! let options = TrainOptions { output: Some("run".into()), ..TrainOptions::default() };
//! let outcome = train_on_folder::<Flex>("photos", &folder, options, &Default::default())?;
//! println!("{:?}", outcome.history.best());
//! # Ok::<(), alexnet_vgg::Error>(())
//! ```
//!
//! [`fit`] trains any network on any [`Examples`]:
//!
//! ```no_run
//! use alexnet_vgg::models::{AlexNetConfig, InitNetwork};
//! use alexnet_vgg::train::{self, Data, PictureList, Pictures, Recipe, TrainOptions};
//! use alexnet_vgg::{Metadata, backend::Flex, vision::Preset};
//! use burn::backend::Autodiff;
//! use std::sync::Arc;
//!
//! let recipe = Recipe::by_name("alexnet-2012")?;
//! let (pictures, preset) = (PictureList::folder("photos")?, Preset::imagenet());
//! let (train, valid) = pictures.split(0.1, recipe.seed)?;
//! let examples = |list: &PictureList, augmentation| {
//!     Pictures::new(list.clone(), augmentation, preset.clone())
//! };
//! let data = Data {
//!     train: Arc::new(examples(&train, recipe.augmentation(preset.crop)?)?),
//!     still: Arc::new(examples(&train, None)?),
//!     valid: Arc::new(examples(&valid, None)?),
//! };
//! let config = AlexNetConfig::paper().with_num_classes(train.labels().len());
//! let network = config.init::<Autodiff<Flex>>(&Default::default());
//! let network = network.with_metadata(Metadata::default().with_preset(preset.clone()));
//!
//! let options = TrainOptions { output: Some("run".into()), ..TrainOptions::default() };
//! let outcome = train::fit(network, &recipe, &data, options)?;
//! println!("{:?}", outcome.history.best());
//! # Ok::<(), alexnet_vgg::Error>(())
//! ```
//!
//! # Modules
//! - `recipe`, `recipe_overrides`, `recipe_differences`, `schedule`, `sgd`: the hyperparameters; `init_from_pretrained`, `init_from_shallower`: initial weights.
//! - `data`: pictures, their order, the loader; `examples`, `batch`: what it loads.
//! - `run_data`, `options`, `outcome`, `history`: the input and the result of a run.
//! - `fit`: one run; `devices`: on several devices; `train_on_folder`: with everything around it,
//!   which is `folder_options`, `folder_data`, `folder_network`, `run_summary`, `run_reports`.
//! - `train_loop`, `optimizer_step`, `validation`, `saving`, `consistency`: the trainer; `strategy`: how burn-train runs it;
//!   `images_per_second`, `silent_renderer`: for burn-train's metrics.
//! - `trainable`: what can be trained; `step`: forward and backward; `two_gpu`: the same on two devices; `segment`,
//!   `segmented_backward`: the same in segments; `gradients`: accumulated and clipped; `nonfinite_origin`: where a NaN
//!   comes from.
//! - `processes`: several processes; `data_parallel`, `all_reduce`, `sync_batch_norm`, `consensus`, `broadcast_state`:
//!   how they train together; `replica`: copies of a network.
//! - `train_classifier`, `cached_features`: the classifier by itself, on features that are computed once.
//! - `run_state`, `totals`, `checkpoint`, `checkpoint_tensors`, `output_lock`: a run on disk.

mod all_reduce;
mod batch;
mod broadcast_state;
mod cached_features;
mod checkpoint;
mod checkpoint_tensors;
mod consensus;
mod consistency;
mod data;
mod data_parallel;
mod devices;
mod examples;
mod fit;
mod folder_data;
mod folder_network;
mod folder_options;
mod gradients;
mod hex_digest;
mod history;
mod images_per_second;
mod init_from_pretrained;
mod init_from_shallower;
mod nonfinite_origin;
mod optimizer_step;
mod options;
mod outcome;
mod output_lock;
pub mod processes;
mod recipe;
mod recipe_differences;
mod recipe_overrides;
mod replica;
pub mod report;
mod run_data;
mod run_reports;
mod run_state;
mod run_summary;
mod saving;
mod schedule;
mod segment;
mod segmented_backward;
mod setting;
mod sgd;
mod silent_renderer;
mod step;
mod strategy;
mod sync_batch_norm;
mod totals;
mod train_classifier;
mod train_folder_on;
mod train_loop;
mod train_on_folder;
mod trainable;
mod training_record;
mod two_gpu;
mod validation;

pub use batch::Batch;
pub use data::{
    BrokenPicture, CsvOptions, Loader, LoaderOptions, MicroBatch, MicroBatches, Order, PictureList,
    Pictures, Shard,
};
pub use devices::fit_on;
pub use examples::Examples;
pub use fit::{expect_checkpoint, fit};
pub use folder_options::FolderOptions;
pub use history::{Epoch, History, Scores};
pub use options::{Event, Progress, TrainOptions};
pub use outcome::{Outcome, StopReason};
pub use recipe::{Initialization, Recipe, RecipeAugmentation};
pub use recipe_overrides::RecipeOverrides;
pub use run_data::Data;
pub use run_summary::RunSummary;
pub use schedule::Schedule;
pub use sgd::{Sgd, SgdConfig, UpdateRule};
pub use train_folder_on::{RunResult, train_folder_on};
pub use train_on_folder::train_on_folder;
pub use trainable::{Evaluate, ReadRows, Trainable};
