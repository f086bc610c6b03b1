//! How to train, as data: the papers' recipes, each number with its source.

use super::schedule::Schedule;
use super::sgd::SgdConfig;
use super::{Broken, LoaderSettings, Order, setting};
use crate::error::{Error, Result};
use crate::models::{NetworkConfig, VggInit};
use crate::vision::augment::Augmentation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A recipe. What it does not say is as in the network's table: the initialization, dropout.
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
    /// What it is called.
    pub name: String,
    /// Images a step.
    pub batch: usize,
    /// Parts that a batch goes through the network in, one after the other, their gradients added up:
    /// the same step in less memory (but for batch norm, which sees each part alone).
    #[serde(default = "one")]
    pub parts: usize,
    /// Passes over the training set.
    pub epochs: usize,
    /// The learning rate, before the schedule and the rates of layers.
    pub rate: f64,
    /// Epochs, or a part of one, in which the rate rises to its full value.
    #[serde(default)]
    pub warm_up: f64,
    /// The part of the target that is spread over all classes, 0 to below 1 (Szegedy et al., 2015).
    #[serde(default)]
    pub label_smoothing: f64,
    /// The largest norm of all gradients together; larger ones are scaled down to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Epochs without a better validation top-1 than ever before after which the run ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<usize>,
    /// Of everything that is drawn: weights, order, augmentation, dropout.
    #[serde(default)]
    pub seed: u64,
    /// In which order the examples are seen.
    #[serde(default)]
    pub order: Order,
    /// Fresh weights otherwise than in the network's table: VGG has two ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialization: Option<Initialization>,
    /// What the training pictures go through.
    pub augmentation: Augmenting,
    /// The update.
    pub optimizer: SgdConfig,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// Factors on the learning rate of layers: `features`, `features.0`, `classifier.6`. The longest
    /// name that fits counts. 0 freezes a layer, its batch norm too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, f64>,
    /// A recipe for the classifier alone, which goes first: on the features of the untouched pictures,
    /// computed once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Box<Recipe>>,
    /// Whether batch norm takes the statistics of all processes' images where several divide a batch, as
    /// PyTorch's SyncBatchNorm; otherwise each process's are its own. (Of a batch in [parts](Self::parts), of a part of
    /// each.) Not with [`Towers`](crate::models::Towers).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub synchronized_batch_norm: bool,
    /// Where the numbers are from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, String>,
}

/// The augmentation of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Augmenting {
    /// One that [`Augmentation::by_name`] knows, or `none`.
    Named(String),
    /// One of your own.
    Own(Augmentation),
}

/// Fresh weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initialization {
    /// As the paper has it.
    Paper,
    /// As torchvision has it.
    Torchvision,
}

fn one() -> usize {
    1
}

/// Name and text. A new recipe is a new file.
const RECIPES: [(&str, &str); 5] = [
    ("alexnet-2012", include_str!("recipes/alexnet-2012.toml")),
    ("vgg-2014", include_str!("recipes/vgg-2014.toml")),
    ("torchvision", include_str!("recipes/torchvision.toml")),
    ("finetune", include_str!("recipes/finetune.toml")),
    ("small", include_str!("recipes/small.toml")),
];

