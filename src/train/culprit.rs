//! Where a loss that is no number comes from.

use crate::error::Result;
use crate::models::{Network, Tap};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// The first thing on an image's way through the network that is no number, in words.
pub(super) fn find<B: Backend>(network: &Network<B>, images: Tensor<B, 4>) -> Result<String> {
    if !is_finite(Tap::Map(images.clone()))? {
        return Ok("its images have values that are no numbers".into());
    }
    for parameter in network.architecture().parameters()? {
        for rows in parameter.pieces() {
            if network.values(&parameter, rows)?.iter().any(|value| !value.is_finite()) {
                return Ok(format!("it began in {}, whose values are no numbers", parameter.key));
            }
        }
    }
    let [_, _, height, width] = images.dims();
    let steps = network.architecture().walk([height, width])?;
    let keys: Vec<&str> = steps.iter().map(|step| step.key.as_str()).collect();
    for (step, tap) in steps.iter().zip(network.taps(images, &keys)?) {
        if !is_finite(tap)? {
            return Ok(format!("it began in the output of {} ({})", step.key, step.name));
        }
    }
    Ok("without dropout and the batch's own statistics all outputs of layers are numbers".into())
}

fn is_finite<B: Backend>(tap: Tap<B>) -> Result<bool> {
    Ok(tap.into_data()?.iter::<f32>().all(f32::is_finite))
}
