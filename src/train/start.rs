//! The start of a run on several processes: all begin with what the first one has, which alone knows the
//! checkpoint.

use super::Trainable;
use super::processes::Processes;
use super::run::Run;
use super::sgd::Sgd;
use super::state::State;
use crate::backend;
use crate::error::Result;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// The network of the first process.
pub(super) fn weights<B: AutodiffBackend, N: Trainable<B>>(
    processes: &dyn Processes,
    network: &N,
) -> Result<N> {
    network.with_values(&mut |parameter, rows| {
        let mut values = network.values(parameter, rows)?;
        processes.broadcast(&mut values)?;
        Ok(values)
    })
}

/// The network of the first process; its velocities and its state into `run`.
pub(super) fn alike<B: AutodiffBackend, N: Trainable<B>>(
    processes: &dyn Processes,
    network: N,
    run: &mut Run<B, N>,
) -> Result<N> {
    if processes.count() == 1 {
        return Ok(network);
    }
    let state = processes.of_first(run.state.to_toml()?.as_bytes())?;
    let place = format!("process 0 ({})", processes.place(0));
    run.state = State::parse(Path::new(&place), &String::from_utf8_lossy(&state))?;
    let same = weights(processes, &network)?;
    let before =
        std::mem::replace(&mut run.sgd, Sgd::new(run.state.recipe.optimizer, HashMap::new()));
    let trained = network.trained()?;
    // What is frozen never moves, and at the start of a run nothing has.
    let moves =
        trained.iter().filter(|own| own.ids.iter().any(|&id| before.velocity(id).is_some()));
    let keys: Vec<&str> = moves.map(|own| own.parameter.key.as_str()).collect();
    let keys = processes.of_first(keys.join("\n").as_bytes())?;
    let keys = String::from_utf8_lossy(&keys).into_owned();
    let keys: BTreeSet<&str> = keys.lines().collect();
    for (old, new) in trained.iter().zip(same.trained()?) {
        if !keys.contains(old.parameter.key.as_str()) {
            continue;
        }
        let row: usize = old.parameter.shape[1..].iter().product();
        for ((&old, &new), rows) in old.ids.iter().zip(&new.ids).zip(new.rows) {
            let mut values = match before.velocity(old) {
                Some(velocity) => backend::read(velocity.clone())?.iter().collect(),
                None => vec![0.0; rows.len() * row],
            };
            processes.broadcast(&mut values)?;
            let data = TensorData::new(values, [rows.len() * row]);
            let velocity = Tensor::<B::InnerBackend, 1>::from_data(data, &network.device());
            run.sgd.set_velocity(new, velocity);
        }
    }
    Ok(same)
}
