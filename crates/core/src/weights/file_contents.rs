//! What a weights file holds, whichever its format: the result of parsing its header.

use super::checksum::Checksum;
use super::file_format::Format;
use super::tensor_entry::TensorEntry;
use std::collections::BTreeMap;

/// The tensors of a file, none of which has been read yet.
#[derive(Debug)]
pub(super) struct FileContents {
    pub format: Format,
    /// In the order of the file.
    pub tensors: Vec<TensorEntry>,
    pub metadata: BTreeMap<String, String>,
    /// What the tensors are wrapped in, for the user, if it is not a plain state dict.
    pub container: Option<String>,
    /// What was decided about the file, and the user may want to decide differently.
    pub notices: Vec<String>,
    pub checksums: Vec<Checksum>,
}
