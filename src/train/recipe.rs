//! Training recipes: all hyperparameters as data, each number with its source.

use super::schedule::Schedule;
use super::setting::expect_setting;
use super::sgd::SgdConfig;
use super::{BrokenPicture, LoaderOptions, Mix, Mixing, Order};
use crate::models::{NetworkConfig, VggInit};
use crate::vision::augment::Augmentation;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The hyperparameters of a training run. Initialization and dropout are those of the network's architecture, unless
/// the recipe has an [`initialization`](Self::initialization).
///
/// ```
/// use alexnet_vgg::train::Recipe;
///
/// let recipe = Recipe::by_name("alexnet-2012")?;
/// assert_eq!((recipe.batch, recipe.rate), (128, 0.01));
/// println!("{}: {}", recipe.rate, recipe.sources["rate"]);
///
/// let longer = Recipe { epochs: 120, ..recipe };
/// assert_eq!(Recipe::parse("longer.toml", &longer.to_toml()?)?, longer);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The name of the recipe.
    pub name: String,
    /// Images of one optimizer step.
    pub batch: usize,
    /// Micro-batches that a batch is divided into, whose gradients are accumulated: the same step in less memory,
    /// except that batch norm uses the statistics of each micro-batch.
    #[serde(default = "one")]
    pub micro_batches: usize,
    /// Passes over the training set.
    pub epochs: usize,
    /// The learning rate, which the schedule and the [`rates`](Self::rates) of layers multiply.
    pub rate: f64,
    /// Epochs in which the rate rises linearly to its full value; not necessarily a whole number.
    #[serde(default)]
    pub warm_up: f64,
    /// The fraction of each target that is spread over all classes, 0 to below 1 (Szegedy et al., 2015).
    #[serde(default)]
    pub label_smoothing: f64,
    /// The largest norm of all gradients as one vector; gradients with a larger norm are scaled down to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// The number of epochs without a new best validation top-1 accuracy after which the run ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<usize>,
    /// The seed of everything random: weights, order, augmentation, dropout.
    #[serde(default)]
    pub seed: u64,
    /// The order of the training examples.
    #[serde(default)]
    pub order: Order,
    /// The initialization of VGG, if it is not that of the network's architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization: Option<Initialization>,
    /// The augmentation of the training pictures.
    pub augmentation: RecipeAugmentation,
    /// Mixup: each training picture is mixed with another of its batch, and its target likewise, before
    /// [`label_smoothing`](Self::label_smoothing). A [`head`](Self::head) mixes features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixup: Option<Mix>,
    /// CutMix: into each training picture, a rectangle of another one is pasted, and its target is mixed by area. With
    /// [`mixup`](Self::mixup), each picture draws one of the two, each with a chance of a half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<Mix>,
    /// The decay of an exponential moving average of the weights (EMA), above 0 and below 1: after each step,
    /// `average <- decay * average + (1 - decay) * weights`, where batch norm's running statistics count as weights. It begins
    /// with the weights after the first step. The average is what is validated, and it is the best and the last network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// The optimizer.
    pub optimizer: SgdConfig,
    /// The learning rate schedule.
    pub schedule: Schedule,
    /// Factors for the learning rates of layers, by names such as `features`, `features.0` or
    /// `classifier.6`. If several names match a layer, the longest counts. 0 freezes a layer,
    /// including its batch norm.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, f64>,
    /// A recipe for training the classifier by itself first, on features of the pictures without augmentation,
    /// which are computed once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Box<Recipe>>,
    /// Whether batch norm uses the statistics of the images of all processes, as PyTorch's SyncBatchNorm, instead of
    /// each process's own. They are those of a [micro-batch](Self::micro_batches), if batches are divided. Not for
    /// a [`TwoGpuNetwork`](crate::models::TwoGpuNetwork).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub synchronized_batch_norm: bool,
    /// The sources of the numbers, by setting.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, String>,
}

/// The augmentation of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RecipeAugmentation {
    /// A name that [`Augmentation::by_name`] knows, or `none`.
    Named(String),
    /// Any other augmentation.
    Custom(Augmentation),
}

/// The initialization of a network with random weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initialization {
    /// That of the paper.
    Paper,
    /// That of torchvision.
    Torchvision,
}

fn one() -> usize {
    1
}

/// Names and TOML texts.
const RECIPES: [(&str, &str); 6] = [
    ("alexnet-2012", include_str!("recipes/alexnet-2012.toml")),
    ("vgg-2014", include_str!("recipes/vgg-2014.toml")),
    ("torchvision", include_str!("recipes/torchvision.toml")),
    ("finetune", include_str!("recipes/finetune.toml")),
    ("small", include_str!("recipes/small.toml")),
    ("digits", include_str!("recipes/digits.toml")),
];

