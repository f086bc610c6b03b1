//! Grad-CAM (Selvaraju et al. 2017): which part of a picture a prediction comes from.

use super::last_compiled::LastCompiled;
use super::network_model::read;
use super::{Architecture, Layer, Network, Tap};
use crate::{Error, Result};
use alexnet_vgg_core::predict::{HeatMap, expect_finite};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

/// Where in `image`, `[1, C, H, W]`, the network sees `class` or, by default, the class that it
/// predicts. Returns a map over the layer's cells, with values of 0 and above, and the class.
///
/// Selvaraju et al. 2017, section 3: a channel's weight is the gradient of the class's logit with respect
/// to it, averaged over space; the map is the positive part of the weighted sum of the channels. The layer
/// is one of the features, by torchvision's or the papers' name; by default the last convolution's
/// activation (`relu5_3` of VGG16, `relu5` of AlexNet). The network itself is not trained: it runs
/// [frozen](Network::freeze), and without gradients up to the layer.
///
/// ```
/// use alexnet_vgg::{backend::Cpu, models::{InitNetwork, Vgg, VggConfig}, predict::grad_cam};
/// use burn::backend::Autodiff;
/// use burn::tensor::{Distribution, Tensor};
///
/// let device = Default::default();
/// let config = VggConfig::vgg11().with_width(0.05).with_num_classes(10);
/// let vgg: Vgg<Autodiff<Cpu>> = config.init(&device);
/// let image = Tensor::random([1, 3, 64, 96], Distribution::Default, &device);
///
/// let (map, class) = grad_cam(&vgg, image, None, None)?;
/// assert_eq!(map.size(), [4, 6]); // relu5_2 sees every 16th pixel
/// println!("class {class} is at {:?}", map.peak());
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
///
/// # Errors
/// [`Error::InputShape`] for more than one image; [`Error::UnknownLayer`]; [`Error::Setting`] for a
/// layer that is not one of the features, or a class that the network does not have;
/// [`Error::NotFinite`] for an image or a network that contains NaN or infinity; and as for
/// [`Network::taps`].
pub fn grad_cam<B: AutodiffBackend>(
    network: &Network<B>,
    image: Tensor<B, 4>,
    layer: Option<&str>,
    class: Option<usize>,
) -> Result<(HeatMap, usize)> {
    let [batch, _, height, width] = image.dims();
    let table = network.architecture();
    if batch != 1 {
        return Err(Error::InputShape {
            network: table.name.clone(),
            expected: format!("one image, [1, {}, H, W]", table.input[0]),
            found: image.dims().into(),
        });
    }
    let layer = match layer {
        Some(layer) => layer.to_string(),
        None => last_activation(table)?,
    };
    // Before anything runs: fails for a layer that is not one of the features.
    table.receptive_field(&layer)?;
    let mut network = network.clone().freeze();
    // Its passes, with gradients, would make the others forget what they were compiled to.
    network.last_compiled = LastCompiled::default();
    // Not by `valid()`, whose passes are the engine's: it would pack the weights for this one.
    let taps = network.taps(image.detach(), &[&layer])?;
    let Some(Tap::Map(map)) = taps.into_iter().next() else {
        return Err(no_map(table, layer));
    };
    let map = map.detach().require_grad();
    let logits = network.forward_from(&layer, Tap::Map(map.clone()))?;
    let class = choose(table, &read(logits.clone())?, class)?;
    // What speaks for class 1 of a single output, that of a sigmoid, speaks against class 0.
    let (output, sign) =
        if table.num_classes() == 1 { (0, [-1.0, 1.0][class]) } else { (class, 1.0) };
    let gradients = (logits.narrow(1, output, 1).sum() * sign).backward();
    let Some(gradient) = map.grad(&gradients) else {
        return Err(no_map(table, layer));
    };
    let weights = gradient.mean_dim(2).mean_dim(3);
    let sum = (map.inner() * weights).sum_dim(1);
    let [_, _, rows, columns] = sum.dims();
    let sum = read(sum)?;
    expect_finite(&format!("Grad-CAM of {layer}"), &sum)?;
    let positive: Vec<f32> = sum.into_iter().map(|value| value.max(0.0)).collect();
    let map = HeatMap::from_layer(table, &layer, &positive, [rows, columns], [height, width])?;
    Ok((map, class))
}

/// The class asked for, or the one with the largest logit.
fn choose(table: &Architecture, logits: &[f32], asked: Option<usize>) -> Result<usize> {
    expect_finite("logits", logits)?;
    let logits = if let [logit] = logits { &[0.0, *logit] } else { logits };
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a)));
    let class = asked.or(best).unwrap_or(0);
    if class < logits.len() {
        return Ok(class);
    }
    Err(Error::Setting {
        place: format!("class of {}", table.name),
        expected: format!("below {}", logits.len()),
        found: class.to_string(),
    })
}

/// The key of the features' last activation; of their last convolution, if they have none.
fn last_activation(table: &Architecture) -> Result<String> {
    let is_activation = |layer: &Layer| matches!(layer, Layer::Relu | Layer::Tanh);
    let is_convolution = |layer: &Layer| matches!(layer, Layer::Conv { .. });
    let features = &table.features;
    let found = features.iter().rposition(is_activation);
    let found = found.or_else(|| features.iter().rposition(is_convolution));
    match found.and_then(|index| table.steps().get(index)) {
        Some(step) => Ok(step.key.clone()),
        None => Err(no_map(table, "features without a convolution".into())),
    }
}

fn no_map(table: &Architecture, found: String) -> Error {
    Error::Setting {
        place: format!("Grad-CAM of {}", table.name),
        expected: "a layer of the features that the logits depend on".into(),
        found,
    }
}
