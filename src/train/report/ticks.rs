//! Round numbers on an axis.

/// Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, about `count` of them, and no closer
/// to each other than `closest`.
pub(super) fn ticks(low: f64, high: f64, count: usize, closest: f64) -> Vec<f64> {
    let wanted = ((high - low) / count.max(1) as f64).max(closest);
    if !wanted.is_normal() || wanted < 0.0 {
        return Vec::new();
    }
    let power = 10f64.powf(wanted.log10().floor());
    // A little less than asked for is as good: logarithms are not exact.
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    let step = step.into_iter().find(|step| *step >= 0.999 * wanted).unwrap_or(10.0 * power);
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    let steps = (last - first).clamp(-1.0, 1000.0) as i64;
    (0..=steps).map(|i| (first + i as f64) * step).collect()
}

/// As short as it can be: `0`, `0.05`, `12`, `1e-5`.
pub(super) fn number(value: f64) -> String {
    let rounded = format!("{value:.3e}").parse::<f64>().unwrap_or(value);
    match rounded.abs() {
        0.0 => "0".into(),
        1e-3..1e6 => rounded.to_string(),
        _ => format!("{rounded:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let shown = |low, high, count, closest| -> Vec<String> {
            ticks(low, high, count, closest).into_iter().map(number).collect()
        };
        assert_eq!(shown(0.0, 7.1, 4, 0.0), ["0", "2", "4", "6"]);
        assert_eq!(
            shown(1.0, 90.0, 10, 1.0),
            ["10", "20", "30", "40", "50", "60", "70", "80", "90"]
        );
        assert_eq!(shown(0.5, 1.5, 10, 1.0), ["1"]);
        assert_eq!(shown(0.0, 0.3, 3, 0.0), ["0", "0.1", "0.2", "0.3"]);
        assert_eq!(shown(-5.0, -2.0, 8, 1.0), ["-5", "-4", "-3", "-2"]);
        assert_eq!(shown(0.0, 3e-7, 3, 0.0), ["0", "1e-7", "2e-7", "3e-7"]);
        for odd in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            assert!(ticks(0.0, odd, 5, 0.0).len() <= 1, "{odd}");
        }
    }
}
