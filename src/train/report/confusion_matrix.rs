//! Which classes a network confuses.

use super::class_scores::ClassScores;
use crate::Result;
use crate::train::setting::expect_setting;
use crate::vision::Labels;
use serde::Serialize;
use std::collections::BTreeMap;

/// How often examples of each class were predicted to be of each class.
///
/// ```
/// use alexnet_vgg::train::report::ConfusionMatrix;
/// use alexnet_vgg::vision::Labels;
///
/// let mut matrix = ConfusionMatrix::new(Labels::new(["cat", "dog"]));
/// for (actual, predicted) in [(0, 0), (0, 1), (1, 1)] {
///     matrix.add(actual, predicted)?;
/// }
/// assert_eq!(matrix.count(0, 1), 1);
/// assert_eq!(matrix.per_class()[0].recall, Some(0.5));
/// println!("{matrix}");
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ConfusionMatrix {
    labels: Labels,
    /// The counts that are not 0, by actual and predicted class.
    counts: BTreeMap<[usize; 2], u64>,
}

/// A class that was mistaken for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfusedPair {
    /// The actual class.
    pub actual: String,
    /// The predicted class.
    pub predicted: String,
    /// How often that happened.
    pub count: u64,
}

impl ConfusionMatrix {
    /// A matrix without examples.
    pub fn new(labels: Labels) -> Self {
        Self { labels, counts: BTreeMap::new() }
    }

    /// Adds an example of class `actual` that the network predicted to be of class `predicted`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for a class that has no label.
    pub fn add(&mut self, actual: usize, predicted: usize) -> Result<()> {
        let (classes, largest) = (self.classes(), actual.max(predicted));
        let expected = format!("below {classes}, the number of labels");
        expect_setting("class in a confusion matrix", largest < classes, &expected, largest)?;
        *self.counts.entry([actual, predicted]).or_default() += 1;
        Ok(())
    }

    /// The names of the classes.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.labels.count()
    }

    /// The number of examples of class `actual` that were predicted to be of class `predicted`.
    pub fn count(&self, actual: usize, predicted: usize) -> u64 {
        self.counts.get(&[actual, predicted]).copied().unwrap_or(0)
    }

    /// All counts that are not 0, as `(actual, predicted, count)`, in the order of the classes.
    pub fn counts(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        self.counts.iter().map(|(&[actual, predicted], &count)| (actual, predicted, count))
    }

    /// The number of examples.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The number of examples that were predicted correctly.
    pub fn correct(&self) -> u64 {
        let correct = self.counts().filter(|(actual, predicted, _)| actual == predicted);
        correct.map(|(_, _, count)| count).sum()
    }

    /// The scores of each class, in order.
    pub fn per_class(&self) -> Vec<ClassScores> {
        let mut actual = vec![0; self.classes()];
        let mut predicted = actual.clone();
        for (class, prediction, count) in self.counts() {
            actual[class] += count;
            predicted[prediction] += count;
        }
        let scores = self.labels.names().iter().enumerate().map(|(class, label)| {
            ClassScores::new(label, self.count(class, class), actual[class], predicted[class])
        });
        scores.collect()
    }

    /// The pairs of classes that were confused most often, at most `limit` of them, with the most frequent first
    /// and equally frequent ones in the order of the classes.
    pub fn most_confused(&self, limit: usize) -> Vec<ConfusedPair> {
        let mut wrong: Vec<_> =
            self.counts().filter(|(actual, predicted, _)| actual != predicted).collect();
        wrong.sort_by_key(|&(_, _, count)| std::cmp::Reverse(count));
        let name = |class: usize| self.labels.get(class).to_string();
        let pair = |(actual, predicted, count): (usize, usize, u64)| ConfusedPair {
            actual: name(actual),
            predicted: name(predicted),
            count,
        };
        wrong.into_iter().take(limit).map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three cats, four dogs, no cow; two of the cats and one of the dogs are misclassified.
    fn farm() -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(Labels::new(["cat", "dog", "cow"]));
        for (actual, predicted) in [(0, 0), (0, 1), (0, 1), (1, 1), (1, 1), (1, 1), (1, 0)] {
            matrix.add(actual, predicted).expect("classes");
        }
        matrix
    }

    #[test]
    fn counts_are_those_of_the_added_examples() {
        let mut farm = farm();
        assert_eq!((farm.total(), farm.correct(), farm.classes()), (7, 4, 3));
        assert_eq!([farm.count(0, 1), farm.count(1, 0), farm.count(2, 2)], [2, 1, 0]);
        let pairs = farm.most_confused(10);
        let pairs: Vec<_> =
            pairs.iter().map(|it| (it.actual.as_str(), it.predicted.as_str(), it.count)).collect();
        assert_eq!(pairs, [("cat", "dog", 2), ("dog", "cat", 1)]);
        assert_eq!(farm.most_confused(1).len(), 1);
        assert!(farm.add(3, 0).is_err() && farm.add(0, usize::MAX).is_err());
        assert_eq!(farm.total(), 7);
    }

    #[test]
    fn scores_are_those_computed_by_hand() {
        let [cat, dog, cow] = &farm().per_class()[..] else { panic!("three classes") };
        assert_eq!((cat.count, cat.recall, cat.precision), (3, Some(1.0 / 3.0), Some(0.5)));
        assert_eq!((dog.count, dog.recall, dog.precision), (4, Some(0.75), Some(0.6)));
        // 2 * 3 correct, of 4 dogs and 5 predictions of dogs.
        assert_eq!((cat.f1, dog.f1), (Some(0.4), Some(2.0 / 3.0)));
        assert_eq!((cow.count, cow.recall, cow.precision, cow.f1), (0, None, None, None));
    }
}
