//! A network and its velocities into a checkpoint, and out of it.

use super::Trainable;
use super::checkpoint::{Checkpoints, Entry};
use super::sgd::Sgd;
use super::state::State;
use crate::backend;
use crate::error::{Error, Result};
use crate::weights::Weights;
use crate::whole_file;
use burn::tensor::Tensor;
use burn::tensor::TensorData;
use burn::tensor::backend::AutodiffBackend;
use std::path::Path;

pub(super) fn save<B: AutodiffBackend, N: Trainable<B>>(
    checkpoints: &Checkpoints,
    network: &N,
    sgd: &Sgd<B::InnerBackend>,
    state: &State,
) -> Result<()> {
    let mut entries = Vec::new();
    for parameter in network.architecture().parameters()? {
        entries.push(Entry {
            name: model(&parameter.key),
            shape: parameter.shape.clone(),
            values: Box::new(move |write| {
                parameter.pieces().try_for_each(|rows| write(&network.values(&parameter, rows)?))
            }),
        });
    }
    for trained in network.trained()? {
        let pieces: Option<Vec<_>> = trained.ids.iter().map(|&id| sgd.velocity(id)).collect();
        // What is frozen never moves.
        let Some(pieces) = pieces else { continue };
        entries.push(Entry {
            name: velocity(&trained.parameter.key),
            shape: trained.parameter.shape,
            values: Box::new(move |write| {
                pieces.iter().try_for_each(|&piece| {
                    let values: Vec<f32> = backend::read(piece.clone())?.iter().collect();
                    write(&values)
                })
            }),
        });
    }
    checkpoints.save(state, &entries)
}

/// The network of a checkpoint, and its velocities into `sgd`. `like` is the network that it is of.
pub(super) fn load<B: AutodiffBackend, N: Trainable<B>>(
    tensors: &Weights,
    like: &N,
    sgd: &mut Sgd<B::InnerBackend>,
) -> Result<N> {
    let device = like.device();
    let network = like
        .with_values(&mut |parameter, rows| tensors.values_of_rows(&model(&parameter.key), rows))?;
    for trained in network.trained()? {
        let name = velocity(&trained.parameter.key);
        if !tensors.tensors().any(|tensor| tensor.name == name) {
            continue;
        }
        let row: usize = trained.parameter.shape[1..].iter().product();
        for (&id, rows) in trained.ids.iter().zip(trained.rows) {
            let count = rows.len() * row;
            let values = tensors.values_of_rows(&name, rows)?;
            super::setting(&name, values.len() == count, &format!("{count} values"), values.len())?;
            let data = TensorData::new(values, [count]);
            sgd.set_velocity(id, Tensor::<B::InnerBackend, 1>::from_data(data, &device));
        }
    }
    Ok(network)
}

pub(super) fn text(path: &Path, text: &str) -> Result<()> {
    whole_file::replace(path, |out| out.write_all(text.as_bytes()).map_err(Error::io(path)))
}

fn model(key: &str) -> String {
    format!("model.{key}")
}

fn velocity(key: &str) -> String {
    format!("velocity.{key}")
}
