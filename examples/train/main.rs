//! Trains a network on a folder of pictures, one folder a class.
//!
//!     cargo run --release --features train --example train -- DATA --model alexnet --output RUN
//!     cargo run --release --features train --example train -- DATA --model alexnet --resume RUN
//!     cargo run --release --features train,wgpu --example train -- DATA --devices gpu:0,gpu:1
//!     mpirun -np 4 target/release/examples/train DATA --model alexnet --output RUN    (feature mpi)
//!     cargo run --release --features train --example train -- DATA --model vgg16 --recipe finetune --weights vgg16.pth
#![recursion_limit = "256"]

#[path = "../cli/mod.rs"]
mod cli;
mod job;
mod lines;

use alexnet_vgg::backend::{self, BackendName, Devices};
use alexnet_vgg::models::{Layer, Network, NetworkConfig, Towers};
use alexnet_vgg::train::report::Confusion;
use alexnet_vgg::train::{
    self, Augmenting, Broken, Data, Ended, Hooks, Loader, LoaderSettings, Order, Outcome,
    PictureList, Pictures, Recipe,
};
use alexnet_vgg::vision::augment::{Augmentation, PrincipalColors, Step};
use alexnet_vgg::vision::{Labels, Preset};
use alexnet_vgg::weights::Weights;
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::train::Interrupter;
use clap::Parser;
use job::Job;
use lines::Lines;
use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

#[derive(Parser)]
#[command(about = "Trains AlexNet or VGG on your pictures; Ctrl-C saves, --resume goes on")]
// Of an option that is given twice the last counts, so that a command can be changed at its end.
#[command(args_override_self = true)]
struct Args {
    /// A folder with a folder for each class; or one with `train` and `val` (or `valid`, `test`) in it, each
    /// like that; or a CSV file of path,label.
    data: PathBuf,
    #[arg(long, help = cli::networks("The network"), default_value = "alexnet", value_parser = NetworkConfig::by_name)]
    model: NetworkConfig,
    /// alexnet-2012, vgg-2014, torchvision, finetune, small, or a recipe's TOML file.
    #[arg(long, default_value = "torchvision")]
    recipe: String,
    /// Weights to begin with. Of the same network: all that fit (other classes: all but the last layer). Of
    /// a shallower VGG: the layers that the VGG paper takes over.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Layers that stay as they are, such as features or features.0; with the recipe finetune, `features`
    /// trains the classifier alone, on features that are computed once.
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    freeze: Vec<String>,
    /// Side of the square that the network sees, in pixels.
    #[arg(long, default_value_t = 224)]
    input: u32,
    /// Short side that validation pictures are resized to. Default: 8/7 of --input.
    #[arg(long)]
    resize: Option<u32>,
    /// Factor on the channels and hidden features of the network.
    #[arg(long, default_value_t = 1.0)]
    width: f64,
    /// Instead of the recipe's: passes over the training set.
    #[arg(long)]
    epochs: Option<usize>,
    /// Instead of the recipe's: images a step.
    #[arg(long)]
    batch: Option<usize>,
    /// Instead of the recipe's: parts that a batch goes through the network in, to save memory.
    #[arg(long)]
    parts: Option<usize>,
    /// Instead of the recipe's: the learning rate.
    #[arg(long)]
    rate: Option<f64>,
    /// Instead of the recipe's: an augmentation by name (alexnet, vgg, torchvision, none).
    #[arg(long)]
    augmentation: Option<String>,
    /// Classes are drawn equally often, however many pictures they have.
    #[arg(long)]
    balanced: bool,
    /// Of weights, order, augmentation and dropout.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the data has no validation set of its own: its share of every class.
    #[arg(long, default_value_t = 0.1)]
    valid_share: f64,
    /// At most so many training pictures of each class.
    #[arg(long)]
    per_class: Option<usize>,
    /// Leave pictures that cannot be read out, instead of stopping at the first.
    #[arg(long)]
    skip_broken: bool,
    /// A folder for checkpoints, weights, metrics, curves; it may not hold a run yet.
    #[arg(long, default_value = "run")]
    output: PathBuf,
    /// Instead of --output: the folder of a run that was interrupted, to go on with. All else as it was.
    #[arg(long, value_name = "RUN", conflicts_with = "output")]
    resume: Option<PathBuf>,
    /// Seconds between checkpoints within an epoch.
    #[arg(long, default_value_t = 600)]
    save_after: u64,
    /// Steps between checkpoints within an epoch, beside the time.
    #[arg(long)]
    save_steps: Option<u64>,
    /// Threads that read pictures.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// flex, ndarray or wgpu.
    #[arg(long, default_value = "flex")]
    backend: BackendName,
    /// Devices that train together, each its part of every batch: cpu,cpu or gpu:0,gpu:1. Batch norm's statistics
    /// are each one's own, unless --synchronize.
    #[arg(long, conflicts_with = "backend")]
    devices: Option<Devices>,
    /// The halves of the network are on the two --devices (cpu,cpu if there are none), as in 2012, instead of
    /// the parts of each batch. All processes of a host take the same two.
    #[arg(long)]
    towers: bool,
    /// Batch norm takes the statistics of all devices' and processes' images.
    #[arg(long)]
    synchronize: bool,
    /// burn-train's dashboard instead of lines, in a terminal. It takes a core for itself, and stops by q, not
    /// by Ctrl-C.
    #[arg(long)]
    dashboard: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match Job::start() {
        Ok(job) => job.end(run(args, &job)),
        Err(error) => cli::finish(Err(error.into())),
    }
}

