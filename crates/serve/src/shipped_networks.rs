//! What is served without `--weights`.

use crate::network::Loaded;
use crate::options::Options;
use alexnet_vgg_core::engine::Compiled;
use alexnet_vgg_core::samples;

/// The networks that ship with the program, with their names: what is served if no weights files are given.
pub fn shipped_networks(options: &Options) -> Result<Vec<(String, Loaded)>, String> {
    let compiled = samples::digits_weights()
        .and_then(|weights| Compiled::open_weights(&weights, options.engine()))
        .map_err(|error| error.to_string())?;
    Ok(vec![("digits".into(), Loaded { compiled, samples: samples::pictures() })])
}
