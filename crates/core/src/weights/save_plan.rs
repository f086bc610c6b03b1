//! What is going to be written to a weights file: the tensors and the metadata. The writers of the formats
//! follow this plan.

use super::file_metadata::{self, check_labels};
use super::naming::Naming;
use crate::architecture::{Architecture, Parameter};
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::vision::Preset;
use half::{bf16, f16};
use safetensors::tensor::Dtype;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

/// How weights are written.
#[derive(Clone, Debug, PartialEq)]
pub struct SaveOptions {
    /// `F32` (unchanged, bit for bit), `F16` or `BF16` (rounded to the nearest value).
    pub dtype: Dtype,
    /// The names of the tensors.
    pub naming: Naming,
    /// The metadata of the weights, for fields that the network (or the file that is converted) does not
    /// have. Only safetensors files keep it.
    pub metadata: Metadata,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self { dtype: Dtype::F32, naming: Naming::Torchvision, metadata: Metadata::default() }
    }
}

/// The content of a file, without the values of the parameters.
pub(super) struct SavePlan {
    network: String,
    metadata: Metadata,
    /// In the order of [`Architecture::parameters`].
    pub tensors: Vec<PlannedTensor>,
}

/// A tensor that is going to be written.
pub(super) struct PlannedTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
    content: PlannedContent,
}

enum PlannedContent {
    Parameter(Parameter),
    /// The number of batches that a batch norm has seen, which is in each of PyTorch's state dicts.
    Counter(i64),
}

/// A callback that returns rows of a parameter's first dimension.
pub(super) type RowSource<'a> = &'a mut dyn FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>;

impl SavePlan {
    /// `counter` returns the value of a batch counter, by the key that it has in torchvision's naming.
    pub fn new(
        architecture: &Architecture,
        options: &SaveOptions,
        metadata: Metadata,
        counter: &dyn Fn(&str) -> Result<i64>,
    ) -> Result<Self> {
        let dtype = options.dtype;
        if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(Error::Setting {
                place: "type of the weights".into(),
                expected: "F32, F16 or BF16".into(),
                found: dtype.to_string(),
            });
        }
        metadata.preset.iter().try_for_each(Preset::validate)?;
        metadata.labels.iter().try_for_each(|labels| check_labels(labels, architecture))?;
        let mut tensors = Vec::new();
        for (parameter, named) in
            architecture.parameters().zip(options.naming.tensors(architecture))
        {
            let counter_names = counter_name(&parameter.key).zip(counter_name(&named.name));
            tensors.push(PlannedTensor {
                name: named.name,
                shape: named.shape,
                dtype,
                content: PlannedContent::Parameter(parameter.clone()),
            });
            if let Some((key, name)) = counter_names {
                tensors.push(PlannedTensor {
                    name,
                    shape: Vec::new(),
                    dtype: Dtype::I64,
                    content: PlannedContent::Counter(counter(&key)?),
                });
            }
        }
        Ok(Self { network: architecture.name.clone(), metadata, tensors })
    }

    /// The entries of the file's metadata.
    pub fn metadata_entries(&self) -> Vec<(String, String)> {
        file_metadata::entries(&self.network, &self.metadata)
    }
}

/// The name of the batch counter that follows a running variance.
fn counter_name(variance: &str) -> Option<String> {
    let layer = variance.strip_suffix("running_var")?;
    Some(format!("{layer}num_batches_tracked"))
}

impl PlannedTensor {
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&dim| dim as u64).product()
    }

    /// Writes the values, little-endian, in chunks. `path` is for errors.
    pub fn write_values(&self, path: &Path, out: &mut dyn Write, values: RowSource) -> Result<()> {
        match &self.content {
            PlannedContent::Counter(count) => {
                out.write_all(&count.to_le_bytes()).map_err(Error::io(path))
            }
            PlannedContent::Parameter(parameter) => parameter.row_chunks().try_for_each(|rows| {
                let row_length: usize = parameter.shape.iter().skip(1).product();
                let expected = rows.len() * row_length;
                let values = values(parameter, rows)?;
                if values.len() != expected {
                    let (place, found) = (parameter.key.clone(), values.len());
                    return Err(Error::ValueCount { place, expected, found });
                }
                self.write_chunk(&values, path, out)
            }),
        }
    }

    fn write_chunk(&self, values: &[f32], path: &Path, out: &mut dyn Write) -> Result<()> {
        const VALUES_AT_ONCE: usize = 1 << 16;
        for chunk in values.chunks(VALUES_AT_ONCE) {
            let mut bytes = Vec::with_capacity(4 * chunk.len());
            for &value in chunk {
                match self.dtype {
                    Dtype::F16 => {
                        let half = f16::from_f32(value);
                        self.check_range(value, half.is_finite())?;
                        bytes.extend(half.to_le_bytes());
                    }
                    Dtype::BF16 => {
                        let half = bf16::from_f32(value);
                        self.check_range(value, half.is_finite())?;
                        bytes.extend(half.to_le_bytes());
                    }
                    _ => bytes.extend(value.to_le_bytes()),
                }
            }
            out.write_all(&bytes).map_err(Error::io(path))?;
        }
        Ok(())
    }

    fn check_range(&self, value: f32, is_finite: bool) -> Result<()> {
        if is_finite {
            return Ok(());
        }
        Err(Error::ValueOutOfRange {
            place: self.name.clone(),
            dtype: self.dtype.to_string(),
            value,
        })
    }
}
