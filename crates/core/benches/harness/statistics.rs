//! Statistics that outliers hardly move.

/// The middle value; of an even number of values, the larger of the two in the middle.
///
/// # Panics
/// Panics if there is no value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The first quartile, the median, and the third quartile, each one of the values: where a quartile
/// lies between two values, the smaller one.
///
/// # Panics
/// Panics if there is no value.
pub fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| sorted[(sorted.len() - 1) * quarter / 4])
}

/// The smallest value; infinity if there is none.
pub fn minimum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}
