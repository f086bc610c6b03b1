//! Subsets of a list of pictures, by class.

use super::order::{by_class, random};
use super::picture_list::{PictureList, wrong};
use crate::Result;
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

impl PictureList {
    /// Splits the list into a training set and a validation set, which gets a `fraction` of the pictures of every
    /// class, rounded. Both sets get at least one picture of every class. The same seed gives the same split.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for a fraction that is not between 0 and 1, and for a class with
    /// a single picture.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<(Self, Self)> {
        if !(fraction > 0.0 && fraction < 1.0) {
            let place = "fraction of the pictures for validation";
            return Err(wrong(place, "more than 0 and less than 1", fraction));
        }
        let (mut train, mut valid) = (Vec::new(), Vec::new());
        for (class, group) in self.shuffled_by_class(seed) {
            if group.len() == 1 {
                let place = format!("{}, class `{}`", self.source.display(), self.labels[class]);
                return Err(wrong(
                    place,
                    "at least two pictures, one for training and one for validation",
                    "one",
                ));
            }
            let count =
                ((fraction * group.len() as f64).round() as usize).clamp(1, group.len() - 1);
            valid.extend(&group[..count]);
            train.extend(&group[count..]);
        }
        Ok((self.only(train), self.only(valid)))
    }

    /// A list of `per_class` pictures of each class. The same seed gives the same list, and a larger number a list
    /// that contains it.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for 0, and for a class that has fewer pictures.
    pub fn limit_per_class(&self, per_class: usize, seed: u64) -> Result<Self> {
        if per_class == 0 {
            return Err(wrong("pictures of each class", "at least 1", 0));
        }
        let counts = self.per_class();
        if let Some(class) = counts.iter().position(|&count| count < per_class) {
            let place = format!("{}, class `{}`", self.source.display(), self.labels[class]);
            return Err(wrong(place, &format!("at least {per_class} pictures"), counts[class]));
        }
        let groups = self.shuffled_by_class(seed).into_values();
        Ok(self.only(groups.flat_map(|group| group.into_iter().take(per_class)).collect()))
    }

    fn shuffled_by_class(&self, seed: u64) -> BTreeMap<usize, Vec<usize>> {
        let mut groups = by_class(&self.classes);
        for (&class, group) in &mut groups {
            group.shuffle(&mut random([seed, class as u64, 0], b"by class"));
        }
        groups
    }

    /// The pictures at these indices, in the order of this list.
    fn only(&self, mut indices: Vec<usize>) -> Self {
        indices.sort_unstable();
        Self {
            source: self.source.clone(),
            folder: self.folder.clone(),
            labels: self.labels.clone(),
            files: indices.iter().map(|&index| self.files[index].clone()).collect(),
            classes: indices.iter().map(|&index| self.classes[index]).collect(),
            notes: self.notes.clone(),
        }
    }
}
