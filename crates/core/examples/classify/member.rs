//! A network of the ensemble. Without --ensemble there is one.

use crate::{Args, cli};
use alexnet_vgg_core::Metadata;
use alexnet_vgg_core::architecture::{Architecture, NetworkConfig};
use alexnet_vgg_core::engine::Compiled;
use alexnet_vgg_core::vision::Preset;
use alexnet_vgg_core::weights::{LoadOptions, Weights};
use std::error::Error;
use std::path::Path;

/// A network whose weights have not been read yet.
pub struct Member {
    pub architecture: Architecture,
    /// `None` for an untrained network.
    pub weights: Option<Weights>,
    pub metadata: Metadata,
}

impl Member {
    /// The network of --model, --weights and --pretrained.
    pub fn first(args: &Args) -> Result<Self, Box<dyn Error>> {
        if let Some(path) = &args.weights {
            return Self::open(args, path, args.model.as_ref());
        }
        let config = args.model.clone().map_or_else(|| NetworkConfig::by_name("vgg16"), Ok)?;
        let architecture =
            config.with_num_classes(args.num_classes.unwrap_or(1000)).architecture()?;
        if args.pretrained {
            let weights = pretrained(&architecture, args.preset.preset())?;
            return Self::new(architecture, weights);
        }
        cli::expect_memory(&architecture)?;
        Ok(Self { architecture, weights: None, metadata: Metadata::default() })
    }

    /// The network that a weights file is for.
    pub fn open(
        args: &Args,
        path: &Path,
        hint: Option<&NetworkConfig>,
    ) -> Result<Self, Box<dyn Error>> {
        let weights = args.key.open(path)?;
        let mut config = weights.network(hint, LoadOptions::default())?;
        if let Some(classes) = args.num_classes {
            config = config.with_num_classes(classes);
        }
        Self::new(config.architecture()?, weights)
    }

    fn new(architecture: Architecture, weights: Weights) -> Result<Self, Box<dyn Error>> {
        cli::expect_memory(&architecture)?;
        let metadata =
            Metadata::default().with_preset(weights.preset()?).with_labels(weights.labels()?);
        Ok(Self { architecture, weights: Some(weights), metadata })
    }

    /// The preprocessing of --preset, or else the one that the weights were trained with.
    pub fn preset(&self, args: &Args) -> alexnet_vgg_core::Result<Preset> {
        args.preset.of(&self.metadata, &self.architecture)
    }

    pub fn compile(&self, args: &Args) -> alexnet_vgg_core::Result<Compiled> {
        let (architecture, options) = (&self.architecture, args.engine.options());
        match &self.weights {
            Some(weights) => {
                Compiled::from_weights(architecture, weights, LoadOptions::default(), options)
            }
            None => cli::untrained(architecture, args.seed, options),
        }
    }
}

/// torchvision's weights.
#[cfg(feature = "hub")]
fn pretrained(
    architecture: &Architecture,
    preset: Option<&Preset>,
) -> Result<Weights, Box<dyn Error>> {
    use alexnet_vgg_core::hub::{HubOptions, Published};
    let published = Published::of(architecture)?;
    // A wrong --preset is reported before half a gigabyte is downloaded.
    if let Some(preset) = preset {
        Metadata::from(published.preset()?).expect_preset(preset, &published.name)?;
    }
    Ok(HubOptions::from_env()?.open(published)?)
}

#[cfg(not(feature = "hub"))]
fn pretrained(_: &Architecture, _: Option<&Preset>) -> Result<Weights, Box<dyn Error>> {
    Err("--pretrained needs the feature `hub`: cargo run --release --features hub ...".into())
}
