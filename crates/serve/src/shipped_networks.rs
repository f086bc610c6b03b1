//! What is served without `--weights`.

use crate::network::{Loaded, Sample};
use crate::options::Options;
use alexnet_vgg_core::engine::Compiled;
use alexnet_vgg_core::samples;
use alexnet_vgg_core::weights::LoadOptions;

/// The networks that ship with the program, with their names: what is served if no weights files are given.
pub fn shipped_networks(options: &Options) -> Result<Vec<(String, Loaded)>, String> {
    let compile = || {
        let (weights, load) = (samples::digits_weights()?, LoadOptions::default());
        let network = weights.network(None, load)?;
        Compiled::from_weights(network, &weights, load, options.engine())
    };
    let digits = compile().map_err(|error: alexnet_vgg_core::Error| error.to_string())?;
    let pictures = samples::pictures().iter().map(|picture| Sample {
        name: picture.name.into(),
        label: picture.label.into(),
        png: picture.png,
    });
    Ok(vec![("digits".into(), Loaded::new(digits, pictures.collect()))])
}
