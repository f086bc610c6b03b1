//! An initializer (a weight) of the graph: a protobuf field whose length is known in advance, so that its values
//! can be written chunk by chunk.

use super::graph::tensor;
use crate::architecture::Parameter;
use crate::error::{Error, Result};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use std::io::{self, Write};
use std::ops::Range;

/// Field numbers of `onnx.proto`.
pub(super) const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;

/// The key and length before a protobuf field of `length` bytes.
pub(super) fn field_header(field: u32, length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(field, WireType::LengthDelimited, &mut bytes);
    encode_varint(length, &mut bytes);
    bytes
}

pub(super) struct Initializer {
    parameter: Parameter,
    /// The field up to the values.
    head: Vec<u8>,
}

impl Initializer {
    pub fn new(parameter: Parameter) -> Result<Self> {
        let mut tensor = tensor(&parameter.key, &parameter.shape)?.encode_to_vec();
        let raw_data = raw_bytes(&parameter);
        tensor.extend(field_header(TENSOR_RAW_DATA, raw_data));
        let mut head = field_header(GRAPH_INITIALIZER, tensor.len() as u64 + raw_data);
        head.extend(tensor);
        Ok(Self { parameter, head })
    }

    /// The length of the field in the file.
    pub fn bytes(&self) -> u64 {
        self.head.len() as u64 + raw_bytes(&self.parameter)
    }

    /// Writes the field. `io_error` converts the errors of the writer.
    pub fn write(
        &self,
        mut values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
        to: &mut dyn Write,
        io_error: &dyn Fn(io::Error) -> Error,
    ) -> Result<()> {
        to.write_all(&self.head).map_err(io_error)?;
        let row: usize = self.parameter.shape[1..].iter().product();
        for rows in self.parameter.row_chunks() {
            let expected = rows.len() * row;
            let chunk = values(&self.parameter, rows)?;
            if chunk.len() != expected {
                let place = self.parameter.key.clone();
                return Err(Error::ValueCount { place, expected, found: chunk.len() });
            }
            write_little_endian(&chunk, to).map_err(io_error)?;
        }
        Ok(())
    }
}

fn raw_bytes(parameter: &Parameter) -> u64 {
    parameter.elements() * size_of::<f32>() as u64
}

/// Writes the bytes of the values a few at a time, because a copy of all would double the memory.
fn write_little_endian(values: &[f32], to: &mut dyn Write) -> io::Result<()> {
    const VALUES_AT_ONCE: usize = 16 << 10;
    let mut bytes = Vec::with_capacity(VALUES_AT_ONCE * size_of::<f32>());
    values.chunks(VALUES_AT_ONCE).try_for_each(|chunk| {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
        to.write_all(&bytes)
    })
}
