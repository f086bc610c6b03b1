//! What a network took for what.

use super::scores::ClassScores;
use crate::error::{Error, Result};
use crate::vision::Labels;
use serde::Serialize;
use std::collections::BTreeMap;

/// How often examples of each class were taken for each class.
///
/// ```
/// use alexnet_vgg::train::report::Confusion;
/// use alexnet_vgg::vision::Labels;
///
/// let mut confusion = Confusion::new(Labels::new(["cat", "dog"]));
/// for (actual, predicted) in [(0, 0), (0, 1), (1, 1)] {
///     confusion.add(actual, predicted)?;
/// }
/// assert_eq!(confusion.count(0, 1), 1);
/// assert_eq!(confusion.per_class()[0].recall, Some(0.5));
/// println!("{confusion}");
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Confusion {
    labels: Labels,
    /// By the actual and the predicted class, those that occurred.
    counts: BTreeMap<[usize; 2], u64>,
}

/// One class taken for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mixup {
    /// What it was.
    pub actual: String,
    /// What the network said.
    pub predicted: String,
    /// How often.
    pub count: u64,
}

impl Confusion {
    /// Of nothing yet.
    pub fn new(labels: Labels) -> Self {
        Self { labels, counts: BTreeMap::new() }
    }

    /// An example of class `actual` that the network took for one of class `predicted`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a class that has no label.
    pub fn add(&mut self, actual: usize, predicted: usize) -> Result<()> {
        let classes = self.classes();
        match actual.max(predicted) {
            class if class < classes => {
                *self.counts.entry([actual, predicted]).or_default() += 1;
                Ok(())
            }
            class => Err(Error::Setting {
                place: "class of a confusion".into(),
                expected: format!("one of {classes}, from 0 on"),
                found: class.to_string(),
            }),
        }
    }

    /// The names of the classes.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.labels.count()
    }

    /// Examples of class `actual` that were taken for `predicted`.
    pub fn count(&self, actual: usize, predicted: usize) -> u64 {
        self.counts.get(&[actual, predicted]).copied().unwrap_or(0)
    }

    /// All that is not 0: actual class, predicted class, count, in the order of the classes.
    pub fn counts(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        self.counts.iter().map(|(&[actual, predicted], &count)| (actual, predicted, count))
    }

    /// All examples.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Those that were taken for what they are.
    pub fn right(&self) -> u64 {
        let right = self.counts().filter(|(actual, predicted, _)| actual == predicted);
        right.map(|(_, _, count)| count).sum()
    }

    /// How well each class was told from the others, in their order.
    pub fn per_class(&self) -> Vec<ClassScores> {
        let mut actual = vec![0; self.classes()];
        let mut predicted = actual.clone();
        for (class, taken_for, count) in self.counts() {
            actual[class] += count;
            predicted[taken_for] += count;
        }
        let scores = self.labels.names().iter().enumerate().map(|(class, label)| {
            ClassScores::new(label, self.count(class, class), actual[class], predicted[class])
        });
        scores.collect()
    }

    /// What was most often taken for something else, at most `most` pairs of classes: the most frequent
    /// first, of equal ones in the order of the classes.
    pub fn mixups(&self, most: usize) -> Vec<Mixup> {
        let mut wrong: Vec<_> =
            self.counts().filter(|(actual, predicted, _)| actual != predicted).collect();
        wrong.sort_by_key(|&(_, _, count)| std::cmp::Reverse(count));
        let name = |class: usize| self.labels.get(class).to_string();
        let mixup = |(actual, predicted, count): (usize, usize, u64)| Mixup {
            actual: name(actual),
            predicted: name(predicted),
            count,
        };
        wrong.into_iter().take(most).map(mixup).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three cats, four dogs, no cow; two of the cats and one of the dogs are taken for something else.
    pub(crate) fn farm() -> Confusion {
        let mut confusion = Confusion::new(Labels::new(["cat", "dog", "cow"]));
        for (actual, predicted) in [(0, 0), (0, 1), (0, 1), (1, 1), (1, 1), (1, 1), (1, 0)] {
            confusion.add(actual, predicted).expect("classes");
        }
        confusion
    }

    #[test]
    fn counts_are_of_what_was_added() {
        let mut farm = farm();
        assert_eq!((farm.total(), farm.right(), farm.classes()), (7, 4, 3));
        assert_eq!([farm.count(0, 1), farm.count(1, 0), farm.count(2, 2)], [2, 1, 0]);
        let mixups = farm.mixups(10);
        let mixups: Vec<_> =
            mixups.iter().map(|it| (it.actual.as_str(), it.predicted.as_str(), it.count)).collect();
        assert_eq!(mixups, [("cat", "dog", 2), ("dog", "cat", 1)]);
        assert_eq!(farm.mixups(1).len(), 1);
        assert!(farm.add(3, 0).is_err() && farm.add(0, usize::MAX).is_err());
        assert_eq!(farm.total(), 7);
    }

    #[test]
    fn scores_are_those_by_hand() {
        let [cat, dog, cow] = &farm().per_class()[..] else { panic!("three classes") };
        assert_eq!((cat.count, cat.recall, cat.precision), (3, Some(1.0 / 3.0), Some(0.5)));
        assert_eq!((dog.count, dog.recall, dog.precision), (4, Some(0.75), Some(0.6)));
        // 2 * 3 right of 4 that are dogs and 5 that are said to be.
        assert_eq!((cat.f1, dog.f1), (Some(0.4), Some(2.0 / 3.0)));
        assert_eq!((cow.count, cow.recall, cow.precision, cow.f1), (0, None, None, None));
    }
}
