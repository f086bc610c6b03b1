//! Reports about a run and a trained network: numbers for other programs, charts and pictures for people.
//!
//! - [`History`](super::History): `metrics` as CSV; `curves` as an SVG chart of `panel`s.
//! - [`ConfusionMatrix`]: which classes are confused, with the `class_scores` of each class, as a
//!   `confusion_table` in text and as a `confusion_plot` in SVG.
//! - [`Mistake`]: the misclassified pictures, as a page of HTML.

mod class_scores;
mod confusion_matrix;
mod confusion_plot;
mod confusion_table;
mod curves;
mod metrics;
mod mistakes;
mod panel;
mod svg;

pub use class_scores::ClassScores;
pub use confusion_matrix::{ConfusedPair, ConfusionMatrix};
pub use mistakes::Mistake;
