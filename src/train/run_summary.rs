//! What a run is about to train, for people.

use super::recipe::Recipe;
use super::run_data::Data;
use crate::models::Architecture;
use std::fmt;

/// A network, its data and its recipe in numbers. Its text is one line.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    /// The name of the network.
    pub network: String,
    /// The number of trainable values.
    pub parameters: u64,
    /// The number of classes.
    pub classes: usize,
    /// The shape of a training example, `[C, H, W]`.
    pub input: [usize; 3],
    /// The number of training examples.
    pub training_examples: usize,
    /// The number of validation examples.
    pub validation_examples: usize,
    /// The name of the recipe.
    pub recipe: String,
}

impl RunSummary {
    /// The summary of a run of [`fit`](super::fit).
    pub fn new(architecture: &Architecture, recipe: &Recipe, data: &Data) -> Self {
        let trainable = architecture.parameters().filter(|own| own.role.is_trained());
        Self {
            network: architecture.name.clone(),
            parameters: trainable.map(|own| own.elements()).sum(),
            classes: data.train.labels().len(),
            input: data.train.shape(),
            training_examples: data.train.classes().len(),
            validation_examples: data.valid.classes().len(),
            recipe: recipe.name.clone(),
        }
    }
}

impl fmt::Display for RunSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [channels, height, width] = self.input;
        write!(
            f,
            "{}: {} parameters, {} classes, input {channels}x{height}x{width}; {} training and {} \
             validation pictures; recipe {}",
            self.network,
            self.parameters,
            self.classes,
            self.training_examples,
            self.validation_examples,
            self.recipe
        )
    }
}