impl Recipe {
    /// The names of the built-in recipes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        RECIPES.iter().map(|(name, _)| *name)
    }

    /// A built-in recipe: `alexnet-2012`, `vgg-2014`, `torchvision`, `finetune`, `small` (ours, for small
    /// pictures), or `digits` (ours, for handwriting).
    ///
    /// # Errors
    /// [`Error::Setting`] for another name, with the list of names.
    pub fn by_name(name: &str) -> Result<Self> {
        match RECIPES.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => Self::parse(name, text),
            None => Err(Error::Setting {
                place: "recipe".into(),
                expected: Self::names().collect::<Vec<_>>().join(", "),
                found: name.into(),
            }),
        }
    }

    /// Reads a recipe from a TOML file.
    ///
    /// # Errors
    /// [`Error::Io`], and as for [`parse`](Self::parse).
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Parses a recipe in TOML; `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Setting`] with the line that is not valid, or the setting that is out of range.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let recipe: Self = toml::from_str(text).map_err(|error| Error::Setting {
            place: format!("recipe {name}"),
            expected: "a recipe in TOML".into(),
            found: error.to_string().trim_end().into(),
        })?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// The recipe in TOML, with its sources.
    ///
    /// # Errors
    /// [`Error::Setting`] for a seed of 2^63 or above, which TOML cannot express.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Setting {
            place: format!("recipe {}", self.name),
            expected: "values that TOML can express".into(),
            found: error.to_string(),
        })
    }

    /// `Ok` if all settings are in range. Everything that uses a recipe checks this first.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first setting that is not.
    pub fn validate(&self) -> Result<()> {
        const LARGEST: usize = 1 << 20;
        expect_setting(
            "batch",
            (1..=LARGEST).contains(&self.batch),
            "1 to 1048576 images",
            self.batch,
        )?;
        let fits = (1..=self.batch).contains(&self.micro_batches);
        let expected = "1 to the number of its images";
        expect_setting("micro-batches of a batch", fits, expected, self.micro_batches)?;
        // There are none if only the classifier is trained.
        let fewest = usize::from(self.head.is_none());
        let fits = (fewest..=LARGEST).contains(&self.epochs);
        expect_setting("epochs", fits, &format!("{fewest} to {LARGEST}"), self.epochs)?;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        expect_setting("learning rate", positive(self.rate), "above 0", self.rate)?;
        let fits = self.warm_up.is_finite() && self.warm_up >= 0.0;
        expect_setting("epochs of warm-up", fits, "at least 0", self.warm_up)?;
        let fits = (0.0..1.0).contains(&self.label_smoothing);
        expect_setting("label smoothing", fits, "0 to below 1", self.label_smoothing)?;
        if let Some(norm) = self.clip_norm {
            expect_setting("largest norm of the gradients", positive(norm), "above 0", norm)?;
        }
        if let Some(decay) = self.ema_decay {
            let fits = decay > 0.0 && decay < 1.0;
            expect_setting("decay of the weight average", fits, "above 0, below 1", decay)?;
        }
        self.mixing().validate()?;
        expect_setting("early stop", self.early_stop != Some(0), "at least 1 epoch", 0)?;
        for (layer, &factor) in &self.rates {
            let fits = factor.is_finite() && factor >= 0.0;
            expect_setting(&format!("rate of {layer}"), fits, "at least 0", factor)?;
        }
        // TOML has no larger integers.
        let fits = i64::try_from(self.seed).is_ok();
        expect_setting("seed", fits, "below 2^63", self.seed)?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        if let RecipeAugmentation::Custom(augmentation) = &self.augmentation {
            augmentation.validate()?;
        }
        self.head.iter().try_for_each(|head| head.validate())
    }

    /// The augmentation, with crops of `side` pixels; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Setting`] for an unknown name, or an augmentation that is not valid.
    pub fn augmentation(&self, side: u32) -> Result<Option<Augmentation>> {
        let augmentation = match &self.augmentation {
            RecipeAugmentation::Named(name) if name == "none" => return Ok(None),
            RecipeAugmentation::Named(name) => Augmentation::by_name(name)?,
            RecipeAugmentation::Custom(augmentation) => augmentation.clone(),
        };
        augmentation.validate()?;
        Ok(Some(augmentation.with_crop(side)))
    }

    /// The network with the recipe's [`initialization`](Self::initialization).
    pub fn initialize(&self, network: NetworkConfig) -> NetworkConfig {
        match (network, self.initialization) {
            (NetworkConfig::Vgg(vgg), Some(Initialization::Paper)) => {
                NetworkConfig::Vgg(vgg.with_initialization(VggInit::Paper))
            }
            (NetworkConfig::Vgg(vgg), Some(Initialization::Torchvision)) => {
                NetworkConfig::Vgg(vgg.with_initialization(VggInit::Torchvision))
            }
            (other, _) => other,
        }
    }

    /// How the training set is loaded.
    pub(super) fn training_loader(&self, workers: usize, broken: BrokenPicture) -> LoaderOptions {
        LoaderOptions {
            batch: self.batch,
            micro_batches: self.micro_batches,
            order: self.order,
            seed: self.seed,
            workers,
            broken,
            mixing: self.mixing(),
            ..LoaderOptions::default()
        }
    }

    /// How the validation set is loaded: in batches of the size of a training micro-batch.
    pub(super) fn validation_loader(&self, workers: usize, broken: BrokenPicture) -> LoaderOptions {
        LoaderOptions {
            batch: self.batch.div_ceil(self.micro_batches),
            micro_batches: 1,
            order: Order::InOrder,
            mixing: Mixing::default(),
            ..self.training_loader(workers, broken)
        }
    }

    fn mixing(&self) -> Mixing {
        Mixing { mixup: self.mixup, cutmix: self.cutmix }
    }

    /// The factor on the learning rate of the parameter with this key.
    pub(super) fn rate_of(&self, key: &str) -> f64 {
        let named = self.rates.iter().filter(|(name, _)| is_of(key, name));
        named.max_by_key(|(name, _)| name.len()).map_or(1.0, |(_, &factor)| factor)
    }
}

/// Whether the parameter with this key belongs to a layer, or to a section of the network.
pub(super) fn is_of(key: &str, layer: &str) -> bool {
    key.strip_prefix(layer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
