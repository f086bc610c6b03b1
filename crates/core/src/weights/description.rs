//! What a weights file holds, in words, for errors.

use super::tensor_entry::TensorEntry;

/// The most sizes that are listed.
const MAX_LISTED: usize = 20;

/// `8 convolutions (64, 128, 256, ... channels) and 1 linear layer (classifier.weight [10, 512])`
pub(super) fn describe(tensors: &[TensorEntry]) -> String {
    let of_rank = |rank: usize| -> Vec<&TensorEntry> {
        tensors.iter().filter(|tensor| tensor.shape().len() == rank).collect()
    };
    let (convolutions, linear) = (of_rank(4), of_rank(2));
    let mut parts = Vec::new();
    if !convolutions.is_empty() {
        let channels = convolutions.iter().map(|tensor| tensor.shape()[0].to_string());
        let count = counted(convolutions.len(), "convolution");
        parts.push(format!("{count} ({} channels)", listed(channels.collect())));
    }
    if !linear.is_empty() {
        let shapes = linear.iter().map(|tensor| format!("{} {:?}", tensor.name, tensor.shape()));
        let count = counted(linear.len(), "linear layer");
        parts.push(format!("{count} ({})", listed(shapes.collect())));
    }
    match (parts.is_empty(), tensors.first()) {
        (false, _) => parts.join(" and "),
        (true, Some(first)) => {
            format!("{}, such as {}, but no layers", counted(tensors.len(), "tensor"), first.name)
        }
        (true, None) => "no tensors".into(),
    }
}

/// The first of them, separated by commas.
pub(super) fn listed(mut items: Vec<String>) -> String {
    if items.len() > MAX_LISTED {
        items.truncate(MAX_LISTED);
        items.push("...".into());
    }
    items.join(", ")
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
