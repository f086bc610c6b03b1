//! What a run and a trained network are shown by: numbers for other programs, pictures for people.
//!
//! - [`History`](super::History): `metrics` as CSV; `curves`, drawn as `chart`s by `strokes`.
//! - [`Confusion`]: what was taken for what, as `scores` of each class, as a `matrix` to look at.
//! - [`Mistake`]: the pictures themselves.

mod chart;
mod confusion;
mod curves;
mod matrix;
mod metrics;
mod mistakes;
mod scores;
mod strokes;
mod ticks;

pub use confusion::{Confusion, Mixup};
pub use mistakes::Mistake;
pub use scores::ClassScores;
