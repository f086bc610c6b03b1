//! A constant of a graph: a `TensorProto`, most of them weights.

use super::super::protobuf::Message;
use super::super::strided_view::StridedView;
use super::super::tensor_entry::TensorEntry;
use crate::error::{Error, Result};
use safetensors::tensor::Dtype;
use std::ops::Range;

/// `TensorProto.DataType.INT64`.
const INT64: u64 = 7;

/// A constant whose values are in the file, or a list of whole numbers.
#[derive(Clone)]
pub(super) struct OnnxTensor<'a> {
    pub name: String,
    pub dims: Vec<usize>,
    data_type: u64,
    values: Values,
    message: Message<'a>,
}

#[derive(Clone)]
enum Values {
    /// As they are in memory, with the type that they must have.
    Raw(Range<u64>),
    Packed(Dtype, Range<u64>),
    Ints(Vec<i64>),
    /// Values that are not read, with the reason.
    Unread(&'static str),
}

impl<'a> OnnxTensor<'a> {
    pub fn parse(message: &Message<'a>) -> Result<Self> {
        let (mut name, mut data_type, mut values) = (None, None, None);
        let (mut dims, mut ints) = (Vec::new(), Vec::new());
        for field in message.fields()? {
            match field.number {
                1 => message.add_sizes(&field, &mut dims)?,
                2 => message.set(&mut data_type, &field, message.number(&field)?)?,
                4 | 10 => {
                    let dtype = if field.number == 4 { Dtype::F32 } else { Dtype::F64 };
                    let range = message.bytes(&field).map_err(|_| {
                        message.error("packed numbers", "numbers one by one; ONNX packs them")
                    })?;
                    message.set(&mut values, &field, Values::Packed(dtype, range))?;
                }
                5 => message.set(&mut values, &field, Values::Unread("values in int32_data"))?,
                // Lists of shapes are short; other lists of numbers are not read.
                7 if message.add_numbers(&field, &mut ints).is_ok() => {}
                7 => {
                    ints.clear();
                    values = Some(Values::Unread("a long list of whole numbers"));
                }
                8 => message.set(&mut name, &field, message.text(&field)?)?,
                9 => message.set(&mut values, &field, Values::Raw(message.bytes(&field)?))?,
                13 => values = Some(Values::Unread(EXTERNAL)),
                14 if message.number(&field)? != 0 => values = Some(Values::Unread(EXTERNAL)),
                _ => {}
            }
        }
        let ints: Vec<i64> = ints.into_iter().map(|number| number as i64).collect();
        let values = match (values, ints.is_empty()) {
            (None, _) => Values::Ints(ints),
            (Some(values), true) => values,
            (Some(_), false) => return Err(message.error("values once", "them twice")),
        };
        Ok(Self {
            name: name.unwrap_or_default(),
            dims,
            data_type: data_type.unwrap_or(0),
            values,
            message: message.clone(),
        })
    }

    /// A list of whole numbers, from an attribute.
    pub fn of_ints(message: &Message<'a>, ints: Vec<i64>) -> Self {
        Self {
            name: String::new(),
            dims: vec![ints.len()],
            data_type: INT64,
            values: Values::Ints(ints),
            message: message.clone(),
        }
    }

    /// The tensor as weights.
    pub fn entry(&self) -> Result<TensorEntry> {
        let dtype = match self.data_type {
            1 => Dtype::F32,
            10 => Dtype::F16,
            11 => Dtype::F64,
            16 => Dtype::BF16,
            other => {
                return Err(
                    self.error("FLOAT, FLOAT16, BFLOAT16 or DOUBLE", format!("type {other}"))
                );
            }
        };
        let range = match &self.values {
            Values::Raw(range) => range,
            Values::Packed(packed, range) if *packed == dtype => range,
            Values::Unread(found) => {
                return Err(self.error("the values in raw_data or float_data", *found));
            }
            Values::Packed(..) | Values::Ints(_) => {
                return Err(self.error("its values", "values of another type, or none"));
            }
        };
        let count = self.dims.iter().try_fold(1u64, |count, &dim| count.checked_mul(dim as u64));
        let bytes = count.and_then(|count| count.checked_mul(dtype.bitsize() as u64 / 8));
        let found = range.end - range.start;
        if bytes != Some(found) || count == Some(0) {
            let expected = format!("the values of shape {:?}", self.dims);
            return Err(self.error(&expected, format!("{found} bytes")));
        }
        let shape: Vec<i64> = self.dims.iter().map(|&dim| dim as i64).collect();
        if shape.len() > super::super::limits::MAX_DIMENSIONS {
            return Err(self.error("at most 8 dimensions", shape.len().to_string()));
        }
        let view = StridedView::contiguous(&self.dims);
        Ok(TensorEntry::new(String::new(), dtype, view, range.start))
    }

    /// The tensor as a matrix, transposed.
    pub fn transposed(&self) -> Result<TensorEntry> {
        let entry = self.entry()?;
        let &[rows, columns] = &self.dims[..] else {
            return Err(self.error("a matrix", format!("shape {:?}", self.dims)));
        };
        let (rows, columns) = (rows as i64, columns as i64);
        let elements = rows as u64 * columns as u64;
        let view = StridedView::new(&[columns, rows], &[1, columns], 0, elements);
        let view = view.map_err(|error| self.error(&error.expected, error.found))?;
        Ok(TensorEntry { view, ..entry })
    }

    /// The tensor as a vector: all its dimensions but one are 1.
    pub fn vector(&self) -> Result<TensorEntry> {
        let entry = self.entry()?;
        let length: usize = self.dims.iter().product();
        if !self.dims.contains(&length) {
            return Err(self.error("a vector", format!("shape {:?}", self.dims)));
        }
        Ok(TensorEntry { view: StridedView::contiguous(&[length]), ..entry })
    }

    /// The values of a short list of whole numbers.
    pub fn ints(&self) -> Result<Vec<i64>> {
        const MOST: u64 = 64;
        let count = self.dims.iter().try_fold(1u64, |count, &dim| count.checked_mul(dim as u64));
        let found = match &self.values {
            Values::Ints(ints) => ints.clone(),
            Values::Raw(range) if range.end - range.start <= 8 * MOST => {
                let length = (range.end - range.start) as usize;
                let bytes = self.message.file.source.read(range.start, length)?;
                bytes.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
            }
            _ => Vec::new(),
        };
        if self.data_type != INT64 || count != Some(found.len() as u64) {
            return Err(self.error("a short list of INT64", format!("shape {:?}", self.dims)));
        }
        Ok(found)
    }

    fn error(&self, expected: &str, found: impl Into<String>) -> Error {
        self.message.file.error(format!("{expected} in tensor {:?}", self.name), found)
    }
}

const EXTERNAL: &str = "values in another file; one file with all of them is made by \
    `onnx.save(onnx.load(IN), OUT)`, or `torch.onnx.export(..., external_data=False)`";
