//! What is said on stderr meanwhile.

use super::Options;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Display;
use std::io::Write;

/// Hidden where stderr is not a terminal, or progress is not wanted.
pub(super) fn bar(options: &Options, file: &str, start: u64, total: u64) -> ProgressBar {
    let target = match options.progress {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(total), target)
        .with_style(style)
        .with_message(file.to_string())
        .with_position(start);
    // The time left is of this attempt's speed, not of what was there before.
    bar.reset_eta();
    bar
}

impl Options {
    /// Where nobody listens, nothing can be done about it: `eprintln!` would panic.
    pub(super) fn say(&self, text: impl Display) {
        if self.progress {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}
