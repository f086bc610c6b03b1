//! The start of a run on several processes: all of them take over what rank 0 has, which alone reads the
//! checkpoint.

use super::Trainable;
use super::processes::ProcessGroup;
use super::run_state::RunState;
use super::sgd::Sgd;
use crate::backend;
use crate::{Error, Result};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// `Ok` if all processes begin the same run.
///
/// # Errors
/// [`Error::Process`] for the first process whose run is a different one, with every difference.
pub(super) fn expect_same_run(state: &RunState, processes: &dyn ProcessGroup) -> Result<()> {
    let texts = processes.all_gather(processes.expect_all_ok(state.to_toml())?.as_bytes())?;
    let states = texts.iter().enumerate().map(|(rank, text)| {
        let place = format!("process {rank} ({})", processes.location(rank));
        RunState::parse(Path::new(&place), &String::from_utf8_lossy(text))
    });
    let states = states.collect::<Result<Vec<_>>>()?;
    for (rank, own) in states.iter().enumerate() {
        let mut differences = own.differences(&states[0], "but process 0 has")?;
        let (epochs, first) = (own.recipe.epochs, states[0].recipe.epochs);
        if epochs != first {
            differences.push(format!("recipe: epochs: {epochs}, but process 0 has {first}"));
        }
        if !differences.is_empty() {
            let place = processes.location(rank);
            let reason = format!("its run is a different one: {}", differences.join("; "));
            return Err(Error::Process { rank, place, reason });
        }
    }
    Ok(())
}

/// The network of rank 0.
pub(super) fn broadcast_weights<B: AutodiffBackend, N: Trainable<B>>(
    processes: &dyn ProcessGroup,
    network: &N,
) -> Result<N> {
    network.with_values(&mut |parameter, rows| {
        let mut values = network.values(parameter, rows)?;
        processes.broadcast(&mut values)?;
        Ok(values)
    })
}

/// The weight average of rank 0, if it has one.
pub(super) fn broadcast_average<B: AutodiffBackend, N: Trainable<B>>(
    processes: &dyn ProcessGroup,
    network: &N,
    average: Option<N>,
) -> Result<Option<N>> {
    if processes.world_size() == 1 {
        return Ok(average);
    }
    if processes.bytes_of_rank_0(&[u8::from(average.is_some())])? != [1] {
        return Ok(None);
    }
    broadcast_weights(processes, average.as_ref().unwrap_or(network)).map(Some)
}

/// The network of rank 0. `state` and `sgd` become those of rank 0, too.
pub(super) fn broadcast_run<B: AutodiffBackend, N: Trainable<B>>(
    processes: &dyn ProcessGroup,
    network: N,
    state: &mut RunState,
    sgd: &mut Sgd<B::InnerBackend>,
) -> Result<N> {
    if processes.world_size() == 1 {
        return Ok(network);
    }
    let text = processes.bytes_of_rank_0(state.to_toml()?.as_bytes())?;
    let place = format!("process 0 ({})", processes.location(0));
    *state = RunState::parse(Path::new(&place), &String::from_utf8_lossy(&text))?;
    let copy = broadcast_weights(processes, &network)?;
    let own = std::mem::replace(sgd, Sgd::new(state.recipe.optimizer, HashMap::new()));
    broadcast_velocities(processes, &network, own, &copy, sgd)?;
    Ok(copy)
}

/// The velocities of rank 0, which are those of `network` in `own`, as those of `copy` in `sgd`.
fn broadcast_velocities<B: AutodiffBackend, N: Trainable<B>>(
    processes: &dyn ProcessGroup,
    network: &N,
    own: Sgd<B::InnerBackend>,
    copy: &N,
    sgd: &mut Sgd<B::InnerBackend>,
) -> Result<()> {
    let trainable = network.trainable_parameters();
    // Frozen parameters have no velocity, and at the start of a run no parameter has one.
    let moving =
        trainable.iter().filter(|one| one.ids.iter().any(|&id| own.velocity(id).is_some()));
    let keys: Vec<&str> = moving.map(|moving| moving.parameter.key.as_str()).collect();
    let keys = processes.bytes_of_rank_0(keys.join("\n").as_bytes())?;
    let keys = String::from_utf8_lossy(&keys).into_owned();
    let keys: BTreeSet<&str> = keys.lines().collect();
    for (old, new) in trainable.iter().zip(copy.trainable_parameters()) {
        if !keys.contains(old.parameter.key.as_str()) {
            continue;
        }
        let row: usize = old.parameter.shape[1..].iter().product();
        for ((&old, &new), rows) in old.ids.iter().zip(&new.ids).zip(new.rows) {
            let mut values = match own.velocity(old) {
                Some(velocity) => backend::read(velocity.clone())?.iter().collect(),
                None => vec![0.0; rows.len() * row],
            };
            processes.broadcast(&mut values)?;
            let data = TensorData::new(values, [rows.len() * row]);
            let velocity = Tensor::<B::InnerBackend, 1>::from_data(data, &copy.device());
            sgd.set_velocity(new, velocity);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::NetworkConfig;
    use crate::train::Recipe;
    use crate::train::processes::ThreadGroup;

    #[test]
    fn a_process_with_another_version_data_or_recipe_is_named() {
        let recipe = Recipe::by_name("alexnet-2012").expect("known");
        let table = NetworkConfig::by_name("alexnet").expect("known").architecture();
        let table = table.expect("a valid table");
        let files = |hash: &str| vec![("training set: files".to_string(), hash.to_string())];
        let here = RunState::new(&table, &recipe, files("abc"));
        let refused = |there: RunState| {
            let processes = ThreadGroup::new(vec!["here".into(), "there".into()]);
            let errors = std::thread::scope(|scope| {
                let states = [&here, &there];
                let running: Vec<_> = (processes.into_iter().zip(states))
                    .map(|(process, state)| scope.spawn(move || expect_same_run(state, &process)))
                    .collect();
                let errors = running.into_iter().map(|thread| thread.join().expect("no panic"));
                errors.map(|error| error.map_err(|error| error.to_string())).collect::<Vec<_>>()
            });
            // Both report the same reason.
            assert_eq!(errors[0], errors[1]);
            errors[0].clone()
        };
        assert_eq!(refused(here.clone()), Ok(()));
        let other = "process 1 (there): its run is a different one: ";
        let version = here.clone().with_version("9.9.9");
        let ours = env!("CARGO_PKG_VERSION");
        assert_eq!(
            refused(version),
            Err(format!("{other}version: 9.9.9, but process 0 has {ours}"))
        );
        let data = RunState::new(&table, &recipe, files("def"));
        let says = "training set: files: def, but process 0 has abc";
        assert_eq!(refused(data), Err(format!("{other}{says}")));
        let recipe = Recipe { rate: 0.5, epochs: 7, ..recipe };
        let error =
            refused(RunState::new(&table, &recipe, files("abc"))).expect_err("another recipe");
        assert!(error.contains("rate: 0.5, but process 0 has 0.01"), "{error}");
        assert!(error.contains("epochs: 7, but process 0 has 90"), "{error}");
    }
}
