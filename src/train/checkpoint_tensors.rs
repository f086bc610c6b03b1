//! The tensors of a checkpoint: a network's values, their average, and the optimizer's velocities.

use super::Trainable;
use super::checkpoint::{Checkpoints, Entry};
use super::run_state::RunState;
use super::setting::expect_setting;
use super::sgd::Sgd;
use crate::backend;
use crate::models::{Network, Parameter};
use crate::weights::Weights;
use crate::{Error, Result};
use alexnet_vgg_core::atomic_file;
use burn::tensor::Tensor;
use burn::tensor::TensorData;
use burn::tensor::backend::AutodiffBackend;
use std::ops::Range;
use std::path::Path;

/// The beginning of the names of the average's tensors.
const AVERAGE: &str = "average.";

/// Writes a checkpoint.
pub(super) fn save<B: AutodiffBackend, N: Trainable<B>>(
    checkpoints: &Checkpoints,
    network: &N,
    average: Option<&Network<B::InnerBackend>>,
    sgd: &Sgd<B::InnerBackend>,
    state: &RunState,
) -> Result<()> {
    let mut entries = Vec::new();
    for parameter in network.architecture().parameters() {
        entries.push(Entry {
            name: model_name(&parameter.key),
            shape: parameter.shape.clone(),
            values: Box::new(move |write| {
                parameter.row_chunks().try_for_each(|rows| write(&network.values(parameter, rows)?))
            }),
        });
        let Some(average) = average else { continue };
        entries.push(Entry {
            name: average_name(&parameter.key),
            shape: parameter.shape.clone(),
            values: Box::new(move |write| {
                parameter.row_chunks().try_for_each(|rows| write(&average.values(parameter, rows)?))
            }),
        });
    }
    for trainable in network.trainable_parameters() {
        let velocities: Option<Vec<_>> = trainable.ids.iter().map(|&id| sgd.velocity(id)).collect();
        // Frozen parameters have none.
        let Some(velocities) = velocities else { continue };
        entries.push(Entry {
            name: velocity_name(&trainable.parameter.key),
            shape: trainable.parameter.shape,
            values: Box::new(move |write| {
                velocities.iter().try_for_each(|&velocity| {
                    let values: Vec<f32> = backend::read(velocity.clone())?.iter().collect();
                    write(&values)
                })
            }),
        });
    }
    checkpoints.save(state, &entries)
}

/// The network of a checkpoint, on the devices of `like`; its velocities are put into `sgd`.
pub(super) fn load<B: AutodiffBackend, N: Trainable<B>>(
    tensors: &Weights,
    like: &N,
    sgd: &mut Sgd<B::InnerBackend>,
) -> Result<N> {
    let device = like.device();
    let network = like.with_values(&mut |parameter, rows| {
        tensors.values_of_rows(&model_name(&parameter.key), rows)
    })?;
    for trainable in network.trainable_parameters() {
        let name = velocity_name(&trainable.parameter.key);
        if !tensors.tensors().any(|tensor| tensor.name == name) {
            continue;
        }
        let row: usize = trainable.parameter.shape[1..].iter().product();
        for (&id, rows) in trainable.ids.iter().zip(trainable.rows) {
            let count = rows.len() * row;
            let values = tensors.values_of_rows(&name, rows)?;
            let found = values.len();
            expect_setting(&name, found == count, &format!("{count} values"), found)?;
            let data = TensorData::new(values, [count]);
            sgd.set_velocity(id, Tensor::<B::InnerBackend, 1>::from_data(data, &device));
        }
    }
    Ok(network)
}

/// The average of a checkpoint as a network like `like`; `None` if it has none.
pub(super) fn load_average<B: AutodiffBackend, N: Trainable<B>>(
    tensors: &Weights,
    like: &N,
) -> Result<Option<N>> {
    if !tensors.tensors().any(|tensor| tensor.name.starts_with(AVERAGE)) {
        return Ok(None);
    }
    let values = &mut |parameter: &Parameter, rows: Range<usize>| {
        tensors.values_of_rows(&average_name(&parameter.key), rows)
    };
    like.with_values(values).map(Some)
}

/// Replaces a text file in one step.
pub(super) fn write_text(path: &Path, text: &str) -> Result<()> {
    atomic_file::replace(path, |out| out.write_all(text.as_bytes()).map_err(Error::io(path)))
}

fn model_name(key: &str) -> String {
    format!("model.{key}")
}

fn average_name(key: &str) -> String {
    format!("{AVERAGE}{key}")
}

fn velocity_name(key: &str) -> String {
    format!("velocity.{key}")
}
