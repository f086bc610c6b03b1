//! Writes a safetensors file.

use super::super::save_plan::{PlannedTensor, RowSource, SavePlan};
use super::header::header;
use crate::error::{Error, Result};
use safetensors::tensor::Dtype;
use std::io::Write;
use std::path::Path;

/// Writes the tensors of the plan. `path` is for errors.
pub(in crate::weights) fn write(
    plan: &SavePlan,
    path: &Path,
    out: &mut dyn Write,
    values: RowSource,
) -> Result<()> {
    // The counters, which have the widest elements, come first, so that every tensor is aligned.
    let mut tensors: Vec<&PlannedTensor> = plan.tensors.iter().collect();
    tensors.sort_by_key(|tensor| tensor.dtype != Dtype::I64);
    let described = tensors.iter();
    let described =
        described.map(|tensor| (tensor.name.clone(), tensor.dtype, tensor.shape.clone()));
    let header = header(path, plan.metadata_entries(), described)?;
    out.write_all(&header).map_err(Error::io(path))?;
    tensors.into_iter().try_for_each(|tensor| tensor.write_values(path, out, values))
}
