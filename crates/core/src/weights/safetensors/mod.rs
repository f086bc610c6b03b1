//! The safetensors format: 8 bytes with the length of the header, a JSON header, and the values.

mod header;
pub(super) mod reader;
pub(super) mod writer;

pub use header::header;
