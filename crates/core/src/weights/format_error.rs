//! Violations of a file format, as the parsers report them.

/// What a format requires and what was found instead. [`FileSource::error`](super::file_source::FileSource)
/// adds the file and the format.
#[derive(Debug)]
pub(super) struct FormatError {
    pub expected: String,
    pub found: String,
}

impl FormatError {
    pub fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }
}
