//! What a weights file of a run says about the run.

use super::Recipe;
use super::history::Epoch;
use crate::Result;
use crate::models::Network;
use burn::tensor::backend::Backend;

/// The network with the recipe that it was trained with and, if its weights are those of the end of an epoch, its
/// accuracy on the validation pictures then.
pub(super) fn with_record<B: Backend>(
    network: Network<B>,
    recipe: &Recipe,
    epoch: Option<&Epoch>,
    pictures: usize,
) -> Result<Network<B>> {
    let percent = |epoch: &Epoch| 100.0 * epoch.valid.top1;
    let accuracy = epoch.map(|it| format!("{:.2}% of {pictures} validation pictures", percent(it)));
    let metadata = network.metadata().clone();
    let metadata = metadata.with_recipe(recipe.to_toml()?).with_accuracy(accuracy);
    Ok(network.with_metadata(metadata))
}
