//! Training on several devices of one process.

use super::fit::fit;
use super::options::TrainOptions;
use super::outcome::Outcome;
use super::processes::{PROCESS_GONE, ThreadGroup};
use super::recipe::Recipe;
use super::run_data::Data;
use super::setting::expect_setting;
use crate::models::Network;
use crate::{Error, Result};
use burn::module::Module;
use burn::tensor::backend::AutodiffBackend;
use std::sync::Arc;
use std::thread;

/// [`fit`] on several devices of one process, with a thread and a copy of the network for each. Every device works
/// on its part of each batch, and their gradients are summed. The result is that of one device except for rounding
/// and batch norm: see [`fit`]. A device may be listed more than once.
///
/// With several [`processes`](TrainOptions::processes), each process uses one of the devices; the processes of a host
/// take them in turn.
///
/// burn-train's `ExecutionStrategy::multi` is not used: it copies the weights to the devices in every step, sums
/// gradients in the order in which they arrive, and waits forever for a device whose thread panicked.
///
/// # Errors
/// As for [`fit`], on any of the devices; [`Error::Setting`] if there are no devices.
pub fn fit_on<B: AutodiffBackend>(
    devices: &[B::Device],
    network: Network<B>,
    recipe: &Recipe,
    data: &Data,
    options: TrainOptions,
) -> Result<Outcome<B::InnerBackend>> {
    options.expect_supported()?;
    expect_setting("devices", !devices.is_empty(), "at least one", "none")?;
    let processes = &options.processes;
    if processes.world_size() > 1 || devices.len() == 1 {
        let own = processes.location(processes.rank());
        let on_this_host = |&other: &usize| processes.location(other) == own;
        let nearby = (0..processes.rank()).filter(on_this_host).count();
        let network = network.fork(&devices[nearby % devices.len()]);
        return fit(network, recipe, data, options);
    }
    let replicas: Vec<_> = devices.iter().map(|device| network.replica(device)).collect();
    drop(network);
    let locations =
        devices.iter().enumerate().map(|(index, device)| format!("{index}: {device:?}"));
    let processes = ThreadGroup::new(locations.collect());
    let each = replicas.into_iter().zip(processes).map(|(replica, process)| {
        let options = TrainOptions { processes: Arc::new(process), ..options.clone() };
        move || fit(replica, recipe, data, options)
    });
    thread::scope(|scope| {
        let running: Vec<_> = each.map(|fit| scope.spawn(fit)).collect();
        let ended = running.into_iter().enumerate().map(|(rank, thread)| {
            let reason = "it panicked".to_string();
            let place = format!("{:?}", devices[rank]);
            thread.join().unwrap_or(Err(Error::Process { rank, place, reason }))
        });
        let mut ended: Vec<_> = ended.collect();
        // The error of the device that failed first says more than those of devices that waited for it.
        let priority = |result: &Result<_>| match result {
            Ok(_) => 0,
            Err(Error::Process { reason, .. }) if reason == PROCESS_GONE => 1,
            Err(Error::Process { .. }) => 2,
            Err(_) => 3,
        };
        let first = (0..ended.len()).rev().max_by_key(|&rank| priority(&ended[rank]));
        ended.swap_remove(first.unwrap_or_default())
    })
}