fn run(args: Args, job: &Job) -> Result<(), Box<dyn Error>> {
    let backend = args.devices.as_ref().map_or(args.backend, Devices::backend);
    if backend == BackendName::NdArray {
        cli::complain(
            "ndarray has a slow backward pass: AlexNet at batch 8 takes some 40 times as long as with flex.\n",
        );
    }
    Ok(backend.run(Training { args, job })?)
}

struct Training<'a> {
    args: Args,
    job: &'a Job,
}

impl backend::Job for Training<'_> {
    type Output = ();

    fn run<B: Backend>(self, device: &B::Device) -> alexnet_vgg::Result<()> {
        let Self { args, job } = self;
        // The run's folder is the first process's.
        if let Some(run) = args.resume.as_ref().filter(|_| job.is_first()) {
            train::expect_checkpoint(run)?;
        }
        args.expect_apart()?;
        let recipe = args.recipe()?;
        let (train, valid) = args.lists(recipe.seed)?;
        let preset = args.preset()?;
        let recipe = args.with_colors(recipe, &train, job)?;
        let labels = Labels::new(train.labels().to_vec());
        B::seed(device, recipe.seed);
        let network = args.network::<Autodiff<B>>(&recipe, &labels, device)?;
        let network = network.with_preset(preset.clone());
        let see = |list: &PictureList, augmentation: Option<Augmentation>| {
            Pictures::new(list.clone(), augmentation, preset.clone()).map(Arc::new)
        };
        let data = Data {
            train: see(&train, recipe.augmentation(args.input)?)?,
            still: see(&train, None)?,
            valid: see(&valid, None)?,
        };
        let lines = Lines::new(job.is_first() && !args.shows_dashboard());
        lines.start(&network, &recipe, &data);
        let hooks = args.hooks(&lines, job);
        let outcome = match (&args.devices, args.towers) {
            (devices, true) => {
                let both = [device.clone(), device.clone()];
                let both =
                    devices.as_ref().map_or(Ok(both), |devices| devices.pair::<B>(device))?;
                train::fit(Towers::split(&network, &both)?, &recipe, &data, hooks)?
            }
            (Some(devices), _) => {
                train::fit_on(&devices.all::<B>(device)?, network, &recipe, &data, hooks)?
            }
            (None, _) => train::fit(network, &recipe, &data, hooks)?,
        };
        if !job.is_first() {
            return job.wait_for_first();
        }
        lines.end(&outcome);
        finish(args.folder(), &outcome, &data, &labels, args.broken(), job)?;
        job.is_done()
    }
}

impl Args {
    fn recipe(&self) -> alexnet_vgg::Result<Recipe> {
        let is_file = Path::new(&self.recipe).extension().is_some();
        let mut recipe = match is_file {
            true => Recipe::read(&self.recipe)?,
            false => Recipe::by_name(&self.recipe)?,
        };
        let freezes_features = self.freeze.iter().any(|layers| layers == "features");
        match recipe.head.as_mut().filter(|_| freezes_features) {
            // The classifier alone is trained, on features that never change.
            Some(head) => {
                self.change(head);
                head.rates.remove("features");
                recipe.epochs = 0;
                (recipe.seed, recipe.order) = (head.seed, head.order);
            }
            None => {
                self.change(&mut recipe);
                if let Some(head) = &mut recipe.head {
                    (head.seed, head.order) = (recipe.seed, recipe.order);
                }
            }
        }
        recipe.validate()?;
        Ok(recipe)
    }

