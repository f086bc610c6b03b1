//! Limits of what a weights file may contain. They bound the time and memory that a malicious file can
//! cost; real files stay far below them.

use super::format_error::FormatError;

/// Bytes of a pickle or of a zip archive's central directory. Our largest network needs 8 KB.
pub(super) const MAX_HEADER_BYTES: u64 = 8 << 20;
/// A checkpoint of a VGG with the state of its optimizer has 150 tensors.
pub(super) const MAX_TENSORS: usize = 1 << 14;
/// Bytes of a tensor's name, prefixes included, or of a class's label.
pub(super) const MAX_NAME_BYTES: usize = 512;
pub(super) const MAX_DIMENSIONS: usize = 8;

/// Checks the length of a name. Long ones could cost more memory than the tensors themselves.
pub(super) fn check_name(name: &str) -> Result<(), FormatError> {
    if name.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    let start: String = name.chars().take(40).collect();
    Err(FormatError::new(
        format!("names of at most {MAX_NAME_BYTES} bytes"),
        format!("{start:?}... of {} bytes", name.len()),
    ))
}
