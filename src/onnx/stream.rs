//! A weight on its way into a file: a protobuf field whose length is known beforehand, and whose
//! bytes come from the device piece by piece.

use super::graph::tensor;
use crate::error::{Error, Result};
use crate::models::Parameter;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use std::io::{self, Write};
use std::ops::Range;

/// Field numbers of `onnx.proto`.
pub(super) const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;

/// What a protobuf field of `length` bytes begins with.
pub(super) fn opening(field: u32, length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(field, WireType::LengthDelimited, &mut bytes);
    encode_varint(length, &mut bytes);
    bytes
}

/// An initializer of the graph.
pub(super) struct Weight {
    parameter: Parameter,
    /// All but the values.
    head: Vec<u8>,
}

impl Weight {
    pub fn new(parameter: Parameter) -> Result<Self> {
        let mut tensor = tensor(&parameter.key, &parameter.shape)?.encode_to_vec();
        let raw_data = raw_bytes(&parameter);
        tensor.extend(opening(TENSOR_RAW_DATA, raw_data));
        let mut head = opening(GRAPH_INITIALIZER, tensor.len() as u64 + raw_data);
        head.extend(tensor);
        Ok(Self { parameter, head })
    }

    /// The field's length in the file.
    pub fn bytes(&self) -> u64 {
        self.head.len() as u64 + raw_bytes(&self.parameter)
    }

    /// Writes the field. `wrap` makes an error of what the writer says.
    pub fn write(
        &self,
        mut values: impl FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>,
        to: &mut dyn Write,
        wrap: &dyn Fn(io::Error) -> Error,
    ) -> Result<()> {
        to.write_all(&self.head).map_err(wrap)?;
        let row: usize = self.parameter.shape[1..].iter().product();
        for rows in self.parameter.pieces() {
            let expected = rows.len() * row;
            let piece = values(&self.parameter, rows)?;
            if piece.len() != expected {
                return Err(Error::Setting {
                    place: self.parameter.key.clone(),
                    expected: format!("{expected} values"),
                    found: piece.len().to_string(),
                });
            }
            little_endian(&piece, to).map_err(wrap)?;
        }
        Ok(())
    }
}

fn raw_bytes(parameter: &Parameter) -> u64 {
    parameter.elements() * size_of::<f32>() as u64
}

/// The bytes of the values, a little at a time: the piece is in memory already.
fn little_endian(values: &[f32], to: &mut dyn Write) -> io::Result<()> {
    const AT_ONCE: usize = 16 << 10;
    let mut bytes = Vec::with_capacity(AT_ONCE * size_of::<f32>());
    values.chunks(AT_ONCE).try_for_each(|chunk| {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
        to.write_all(&bytes)
    })
}
