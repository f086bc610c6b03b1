//! A layer in front of a network that normalizes its input: its mean and standard deviation are those of the preset.

use super::file_contents::FileContents;
use super::tensor_entry::TensorEntry;

const MEAN: &str = "mean";
const STD: &str = "std";
/// What may stand before: other statistics (`running_mean`, `target_mean`) are not of the input.
const OF_INPUTS: [&str; 7] = ["", "pixel_", "norm_", "image_", "img_", "input_", "new_"];

/// The tensors of the mean and the standard deviation, one value for each of three channels. If there are several, they
/// are the same: robustness libraries save a network twice. Otherwise `None`.
pub(super) fn normalization(contents: &FileContents) -> Option<[&TensorEntry; 2]> {
    let parts = contents.tensors.iter().filter(|tensor| is_part(tensor));
    let (means, stds): (Vec<_>, Vec<_>) = parts.partition(|tensor| tensor.name.ends_with(MEAN));
    let (&mean, &std) = (means.first()?, stds.first()?);
    let module =
        |tensor: &TensorEntry, end: &str| tensor.name.strip_suffix(end).map(str::to_string);
    let place = |tensor: &TensorEntry| (tensor.first_byte(), tensor.dtype.bitsize());
    let are_same = |all: &[&TensorEntry]| all.iter().all(|it| place(it) == place(all[0]));
    let is_pair = module(mean, MEAN) == module(std, STD) && means.len() == stds.len();
    (is_pair && are_same(&means) && are_same(&stds)).then_some([mean, std])
}

/// Whether a tensor has the name and the shape of such a mean or standard deviation.
pub(super) fn is_part(tensor: &TensorEntry) -> bool {
    let name = tensor.name.rsplit('.').next().unwrap_or_default();
    let what = name.strip_suffix(MEAN).or(name.strip_suffix(STD));
    let mut sizes = tensor.shape().iter().filter(|&&size| size != 1);
    what.is_some_and(|what| OF_INPUTS.contains(&what))
        && sizes.next() == Some(&3)
        && sizes.next().is_none()
}
