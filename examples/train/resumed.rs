//! A run that is continued: it knows its data, network, and recipe. What is given beside it must agree with that, unless
//! it may change.

use super::Args;
use alexnet_vgg::backend::Devices;
use alexnet_vgg::train::{FolderOptions, Recipe, RecipeOverrides, StoredRun};
use std::error::Error;
use std::fmt::Display;
use std::path::Path;

const ADVICE: &str = "Leave these out: the run knows its own. What may change is how it runs (--workers, --backend, --devices, \
                      --skip-broken), how often it is saved, the paths of what was moved (DATA, --weights, \
                      --picture-folder), and --epochs, unless the schedule depends on them. To train with other settings, \
                      begin another run: give DATA and --output instead of --resume.";

impl Args {
    /// The run in `folder`, with what may change as it is given.
    pub fn resumed(&self, run: StoredRun, folder: &Path) -> Result<StoredRun, Box<dyn Error>> {
        let mut differences = self.data_differences(&run.options);
        differences.extend(self.recipe_differences(&run.options.recipe)?);
        let stored = &run.options.network;
        let given = match (&self.model, &self.head) {
            (None, None) => stored.clone(),
            (None, Some(head)) => stored.clone().with_head(head.clone())?,
            (Some(_), _) => self.network()?,
        };
        if given != *stored {
            let names = [given.table().name, stored.table().name];
            match names {
                [given, stored] if given == stored => {
                    differences
                        .push(format!("--model: a {given} with other layers than the run has"));
                }
                [given, stored] => {
                    differences.extend(differs("--model", Some(given), Some(stored)))
                }
            }
        }
        if !differences.is_empty() {
            let place = folder.display();
            let list: String = differences.iter().map(|line| format!("\n  {line}")).collect();
            return Err(
                format!("{place}: a run that began with other settings:{list}\n{ADVICE}").into()
            );
        }
        Ok(self.with_changes(run)?)
    }

    fn data_differences(&self, stored: &FolderOptions) -> Vec<String> {
        let resize = |options: &FolderOptions| options.preset.as_ref().map(|preset| preset.resize);
        let lines = [
            differs("--input", self.input, Some(stored.input)),
            differs("--resize", self.resize, stored.resize.or(resize(stored))),
            differs("--width", self.width, Some(stored.width)),
            differs("--per-class", self.per_class, stored.per_class),
            differs(
                "--validation-fraction",
                self.validation_fraction,
                Some(stored.validation_fraction),
            ),
            differs(
                "--path-column",
                self.csv.path_column.as_ref(),
                stored.csv.path_column.as_ref(),
            ),
            differs(
                "--label-column",
                self.csv.label_column.as_ref(),
                stored.csv.label_column.as_ref(),
            ),
        ];
        lines.into_iter().flatten().collect()
    }

    fn recipe_differences(&self, stored: &Recipe) -> alexnet_vgg::Result<Vec<String>> {
        let mut overrides = self.overrides();
        if is_of_classifier(stored) {
            overrides.freeze.push("features".into());
        }
        let given = match &self.recipe {
            Some(_) => self.named_recipe()?,
            None => stored.clone(),
        };
        // Where the schedule depends on the number of epochs, a recipe by name has its own.
        overrides.epochs = overrides.epochs.or(Some(epochs(stored)));
        given
            .with_overrides(&overrides)?
            .differences(stored, "but the run has")
            .map(|lines| lines.into_iter().map(|line| format!("recipe: {line}")).collect())
    }

    fn with_changes(&self, run: StoredRun) -> alexnet_vgg::Result<StoredRun> {
        let StoredRun { mut data, mut backend, mut options } = run;
        if let Some(epochs) = self.epochs {
            let freeze = if is_of_classifier(&options.recipe) {
                vec!["features".into()]
            } else {
                Vec::new()
            };
            let longer =
                RecipeOverrides { epochs: Some(epochs), freeze, ..RecipeOverrides::default() };
            options.recipe = options.recipe.with_overrides(&longer)?;
        }
        if let Some(moved) = &self.data {
            data = moved.clone();
        }
        options.weights = self.weights.clone().or(options.weights);
        options.csv.folder = self.csv.picture_folder.clone().or(options.csv.folder);
        options.two_gpu |= self.two_gpu;
        if let Some(name) = self.backend {
            (backend, options.devices) = (Some(name), None);
        }
        if let Some(devices) = &self.devices {
            options.devices = Some(devices.clone());
        }
        let backend = options.devices.as_ref().map(Devices::backend).or(backend);
        Ok(StoredRun { data, backend, options })
    }
}

/// Whether only the classifier is trained.
fn is_of_classifier(recipe: &Recipe) -> bool {
    recipe.epochs == 0
}

/// Of the run, or of the classifier's if that is all there is.
fn epochs(recipe: &Recipe) -> usize {
    let classifier = recipe.head.as_ref().filter(|_| is_of_classifier(recipe));
    classifier.map_or(recipe.epochs, |head| head.epochs)
}

/// A line for an option that is given otherwise than the run has it.
fn differs<T: PartialEq + Display>(
    option: &str,
    given: Option<T>,
    stored: Option<T>,
) -> Option<String> {
    let given = given?;
    match stored {
        Some(stored) if stored == given => None,
        Some(stored) => Some(format!("{option}: {given}, but the run has {stored}")),
        None => Some(format!("{option}: {given}, but the run was begun without it")),
    }
}
