//! Normalization by table lookup: a channel has only 256 levels, an image has many more pixels.

use super::preset::{Channels, Preset};

/// The normalized value of each level of one channel.
pub(super) struct LevelTable {
    /// The color of the image that this channel holds: 0 red, 1 green, 2 blue.
    pub color: usize,
    /// Normalized values, indexed by level.
    pub values: [f32; 256],
}

impl LevelTable {
    /// The tables of the preset's channels, computed with torchvision's operations in torchvision's order.
    /// `shift` is added to red, green and blue first, in levels (0 to 255).
    pub fn for_channels(preset: &Preset, shift: [f32; 3]) -> Vec<Self> {
        let [red, green, blue] = shift;
        let table = |channel| {
            // All colors of a gray photo are equal.
            let (color, shift) = match preset.channels {
                Channels::Rgb => (channel, shift[channel]),
                Channels::Bgr => (2 - channel, shift[2 - channel]),
                Channels::Gray => (0, 0.299 * red + 0.587 * green + 0.114 * blue),
            };
            let (mean, std) = (preset.mean[channel], preset.std[channel]);
            let scaled = |level: usize| (level as f32 + shift) / 255.0 * preset.white;
            let values = std::array::from_fn(|level| (scaled(level) - mean) / std);
            Self { color, values }
        };
        (0..preset.channels.count()).map(table).collect()
    }
}
