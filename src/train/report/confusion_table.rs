//! A confusion matrix as a text table of scores.

use super::class_scores::ClassScores;
use super::confusion_matrix::ConfusionMatrix;
use crate::printable;
use std::fmt;

/// The largest number of rows in a table.
const MAX_ROWS: usize = 100;
/// The largest number of characters in a name.
const LONGEST_NAME: usize = 32;

/// A row for each class: the number of examples, recall, precision and F1 in percent, and the class that it was most
/// often mistaken for. Of more than a hundred classes, only the hundred with the lowest F1 are listed.
impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scores = self.per_class();
        let mistakes = self.most_frequent_mistakes();
        let mut rows: Vec<(&ClassScores, String)> = scores.iter().zip(mistakes).collect();
        if rows.len() > MAX_ROWS {
            writeln!(f, "the {MAX_ROWS} of {} classes with the lowest F1", rows.len())?;
            rows.retain(|(scores, _)| scores.count > 0);
            rows.sort_by(|(a, _), (b, _)| a.f1.unwrap_or(0.0).total_cmp(&b.f1.unwrap_or(0.0)));
            rows.truncate(MAX_ROWS);
        }
        let names: Vec<String> = rows.iter().map(|(scores, _)| short(&scores.label)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
        const HEAD: &str = "    count   recall  precision       F1  mostly mistaken for";
        writeln!(f, "{:width$}{HEAD}", "class")?;
        for (name, (scores, mistake)) in names.iter().zip(rows) {
            let [recall, precision, f1] = [scores.recall, scores.precision, scores.f1].map(percent);
            let row = format!(
                "{name:width$}  {:>7}  {recall:>7}  {precision:>9}  {f1:>7}  {mistake}",
                scores.count
            );
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }
}

impl ConfusionMatrix {
    /// For each class, the class that it was most often mistaken for, and how often.
    fn most_frequent_mistakes(&self) -> Vec<String> {
        let mut most: Vec<Option<(usize, u64)>> = vec![None; self.classes()];
        for (actual, predicted, count) in self.counts() {
            if actual != predicted && most[actual].is_none_or(|(_, known)| count > known) {
                most[actual] = Some((predicted, count));
            }
        }
        let text =
            |(predicted, count)| format!("{} ({count})", short(self.labels().get(predicted)));
        most.into_iter().map(|most| most.map_or(String::new(), text)).collect()
    }
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or("-".into(), |fraction| format!("{:.1}%", 100.0 * fraction))
}

/// A name that fits into its column.
fn short(name: &str) -> String {
    let name = printable(name);
    if name.chars().count() <= LONGEST_NAME {
        return name;
    }
    name.chars().take(LONGEST_NAME - 2).chain("..".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::Labels;

    #[test]
    fn columns_are_aligned_and_names_are_shortened() {
        let long = "a cat of which there is a very long name";
        let mut confusion = ConfusionMatrix::new(Labels::new([long, "dog", "cow"]));
        for (actual, predicted) in [(0, 0), (0, 1), (0, 1), (1, 1), (1, 1), (1, 1), (1, 0)] {
            confusion.add(actual, predicted).expect("classes");
        }
        let expected = "\
class                               count   recall  precision       F1  mostly mistaken for
a cat of which there is a very..        3    33.3%      50.0%    40.0%  dog (2)
dog                                     4    75.0%      60.0%    66.7%  a cat of which there is a very.. (1)
cow                                     0        -          -        -
";
        assert_eq!(confusion.to_string(), expected);
    }

    #[test]
    fn of_many_classes_the_worst_are_listed() {
        let mut confusion = ConfusionMatrix::new(Labels::imagenet());
        for class in 0..1000 {
            confusion.add(class, class).expect("a class");
            confusion.add(class, if class % 10 == 3 { 0 } else { class }).expect("a class");
        }
        let text = confusion.to_string();
        assert_eq!(text.lines().count(), 102);
        assert!(text.contains("tiger shark") && !text.contains("goldfish"), "{text}");
    }
}
