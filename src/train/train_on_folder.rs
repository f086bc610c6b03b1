//! `train_on_folder`: from a folder of pictures to a trained network and its reports.

use super::checkpoint::Checkpoints;
use super::devices::fit_on;
use super::fit::{continues_whole_network, expect_checkpoint, fit};
use super::folder_data::{FolderLists, use_colors_of};
use super::folder_network::initial_network;
use super::folder_options::FolderOptions;
use super::options::{Event, TrainOptions};
use super::outcome::Outcome;
use super::recipe::Recipe;
use super::run_data::Data;
use super::run_reports::write_reports;
use super::run_summary::RunSummary;
use super::stored_run::StoredRun;
use super::{PictureList, Pictures};
use crate::backend::BackendName;
use crate::models::{Network, TwoGpuNetwork};
use crate::vision::Labels;
use crate::vision::augment::Augmentation;
use crate::{Error, Result};
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use std::path::Path;
use std::sync::Arc;

/// Trains a network on the pictures at `data` (see [`PictureList::open`]), and writes reports about it.
///
/// - The pictures are preprocessed as the weights need it, or as for ImageNet, at the size of the input.
/// - An augmentation that shifts principal colors uses those of the training set, which are computed once for a run.
/// - With [`resume`](TrainOptions::resume) there must be a checkpoint in [`output`](TrainOptions::output), of a run that
///   began with the same pictures and options. [`StoredRun`] reads them from the folder.
/// - At the end, `output` also contains `curves.svg` and, unless the run was interrupted, `confusion.svg`: the
///   confusion matrix of the best network on the validation set.
///
/// Several [`processes`](TrainOptions::processes) must all make the same call; only rank 0 writes the reports.
///
/// ```no_run
/// use alexnet_vgg::backend::Flex;
/// use alexnet_vgg::models::NetworkConfig;
/// use alexnet_vgg::train::{FolderOptions, Recipe, TrainOptions, train_on_folder};
///
/// let recipe = Recipe::by_name("small")?;
/// let folder = FolderOptions { input: 64, ..FolderOptions::new(NetworkConfig::by_name("vgg11")?, recipe) };
/// let options = TrainOptions { output: Some("run".into()), ..TrainOptions::default() };
/// let outcome = train_on_folder::<Flex>("digits", &folder, options, &Default::default())?;
/// println!("{:?} after {} epochs", outcome.stop_reason, outcome.history.epochs.len());
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
///
/// # Errors
/// As for [`fit`] and [`PictureList::open`]; those of reading the weights; [`Error::Setting`] if the output folder is
/// inside the data, or there is no checkpoint to resume.
pub fn train_on_folder<B: Backend>(
    data: impl AsRef<Path>,
    folder: &FolderOptions,
    options: TrainOptions,
    device: &B::Device,
) -> Result<Outcome<B>> {
    train_named(data.as_ref(), folder, options, device, None)
}

/// [`train_on_folder`], which stores the name of the backend, if it has one.
pub(super) fn train_named<B: Backend>(
    data: &Path,
    folder: &FolderOptions,
    options: TrainOptions,
    device: &B::Device,
    backend: Option<BackendName>,
) -> Result<Outcome<B>> {
    let processes = options.processes.clone();
    let opened = expect_startable(data, &options).and_then(|()| FolderLists::open(data, folder));
    let lists = processes.expect_all_ok(opened)?;
    let stored = FolderOptions { preset: Some(lists.preset.clone()), ..folder.clone() };
    let stored = StoredRun { data: data.into(), backend, options: stored }.with_absolute_paths();
    let options = stored.stored_by(options);
    if processes.rank() == 0 {
        lists.notes.iter().for_each(|note| (options.on_event)(Event::DataNote(note)));
    }
    let recipe = use_colors_of(&lists.train, folder, &options)?;
    let labels = Labels::new(lists.train.labels().to_vec());
    let folder = &without_needless_weights(folder, &options)?;
    let network = initial_network::<Autodiff<B>>(folder, &recipe, &labels, &options, device);
    let network = processes.expect_all_ok(network)?;
    let metadata = network.metadata().clone().with_preset(lists.preset.clone());
    let network = network.with_metadata(metadata);
    let data = processes.expect_all_ok(examples(&lists, folder, &recipe))?;
    if processes.rank() == 0 {
        let summary = RunSummary::new(network.architecture(), &recipe, &data);
        (options.on_event)(Event::Starting(&summary));
    }
    let outcome = fit_on_devices::<B>(network, folder, &recipe, &data, &options, device)?;
    write_reports(&outcome, &data, &labels, &options)?;
    Ok(outcome)
}

/// `Ok` if the run can start, which is checked before anything is read or computed.
fn expect_startable(data: &Path, options: &TrainOptions) -> Result<()> {
    options.expect_supported()?;
    let Some(output) = &options.output else { return Ok(()) };
    // Only rank 0 uses the output folder.
    if options.resume && options.processes.rank() == 0 {
        expect_checkpoint(output)?;
    }
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    if data.is_dir() && absolute(output).starts_with(absolute(data)) {
        return Err(Error::Setting {
            place: "output folder".into(),
            expected: "a folder that is not inside the data".into(),
            found: output.display().to_string(),
        });
    }
    Ok(())
}

/// The options without the weights that the run began with, if all weights come from its checkpoint: the file may be gone.
fn without_needless_weights(
    folder: &FolderOptions,
    options: &TrainOptions,
) -> Result<FolderOptions> {
    let exists =
        options.resume && options.output.as_ref().is_some_and(|it| Checkpoints::new(it).exist());
    // Rank 0 decides: the others have no checkpoints.
    let exists = options.processes.bytes_of_rank_0(&[u8::from(exists)])? == [1];
    let weights = folder.weights.clone();
    let weights = weights.filter(|_| !continues_whole_network(&folder.recipe, exists));
    Ok(FolderOptions { weights, ..folder.clone() })
}

fn examples(lists: &FolderLists, folder: &FolderOptions, recipe: &Recipe) -> Result<Data> {
    let pictures = |list: &PictureList, augmentation: Option<Augmentation>| {
        Pictures::new(list.clone(), augmentation, lists.preset.clone()).map(Arc::new)
    };
    Ok(Data {
        train: pictures(&lists.train, recipe.augmentation(folder.input)?)?,
        still: pictures(&lists.train, None)?,
        valid: pictures(&lists.valid, None)?,
    })
}

fn fit_on_devices<B: Backend>(
    network: Network<Autodiff<B>>,
    folder: &FolderOptions,
    recipe: &Recipe,
    data: &Data,
    options: &TrainOptions,
    device: &B::Device,
) -> Result<Outcome<B>> {
    let options = options.clone();
    match &folder.devices {
        devices if folder.two_gpu => {
            let same = [device.clone(), device.clone()];
            let pair = devices.as_ref().map_or(Ok(same), |devices| devices.pair::<B>(device))?;
            fit(TwoGpuNetwork::split(&network, &pair)?, recipe, data, options)
        }
        Some(devices) => fit_on(&devices.all::<B>(device)?, network, recipe, data, options),
        None => fit(network, recipe, data, options),
    }
}