impl Recipe {
    /// The names that [`by_name`](Self::by_name) knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        RECIPES.iter().map(|(name, _)| *name)
    }

    /// `alexnet-2012`, `vgg-2014`, `torchvision`, `finetune`, or `small` (ours, for small pictures).
    ///
    /// # Errors
    /// [`Error::Setting`], which lists the names.
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

    /// A recipe in a TOML file.
    ///
    /// # Errors
    /// [`Error::Io`], and as for [`parse`](Self::parse).
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// A recipe as TOML; `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Setting`] with the line that is wrong, or the setting out of its range.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let recipe: Self = toml::from_str(text).map_err(|error| Error::Setting {
            place: format!("recipe {name}"),
            expected: "a recipe in TOML".into(),
            found: error.to_string().trim_end().into(),
        })?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// As TOML, with the sources.
    ///
    /// # Errors
    /// [`Error::Setting`] for a seed that TOML cannot say: 2^63 and above.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Setting {
            place: format!("recipe {}", self.name),
            expected: "values that TOML has".into(),
            found: error.to_string(),
        })
    }

    /// `Ok` if all settings are in their range. All that uses a recipe asks this first.
    ///
    /// # Errors
    /// [`Error::Setting`] with the one that is not.
    pub fn validate(&self) -> Result<()> {
        const MOST: usize = 1 << 20;
        setting("batch", (1..=MOST).contains(&self.batch), "1 to 1048576 images", self.batch)?;
        let fits = (1..=self.batch).contains(&self.parts);
        setting("parts of a batch", fits, "at least 1, at most its images", self.parts)?;
        // None, where the classifier alone is trained.
        let fewest = usize::from(self.head.is_none());
        let fits = (fewest..=MOST).contains(&self.epochs);
        setting("epochs", fits, &format!("{fewest} to {MOST}"), self.epochs)?;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        setting("learning rate", positive(self.rate), "above 0", self.rate)?;
        let warms = self.warm_up.is_finite() && self.warm_up >= 0.0;
        setting("epochs of warm-up", warms, "at least 0", self.warm_up)?;
        let smooths = (0.0..1.0).contains(&self.label_smoothing);
        setting("label smoothing", smooths, "0 to below 1", self.label_smoothing)?;
        if let Some(norm) = self.clip_norm {
            setting("largest norm of the gradients", positive(norm), "above 0", norm)?;
        }
        setting("early stop", self.early_stop != Some(0), "at least 1 epoch", 0)?;
        for (layer, &factor) in &self.rates {
            let fits = factor.is_finite() && factor >= 0.0;
            setting(&format!("rate of {layer}"), fits, "at least 0", factor)?;
        }
        // TOML's numbers end there.
        let fits = i64::try_from(self.seed).is_ok();
        setting("seed", fits, "below 2^63", self.seed)?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        if let Augmenting::Own(augmentation) = &self.augmentation {
            augmentation.validate()?;
        }
        self.head.iter().try_for_each(|head| head.validate())
    }

    /// The augmentation, for crops of `side` pixels; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Setting`] for a name that nothing has.
    pub fn augmentation(&self, side: u32) -> Result<Option<Augmentation>> {
        let augmentation = match &self.augmentation {
            Augmenting::Named(name) if name == "none" => return Ok(None),
            Augmenting::Named(name) => Augmentation::by_name(name)?,
            Augmenting::Own(augmentation) => augmentation.clone(),
        };
        augmentation.validate()?;
        Ok(Some(augmentation.with_crop(side)))
    }

    /// The network with fresh weights as the recipe has them.
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
    pub(super) fn training(&self, workers: usize, broken: Broken) -> LoaderSettings {
        LoaderSettings {
            batch: self.batch,
            parts: self.parts,
            order: self.order,
            seed: self.seed,
            workers,
            broken,
            ..LoaderSettings::default()
        }
    }

    /// How the validation set is loaded: as many images at once.
    pub(super) fn validation(&self, workers: usize, broken: Broken) -> LoaderSettings {
        LoaderSettings {
            batch: self.batch.div_ceil(self.parts),
            parts: 1,
            order: Order::InOrder,
            ..self.training(workers, broken)
        }
    }

    /// The factor on the learning rate of a parameter, by its key.
    pub(super) fn rate_of(&self, key: &str) -> f64 {
        let named = self.rates.iter().filter(|(name, _)| is_of(key, name));
        named.max_by_key(|(name, _)| name.len()).map_or(1.0, |(_, &factor)| factor)
    }

    /// Without what makes no difference.
    fn comparable(&self) -> Self {
        let head = self.head.as_ref().map(|head| Box::new(head.comparable()));
        let epochs = if self.schedule.needs_the_end() { self.epochs } else { 1 };
        Self { name: String::new(), sources: BTreeMap::new(), epochs, head, ..self.clone() }
    }

    /// In what another recipe differs, one line a setting. Sources and names do not count, nor do epochs
    /// that the schedule does not need to know.
    pub(super) fn differences(&self, other: &Self, was: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let comparable = |recipe: &Self| {
            toml::Value::try_from(recipe.comparable()).map_err(|error| Error::Setting {
                place: "recipe".into(),
                expected: "values that TOML has".into(),
                found: error.to_string(),
            })
        };
        compare("", Some(&comparable(self)?), Some(&comparable(other)?), was, &mut lines);
        Ok(lines)
    }
}

/// Whether a parameter is of a layer, or of a part of the network.
pub(super) fn is_of(key: &str, layer: &str) -> bool {
    key.strip_prefix(layer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn compare(
    place: &str,
    ours: Option<&toml::Value>,
    theirs: Option<&toml::Value>,
    was: &str,
    lines: &mut Vec<String>,
) {
    use toml::Value::Table;
    match (ours, theirs) {
        (Some(Table(ours)), Some(Table(theirs))) => {
            let keys: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
            for key in keys {
                let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                compare(&place, ours.get(key), theirs.get(key), was, lines);
            }
        }
        (ours, theirs) if ours != theirs => {
            let show =
                |value: Option<&toml::Value>| value.map_or("nothing".into(), |v| v.to_string());
            lines.push(format!("{place}: {}, {was} {}", show(ours), show(theirs)));
        }
        _ => {}
    }
}
