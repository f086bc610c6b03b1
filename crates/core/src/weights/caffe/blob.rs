//! The weights of a layer: a `BlobProto`.

use super::super::protobuf::Message;
use super::super::strided_view::StridedView;
use super::super::tensor_entry::TensorEntry;
use crate::error::Result;
use safetensors::tensor::Dtype;
use std::ops::Range;

/// A tensor in the file.
pub(super) struct Blob {
    pub shape: Vec<usize>,
    dtype: Dtype,
    data: Range<u64>,
}

/// The sizes of a `BlobShape`.
pub(super) fn shape(message: &Message) -> Result<Vec<usize>> {
    let mut sizes = Vec::new();
    for field in message.fields()? {
        if field.number == 1 {
            message.add_sizes(&field, &mut sizes)?;
        }
    }
    Ok(sizes)
}

impl Blob {
    pub fn parse(message: &Message) -> Result<Self> {
        // num, channels, height, width: what there was before BlobShape.
        let mut legacy: [Option<usize>; 4] = [None; 4];
        let (mut sizes, mut data) = (None, None);
        for field in message.fields()? {
            match field.number {
                at @ 1..=4 => {
                    let size = message.size(&field)?;
                    message.set(&mut legacy[at as usize - 1], &field, size)?;
                }
                5 => {
                    let range = message.bytes(&field).map_err(|_| {
                        message
                            .error("packed numbers", "numbers one by one; Caffe writes them packed")
                    })?;
                    message.set(&mut data, &field, (Dtype::F32, range))?;
                }
                7 => {
                    let found = shape(&message.message(&field, "BlobShape")?)?;
                    message.set(&mut sizes, &field, found)?;
                }
                8 => {
                    let range = message.bytes(&field)?;
                    message.set(&mut data, &field, (Dtype::F64, range))?;
                }
                // What training adds: the gradients.
                _ => {}
            }
        }
        if sizes.is_some() && legacy.iter().any(Option::is_some) {
            return Err(message.error("one shape", "a BlobShape and the older sizes"));
        }
        let shape = sizes.unwrap_or_else(|| legacy.map(|size| size.unwrap_or(0)).to_vec());
        let Some((dtype, data)) = data else {
            return Err(message.error("values", "none: a definition without weights"));
        };
        let count = shape.iter().try_fold(1u64, |count, &size| count.checked_mul(size as u64));
        let bytes = count.and_then(|count| count.checked_mul(dtype.bitsize() as u64 / 8));
        if bytes != Some(data.end - data.start) || count == Some(0) {
            let found = format!("{} bytes", data.end - data.start);
            return Err(message.error(format!("the values of shape {shape:?}"), found));
        }
        Ok(Self { shape, dtype, data })
    }

    /// The blob as a tensor of another shape, with as many elements.
    pub fn entry(&self, message: &Message, shape: &[usize]) -> Result<TensorEntry> {
        let own: u64 = self.shape.iter().map(|&size| size as u64).product();
        let count = shape.iter().try_fold(1u64, |count, &size| count.checked_mul(size as u64));
        if count != Some(own) {
            let found = format!("{:?}", self.shape);
            return Err(message.error(format!("a blob of shape {shape:?}"), found));
        }
        let view = StridedView::contiguous(shape);
        Ok(TensorEntry::new(String::new(), self.dtype, view, self.data.start))
    }
}
