//! The order of the classes in a list.

use super::picture_list::wrong;
use crate::Result;
use std::path::Path;

/// Labels that occur in a list, each once: by number if all are whole numbers, else by name.
pub(super) fn sorted(
    source: &Path,
    labels: impl IntoIterator<Item = String>,
) -> Result<Vec<String>> {
    let mut labels: Vec<String> = labels.into_iter().collect();
    labels.sort();
    labels.dedup();
    let Some(numbers) = numbers(&labels) else { return Ok(labels) };
    let mut numbered: Vec<(i64, String)> = numbers.into_iter().zip(labels).collect();
    numbered.sort();
    if let Some([(_, a), (_, b)]) = numbered.windows(2).find(|two| two[0].0 == two[1].0) {
        let expected = "one way to write each label that is a number";
        return Err(wrong(source.display(), expected, format!("`{a}` and `{b}`")));
    }
    Ok(numbered.into_iter().map(|(_, label)| label).collect())
}

/// What must be said about labels that are numbers: an output's number need not be its label.
pub(super) fn remark(labels: &[String]) -> Option<String> {
    let numbers = numbers(labels)?;
    if numbers.iter().copied().eq(0..numbers.len() as i64) {
        return None;
    }
    let (first, last) = (labels.first()?, labels.last()?);
    let count = labels.len();
    Some(format!(
        "the {count} labels are numbers from {first} to {last}, but not 0 to {}: class 0 is `{first}`, class {} is \
         `{last}`",
        count - 1,
        count - 1
    ))
}

/// Whole numbers, also as `3.0`, which pandas writes.
fn numbers(labels: &[String]) -> Option<Vec<i64>> {
    labels.iter().map(|label| label.strip_suffix(".0").unwrap_or(label).parse().ok()).collect()
}
