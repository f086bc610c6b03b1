//! How well each class is told from the others, as numbers and as a table.

use super::Confusion;
use crate::error::printable;
use serde::Serialize;
use std::fmt;

/// Rows of a table that somebody still reads.
const MOST_ROWS: usize = 100;
/// Letters of a name.
const LONGEST: usize = 32;

/// How well a class is told from the others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// Its name.
    pub label: String,
    /// Examples of it.
    pub count: u64,
    /// The part of them that was recognized, 0 to 1; none if there was no example.
    pub recall: Option<f64>,
    /// The part of what was taken for it that is it, 0 to 1; none if nothing was.
    pub precision: Option<f64>,
    /// The harmonic mean of both; none if there was neither an example nor a guess.
    pub f1: Option<f64>,
}

impl ClassScores {
    pub(super) fn new(label: &str, right: u64, actual: u64, predicted: u64) -> Self {
        let part = |right: u64, all: u64| (all > 0).then(|| right as f64 / all as f64);
        Self {
            label: label.into(),
            count: actual,
            recall: part(right, actual),
            precision: part(right, predicted),
            f1: part(2 * right, actual + predicted),
        }
    }
}

/// A row for each class: how many examples, recall, precision and F1 in percent, and what it was most
/// often taken for. Of more than a hundred classes, the hundred with the lowest F1.
impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scores = self.per_class();
        let mistakes = self.most_frequent_mistakes();
        let mut rows: Vec<(&ClassScores, String)> = scores.iter().zip(mistakes).collect();
        if rows.len() > MOST_ROWS {
            writeln!(f, "the {MOST_ROWS} of {} classes with the lowest F1", rows.len())?;
            rows.retain(|(scores, _)| scores.count > 0);
            rows.sort_by(|(a, _), (b, _)| a.f1.unwrap_or(0.0).total_cmp(&b.f1.unwrap_or(0.0)));
            rows.truncate(MOST_ROWS);
        }
        let names: Vec<String> = rows.iter().map(|(scores, _)| short(&scores.label)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
        const HEAD: &str = "    count   recall  precision       F1  mostly taken for";
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

impl Confusion {
    /// For each class what it was most often taken for, in words.
    fn most_frequent_mistakes(&self) -> Vec<String> {
        let mut most: Vec<Option<(usize, u64)>> = vec![None; self.classes()];
        for (actual, predicted, count) in self.counts() {
            if actual != predicted && most[actual].is_none_or(|(_, known)| count > known) {
                most[actual] = Some((predicted, count));
            }
        }
        let words =
            |(predicted, count)| format!("{} ({count})", short(self.labels().get(predicted)));
        most.into_iter().map(|most| most.map_or(String::new(), words)).collect()
    }
}

fn percent(part: Option<f64>) -> String {
    part.map_or("-".into(), |part| format!("{:.1} %", 100.0 * part))
}

/// What has room in a column.
fn short(name: &str) -> String {
    let name = printable(name);
    match name.chars().count() <= LONGEST {
        true => name,
        false => name.chars().take(LONGEST - 2).chain("..".chars()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::Labels;

    #[test]
    fn the_table_is_aligned_and_its_names_are_cut() {
        let long = "a cat of which there is a very long name";
        let mut confusion = Confusion::new(Labels::new([long, "dog", "cow"]));
        for (actual, predicted) in [(0, 0), (0, 1), (0, 1), (1, 1), (1, 1), (1, 1), (1, 0)] {
            confusion.add(actual, predicted).expect("classes");
        }
        let expected = "\
class                               count   recall  precision       F1  mostly taken for
a cat of which there is a very..        3   33.3 %     50.0 %   40.0 %  dog (2)
dog                                     4   75.0 %     60.0 %   66.7 %  a cat of which there is a very.. (1)
cow                                     0        -          -        -
";
        assert_eq!(confusion.to_string(), expected);
    }

    #[test]
    fn of_many_classes_the_worst_are_shown() {
        let mut confusion = Confusion::new(Labels::imagenet());
        for class in 0..1000 {
            confusion.add(class, class).expect("a class");
            confusion.add(class, if class % 10 == 3 { 0 } else { class }).expect("a class");
        }
        let text = confusion.to_string();
        assert_eq!(text.lines().count(), 102);
        assert!(text.contains("tiger shark") && !text.contains("goldfish"), "{text}");
    }
}
