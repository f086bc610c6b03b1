//! Parts of a list of pictures that have something of every class.

use super::PictureList;
use super::list::wrong;
use super::order::{by_class, random};
use crate::error::Result;
use rand::seq::SliceRandom;
use std::collections::BTreeMap;

impl PictureList {
    /// Two lists, the second of which has that share of every class's pictures: rounded, but at least
    /// one, as the first has. The same seed gives the same lists.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for a share that is not between 0 and 1, and a class of
    /// a single picture.
    pub fn split(&self, share: f64, seed: u64) -> Result<(Self, Self)> {
        if !(share > 0.0 && share < 1.0) {
            return Err(wrong("share of a split", "more than 0 and less than 1", share));
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (class, group) in self.shuffled_by_class(seed) {
            if group.len() == 1 {
                let place = format!("{}, class `{}`", self.source.display(), self.labels[class]);
                return Err(wrong(place, "at least two pictures, to be split", "one"));
            }
            let count = ((share * group.len() as f64).round() as usize).clamp(1, group.len() - 1);
            second.extend(&group[..count]);
            first.extend(&group[count..]);
        }
        Ok((self.only(first), self.only(second)))
    }

    /// A list with so many pictures of each class. The same seed gives the same list, and with more
    /// pictures a list that contains it.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for none, and for a class that has fewer.
    pub fn few(&self, per_class: usize, seed: u64) -> Result<Self> {
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
            group.shuffle(&mut random(seed, class as u64, b"by class"));
        }
        groups
    }

    /// The pictures at these places, in the order of this list.
    fn only(&self, mut places: Vec<usize>) -> Self {
        places.sort_unstable();
        Self {
            source: self.source.clone(),
            folder: self.folder.clone(),
            labels: self.labels.clone(),
            files: places.iter().map(|&place| self.files[place].clone()).collect(),
            classes: places.iter().map(|&place| self.classes[place]).collect(),
        }
    }
}