    /// What the command line says otherwise.
    fn change(&self, recipe: &mut Recipe) {
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        recipe.batch = self.batch.unwrap_or(recipe.batch);
        recipe.parts = self.parts.unwrap_or(recipe.parts.min(recipe.batch));
        recipe.rate = self.rate.unwrap_or(recipe.rate);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.rates.extend(self.freeze.iter().map(|layer| (layer.clone(), 0.0)));
        if let Some(name) = &self.augmentation {
            recipe.augmentation = Augmenting::Named(name.clone());
        }
        recipe.synchronized_batch_norm |= self.synchronize;
        if self.balanced {
            recipe.order = Order::Balanced;
        }
    }

    /// What a run writes must not be what it reads.
    fn expect_apart(&self) -> alexnet_vgg::Result<()> {
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
        match self.data.is_dir() && whole(self.folder()).starts_with(whole(&self.data)) {
            false => Ok(()),
            true => Err(alexnet_vgg::Error::Setting {
                place: "--output".into(),
                expected: "a folder that is not within the data".into(),
                found: self.folder().display().to_string(),
            }),
        }
    }

    /// Training and validation set.
    fn lists(&self, seed: u64) -> alexnet_vgg::Result<(PictureList, PictureList)> {
        let (train, valid) = match PictureList::open(&self.data)? {
            (train, Some(valid)) => (train, valid),
            (all, None) => all.split(self.valid_share, seed)?,
        };
        match self.per_class {
            Some(count) => Ok((train.few(count, seed)?, valid)),
            None => Ok((train, valid)),
        }
    }

    /// What the weights want, or ImageNet's, at the input's size.
    fn preset(&self) -> alexnet_vgg::Result<Preset> {
        let of_weights = match &self.weights {
            Some(path) => Weights::open(path)?.preset()?,
            None => None,
        };
        let preset = of_weights.unwrap_or_else(Preset::imagenet);
        let resize = self.resize.unwrap_or(self.input.saturating_mul(8) / 7);
        let name = match (preset.crop, preset.resize) == (self.input, resize) {
            true => preset.name.clone(),
            false => format!("{} at {}", preset.name, self.input),
        };
        let preset = Preset { name, crop: self.input, resize, ..preset };
        preset.validate()?;
        Ok(preset)
    }

    /// The recipe with the principal colors of these pictures, where it adds colors.
    fn with_colors(
        &self,
        recipe: Recipe,
        train: &PictureList,
        job: &Job,
    ) -> alexnet_vgg::Result<Recipe> {
        let Some(augmentation) = recipe.augmentation(self.input)? else { return Ok(recipe) };
        let adds = |step: &Step| matches!(step, Step::PcaColor { .. });
        if !augmentation.steps.iter().any(adds) {
            return Ok(recipe);
        }
        // The run's folder is the first process's.
        let run = self.resume.as_ref().filter(|_| job.is_first());
        let of_run = run.and_then(|run| std::fs::read(run.join("recipe.toml")).ok());
        let of_run = job.processes().gather(&of_run.unwrap_or_default())?;
        let of_run = Recipe::parse("the run's", &String::from_utf8_lossy(&of_run[0])).ok();
        let colors = match of_run.as_ref().and_then(colors) {
            Some(colors) => colors,
            None => train.principal_colors(self.broken())?,
        };
        Ok(Recipe { augmentation: Augmenting::Own(augmentation.with_colors(colors)), ..recipe })
    }

    fn network<B: Backend>(
        &self,
        recipe: &Recipe,
        labels: &Labels,
        device: &B::Device,
    ) -> alexnet_vgg::Result<Network<B>> {
        let side = self.input as usize;
        let config = self.model.clone().with_num_classes(labels.count()).with_width(self.width);
        let config = recipe.initialize(config.for_input([side, side]));
        let fresh = Network::<B>::new(config, device)?.with_labels(labels.clone());
        let Some(path) = &self.weights else { return Ok(fresh) };
        let weights = Weights::open(path)?;
        let of = weights.identify()?.and_then(|identity| identity.networks.into_iter().next());
        if let Some(shallow) = of.filter(|of| is_shallower(of, &self.model)) {
            let shallow = Network::<B>::from_weights(shallow, &weights, device)?;
            return fresh.with_layers_of_shallower(&shallow);
        }
        let (network, fresh) = fresh.transferred(&weights)?;
        if !fresh.is_empty() {
            cli::complain(format!(
                "fresh, as {} has none that fit: {}\n",
                path.display(),
                fresh.join(", ")
            ));
        }
        Ok(network)
    }

