//! The data of [`train_on_folder`](super::train_on_folder).

use super::folder_options::FolderOptions;
use super::options::TrainOptions;
use super::{PictureList, Recipe, RecipeAugmentation};
use crate::Result;
use crate::vision::Preset;
use crate::vision::augment::{ColorPca, Step};
use crate::weights::Weights;
use std::path::Path;

/// The pictures, and how they are preprocessed.
pub(super) struct FolderLists {
    pub train: PictureList,
    pub valid: PictureList,
    pub preset: Preset,
    /// What people should know about the data, a line each.
    pub notes: Vec<String>,
}

impl FolderLists {
    pub fn open(data: &Path, folder: &FolderOptions) -> Result<Self> {
        let seed = folder.recipe.seed;
        let (all, valid) = PictureList::open_with(data, &folder.csv)?;
        let mut notes: Vec<String> = all.notes().to_vec();
        let (train, valid) = match valid {
            Some(valid) => {
                notes.extend(
                    valid.notes().iter().filter(|note| !all.notes().contains(note)).cloned(),
                );
                (all, valid)
            }
            None => all.split(folder.validation_fraction, seed)?,
        };
        let train = match folder.per_class {
            Some(count) => train.limit_per_class(count, seed)?,
            None => train,
        };
        let of_weights = match &folder.weights {
            Some(path) if folder.preset.is_none() => Weights::open(path)?.preset()?,
            _ => None,
        };
        Ok(Self { train, valid, preset: folder.preset_at_input(of_weights)?, notes })
    }
}

/// The recipe with the principal colors of the training set, if its augmentation shifts colors. A resumed run takes
/// the colors that it began with, from the `recipe.toml` in its output folder.
pub(super) fn use_colors_of(
    train: &PictureList,
    folder: &FolderOptions,
    options: &TrainOptions,
) -> Result<Recipe> {
    let recipe = folder.recipe.clone();
    let Some(augmentation) = recipe.augmentation(folder.input)? else { return Ok(recipe) };
    if !augmentation.steps.iter().any(|step| matches!(step, Step::PcaColor { .. })) {
        return Ok(recipe);
    }
    let output = options.output.as_ref().filter(|_| options.resume);
    let saved = output.filter(|_| options.processes.rank() == 0);
    let saved = saved.and_then(|output| std::fs::read(output.join("recipe.toml")).ok());
    let saved = options.processes.bytes_of_rank_0(&saved.unwrap_or_default())?;
    let saved = Recipe::parse("of the run", &String::from_utf8_lossy(&saved)).ok();
    let colors = match saved.as_ref().and_then(principal_colors) {
        Some(colors) => colors,
        None => options.processes.expect_all_ok(train.principal_colors(options.broken))?,
    };
    let augmentation = RecipeAugmentation::Custom(augmentation.with_color_pca(colors));
    Ok(Recipe { augmentation, ..recipe })
}

/// The principal colors in a recipe's own augmentation.
fn principal_colors(recipe: &Recipe) -> Option<ColorPca> {
    let RecipeAugmentation::Custom(augmentation) = &recipe.augmentation else { return None };
    augmentation.steps.iter().find_map(|step| match step {
        Step::PcaColor { colors, .. } => Some(*colors),
        _ => None,
    })
}
