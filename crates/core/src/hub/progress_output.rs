//! Progress bars and messages on stderr.

use super::hub_options::HubOptions;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Display;
use std::io::Write;

/// The progress bar of a download, in bytes. Hidden if stderr is not a terminal, or progress is not wanted.
pub(super) fn progress_bar(
    options: &HubOptions,
    file: &str,
    start: u64,
    total: u64,
) -> ProgressBar {
    let target =
        if options.progress { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(total), target)
        .with_style(style)
        .with_message(file.to_string())
        .with_position(start);
    // So that the bytes of earlier attempts do not count for the speed of this one.
    bar.reset_eta();
    bar
}

impl HubOptions {
    /// Writes a message to stderr. Ignores errors, where `eprintln!` would panic.
    pub(super) fn report(&self, text: impl Display) {
        if self.progress {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}
