//! The differences between two recipes.

use super::recipe::Recipe;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

impl Recipe {
    /// The recipe without what does not affect the result.
    fn comparable(&self) -> Self {
        let head = self.head.as_ref().map(|head| Box::new(head.comparable()));
        let epochs = if self.schedule.depends_on_epochs() { self.epochs } else { 1 };
        Self { name: String::new(), sources: BTreeMap::new(), epochs, head, ..self.clone() }
    }

    /// How this recipe differs from another one, a line for each setting, such as `rate: 0.02, was 0.01`; `was`
    /// introduces the other's value. Names and sources are not compared, nor is the number of epochs unless the schedule
    /// depends on it.
    ///
    /// # Errors
    /// [`Error::Setting`] for a recipe that TOML cannot express.
    pub fn differences(&self, other: &Self, was: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let comparable = |recipe: &Self| {
            toml::Value::try_from(recipe.comparable()).map_err(|error| Error::Setting {
                place: "recipe".into(),
                expected: "values that TOML can express".into(),
                found: error.to_string(),
            })
        };
        compare("", Some(&comparable(self)?), Some(&comparable(other)?), was, &mut lines);
        Ok(lines)
    }
}

/// Adds a line for each value that differs, from `place` down.
fn compare(
    place: &str,
    ours: Option<&toml::Value>,
    theirs: Option<&toml::Value>,
    was: &str,
    lines: &mut Vec<String>,
) {
    use toml::Value::Table;
    match (ours, theirs) {
        (Some(Table(ours)), Some(Table(theirs))) => {
            let keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
            for key in keys {
                let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                compare(&place, ours.get(key), theirs.get(key), was, lines);
            }
        }
        (ours, theirs) if ours != theirs => {
            let show =
                |value: Option<&toml::Value>| value.map_or("nothing".into(), |v| v.to_string());
            lines.push(format!("{place}: {}, {was} {}", show(ours), show(theirs)));
        }
        _ => {}
    }
}
