//! A bar that says how much is done.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of this many steps, on stderr, where that is a terminal. A single step needs none.
pub fn bar(steps: usize) -> ProgressBar {
    if steps == 1 {
        return ProgressBar::hidden();
    }
    let progress = ProgressBar::new(steps as u64);
    match ProgressStyle::with_template("{bar:40} {pos} of {len}, {per_sec}, {eta} left") {
        Ok(style) => progress.with_style(style),
        Err(_) => progress,
    }
}
