//! `--weights [NAME=]FILE`: where a network comes from.

use crate::network::Loaded;
use crate::options::Options;
use alexnet_vgg_core::engine::Compiled;
use alexnet_vgg_core::printable;
use alexnet_vgg_core::vision::Labels;
use alexnet_vgg_core::weights::{LoadOptions, Weights};
use std::path::PathBuf;

/// A weights file, and the name that its network is served under.
#[derive(Clone, Debug)]
pub struct NetworkSource {
    pub name: String,
    pub file: PathBuf,
}

impl NetworkSource {
    /// Parses `[NAME=]FILE`. A name has letters, digits, `_`, `-` and `.`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_name_char = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let is_name = |name: &&str| !name.is_empty() && name.chars().all(is_name_char);
        if let Some((name, file)) = text.split_once('=').filter(|(name, _)| is_name(name)) {
            return Ok(Self { name: name.into(), file: file.into() });
        }
        let file = PathBuf::from(text);
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let name: String = stem.chars().map(|c| if is_name_char(c) { c } else { '-' }).collect();
        if name.is_empty() {
            return Err(format!("expected [NAME=]FILE, found {}", printable(text)));
        }
        Ok(Self { name, file })
    }

    /// Reads the file and compiles its network.
    pub fn load(&self, options: &Options) -> Result<Loaded, String> {
        let load = || {
            let weights = Weights::open(&self.file)?;
            let network = weights.network(options.model.as_ref(), LoadOptions::default())?;
            let compiled = Compiled::from_weights(
                network,
                &weights,
                LoadOptions::default(),
                options.engine(),
            )?;
            let stated = compiled.metadata().clone();
            let labels = match (&stated.labels, &options.labels) {
                (None, Some(file)) => Some(Labels::read(file)?),
                _ => stated.labels.clone(),
            };
            let preset = stated.preset_for(options.preset.clone(), compiled.architecture())?;
            let metadata = stated.with_preset(preset).with_labels(labels);
            Ok(compiled.with_metadata(metadata))
        };
        let load = load().map_err(|error: alexnet_vgg_core::Error| {
            let (file, error) = (printable(&self.file.display().to_string()), error.to_string());
            if error.contains(&file) { error } else { format!("{file}: {error}") }
        });
        Ok(Loaded { compiled: load?, samples: &[] })
    }
}
