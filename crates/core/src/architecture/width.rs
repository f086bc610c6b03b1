//! The width multiplier of configs.

/// `channels * width`, rounded to an even number of at least 2. It is even so that AlexNet's two groups always
/// divide it.
pub(super) fn scaled_channels(channels: usize, width: f64) -> usize {
    // A width of 0, below 0 or NaN gives 0 channels, which the check of the table rejects.
    match (channels as f64 * width / 2.0).round() as usize {
        0 if width > 0.0 => 2,
        half => half.saturating_mul(2),
    }
}
