//! Changes to a recipe, as a command line makes them.

use super::{Mix, Order, Recipe, RecipeAugmentation};
use crate::Result;

/// Settings that replace those of a [`Recipe`]. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecipeOverrides {
    /// Passes over the training set.
    pub epochs: Option<usize>,
    /// Images of one optimizer step.
    pub batch: Option<usize>,
    /// Micro-batches of a batch. By default those of the recipe, but at most the images of the batch.
    pub micro_batches: Option<usize>,
    /// The learning rate.
    pub rate: Option<f64>,
    /// The seed of everything random.
    pub seed: Option<u64>,
    /// The name of an augmentation, or `none`.
    pub augmentation: Option<String>,
    /// The alpha of mixup, for all pictures: see [`Recipe::mixup`].
    pub mixup: Option<f64>,
    /// The alpha of CutMix, for all pictures: see [`Recipe::cutmix`].
    pub cutmix: Option<f64>,
    /// The decay of the weight average: see [`Recipe::ema_decay`].
    pub ema_decay: Option<f64>,
    /// Layers to freeze, such as `features` or `features.0`. If they include `features` and the recipe has a
    /// [`head`](Recipe::head), only the classifier is trained, on features that are computed once.
    pub freeze: Vec<String>,
    /// Whether to draw all classes equally often, however many pictures they have.
    pub balanced: bool,
    /// Whether to synchronize batch norm over all processes and devices.
    pub synchronized_batch_norm: bool,
}

impl Recipe {
    /// The recipe with other settings. If only the classifier is trained (see [`RecipeOverrides::freeze`]), they
    /// replace those of the recipe's [`head`](Recipe::head).
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if a setting is out of range.
    pub fn with_overrides(mut self, overrides: &RecipeOverrides) -> Result<Self> {
        let freezes_features = overrides.freeze.iter().any(|layers| layers == "features");
        match self.head.as_mut().filter(|_| freezes_features) {
            Some(head) => {
                overrides.apply(head);
                // The features are not part of the network that the head trains.
                head.rates.remove("features");
                self.epochs = 0;
                (self.seed, self.order) = (head.seed, head.order);
            }
            None => {
                overrides.apply(&mut self);
                if let Some(head) = &mut self.head {
                    (head.seed, head.order) = (self.seed, self.order);
                }
            }
        }
        self.validate()?;
        Ok(self)
    }
}

impl RecipeOverrides {
    fn apply(&self, recipe: &mut Recipe) {
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        recipe.batch = self.batch.unwrap_or(recipe.batch);
        let micro_batches = recipe.micro_batches.min(recipe.batch);
        recipe.micro_batches = self.micro_batches.unwrap_or(micro_batches);
        recipe.rate = self.rate.unwrap_or(recipe.rate);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.rates.extend(self.freeze.iter().map(|layer| (layer.clone(), 0.0)));
        if let Some(name) = &self.augmentation {
            recipe.augmentation = RecipeAugmentation::Named(name.clone());
        }
        recipe.mixup = self.mixup.map(Mix::new).or(recipe.mixup);
        recipe.cutmix = self.cutmix.map(Mix::new).or(recipe.cutmix);
        recipe.ema_decay = self.ema_decay.or(recipe.ema_decay);
        recipe.synchronized_batch_norm |= self.synchronized_batch_norm;
        if self.balanced {
            recipe.order = Order::Balanced;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finetune(overrides: RecipeOverrides) -> Recipe {
        let recipe = Recipe::by_name("finetune").expect("known");
        recipe.with_overrides(&overrides).expect("valid")
    }

    #[test]
    fn no_overrides_change_nothing() {
        let recipe = Recipe::by_name("vgg-2014").expect("known");
        let same = recipe.clone().with_overrides(&RecipeOverrides::default()).expect("valid");
        assert_eq!(same, recipe);
    }

    #[test]
    fn frozen_features_leave_the_head() {
        let freeze = vec!["features".into()];
        let overrides =
            RecipeOverrides { freeze, epochs: Some(3), seed: Some(7), ..Default::default() };
        let recipe = finetune(overrides);
        let head = recipe.head.as_ref().expect("a head");
        assert_eq!((recipe.epochs, head.epochs, recipe.seed, head.seed), (0, 3, 7, 7));
        assert!(head.rates.is_empty());
    }

    #[test]
    fn other_layers_are_frozen_in_the_recipe() {
        let freeze = vec!["features.0".into()];
        let recipe = finetune(RecipeOverrides { freeze, batch: Some(4), ..Default::default() });
        assert_eq!((recipe.rates["features.0"], recipe.rates["features"]), (0.0, 0.1));
        assert_eq!((recipe.batch, recipe.epochs), (4, 10));
    }

    #[test]
    fn a_smaller_batch_has_fewer_micro_batches() {
        let recipe = Recipe::by_name("torchvision").expect("known");
        let overrides = RecipeOverrides { batch: Some(4), ..Default::default() };
        assert_eq!(recipe.with_overrides(&overrides).expect("valid").micro_batches, 4);
    }
}
