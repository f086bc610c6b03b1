//! The parts of a whole LPIPS state dict that are not of its network: the learned weights of channels, and the layer
//! that scales the images.

use super::file_contents::FileContents;
use super::tensor_entry::TensorEntry;

/// LPIPS compares the outputs of this many layers of AlexNet and VGG16.
const LAYERS: usize = 5;

/// The tensors of LPIPS next to its network: `lin0.model.1.weight`, the same once more as `lins.0.model.1.weight`,
/// and `scaling_layer.shift` and `.scale`. Empty for a file that is not a whole LPIPS.
pub(super) fn lpips_parts(contents: &FileContents) -> Vec<&TensorEntry> {
    let (parts, others): (Vec<_>, Vec<_>) =
        contents.tensors.iter().partition(|tensor| is_part(tensor));
    let has = |layer| {
        let name = format!("lin{layer}.model.1.weight");
        parts.iter().any(|part| is_at_end(&part.name, &name))
    };
    let convolutions = others.iter().filter(|tensor| tensor.shape().len() == 4).count();
    if (0..LAYERS).all(has) && convolutions >= LAYERS { parts } else { Vec::new() }
}

/// The shift and the scale of images from -1 to 1.
pub(super) fn lpips_scaling(contents: &FileContents) -> Option<[&TensorEntry; 2]> {
    let parts = lpips_parts(contents);
    let find = |name: &str| parts.iter().find(|part| is_at_end(&part.name, name)).copied();
    Some([find("scaling_layer.shift")?, find("scaling_layer.scale")?])
}

fn is_part(tensor: &TensorEntry) -> bool {
    let name = tensor.name.as_str();
    match *tensor.shape() {
        [1, 3, 1, 1] if name.contains("scaling_layer.") => {
            is_at_end(name, "scaling_layer.shift") || is_at_end(name, "scaling_layer.scale")
        }
        [1, _, 1, 1] => (0..LAYERS).any(|layer| {
            is_at_end(name, &format!("lin{layer}.model.1.weight"))
                || is_at_end(name, &format!("lins.{layer}.model.1.weight"))
        }),
        _ => false,
    }
}

/// Whether these are the last components of a name.
fn is_at_end(name: &str, components: &str) -> bool {
    name.strip_suffix(components).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
