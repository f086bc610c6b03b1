//! Where a loss that is NaN or infinite comes from.

use crate::Result;
use crate::models::{Network, Tap};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// A sentence that names the first place in the forward pass, `[N, C, H, W]` to logits, where a value is NaN or
/// infinite.
pub(super) fn nonfinite_origin<B: Backend>(
    network: &Network<B>,
    images: Tensor<B, 4>,
) -> Result<String> {
    if !is_finite(Tap::Map(images.clone()))? {
        return Ok("it began in the images, which have values that are NaN or infinite".into());
    }
    for parameter in network.architecture().parameters() {
        for rows in parameter.row_chunks() {
            if network.values(parameter, rows)?.iter().any(|value| !value.is_finite()) {
                let key = &parameter.key;
                return Ok(format!("it began in {key}, which has values that are NaN or infinite"));
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
    Ok("all layers have finite outputs without dropout and with batch norm's running statistics"
        .into())
}

fn is_finite<B: Backend>(tap: Tap<B>) -> Result<bool> {
    Ok(tap.into_data()?.iter::<f32>().all(f32::is_finite))
}