    fn folder(&self) -> &Path {
        self.resume.as_deref().unwrap_or(&self.output)
    }

    fn broken(&self) -> Broken {
        if self.skip_broken { Broken::Skip } else { Broken::Stop }
    }

    fn shows_dashboard(&self) -> bool {
        self.dashboard && std::io::stdout().is_terminal()
    }

    fn hooks(&self, lines: &Lines, job: &Job) -> Hooks {
        let interrupter = Interrupter::new();
        let stop = interrupter.clone();
        // Where no handler can be set, Ctrl-C ends the program, and the last checkpoint is there.
        let _ = ctrlc::set_handler(move || stop.stop(Some("Ctrl-C")));
        Hooks {
            output: Some(self.folder().into()),
            resume: self.resume.is_some(),
            save_after: Duration::from_secs(self.save_after),
            save_steps: self.save_steps,
            interrupter,
            dashboard: self.dashboard,
            notice: lines.notice(),
            workers: self.workers,
            broken: self.broken(),
            processes: job.processes(),
            overlaps: true,
        }
    }
}

/// Of the same family, with fewer convolutions.
fn is_shallower(of: &NetworkConfig, than: &NetworkConfig) -> bool {
    let convolutions = |config: &NetworkConfig| {
        let is_convolution = |layer: &&Layer| matches!(layer, Layer::Conv { .. });
        config.architecture().features.iter().filter(is_convolution).count()
    };
    match (of, than) {
        (NetworkConfig::Vgg(a), NetworkConfig::Vgg(b)) if a.batch_norm == b.batch_norm => {
            convolutions(of) < convolutions(than)
        }
        _ => false,
    }
}

/// The principal colors of a recipe's own augmentation.
fn colors(recipe: &Recipe) -> Option<PrincipalColors> {
    let Augmenting::Own(augmentation) = &recipe.augmentation else { return None };
    augmentation.steps.iter().find_map(|step| match step {
        Step::PcaColor { colors, .. } => Some(*colors),
        _ => None,
    })
}

/// The pictures of the run.
fn finish<B: Backend>(
    output: &Path,
    outcome: &Outcome<B>,
    data: &Data,
    labels: &Labels,
    broken: Broken,
    job: &Job,
) -> alexnet_vgg::Result<()> {
    if !outcome.history.epochs.is_empty() {
        save(outcome.history.curves(), &output.join("curves.png"))?;
    }
    if outcome.ended == Ended::Interrupted {
        return Ok(());
    }
    let confusion = confusion(&outcome.best, data, labels, broken, job)?;
    save(confusion.picture(), &output.join("confusion.png"))
}

/// What the network takes the validation pictures for.
fn confusion<B: Backend>(
    network: &Network<B>,
    data: &Data,
    labels: &Labels,
    broken: Broken,
    job: &Job,
) -> alexnet_vgg::Result<Confusion> {
    let settings =
        LoaderSettings { batch: 32, order: Order::InOrder, broken, ..LoaderSettings::default() };
    let device = Default::default();
    let mut confusion = Confusion::new(labels.clone());
    for part in Loader::<B>::new(data.valid.clone(), settings, &device)?.epoch(0, 0)? {
        let batch = part?.batch;
        let guesses = network.try_forward(batch.images)?.argmax(1).into_data();
        let classes = batch.classes.into_data();
        for (class, guess) in classes.iter::<i64>().zip(guesses.iter::<i64>()) {
            confusion.add(class as usize, guess as usize)?;
        }
        job.still_works()?;
    }
    Ok(confusion)
}

fn save(picture: alexnet_vgg::vision::RgbImage, path: &Path) -> alexnet_vgg::Result<()> {
    let place = path.display().to_string();
    picture.save(path).map_err(|error| alexnet_vgg::Error::Picture {
        place,
        expected: "a file that can be written".into(),
        found: error.to_string(),
    })
}
