//! A network trained on several devices of one process.

use super::processes::{GONE, Threads};
use super::{Data, Hooks, Outcome, Recipe, fit, setting};
use crate::error::{Error, Result};
use crate::models::Network;
use burn::module::Module;
use burn::tensor::backend::AutodiffBackend;
use std::sync::Arc;
use std::thread;

/// [`fit`] on several devices of one process, a thread and a replica of the network for each. Every
/// device sees its part of each batch, and all add up their gradients: the run is the same as on one device,
/// but for roundings and for batch norm: see [`fit`]. A device may be named more than once.
///
/// Of several [`processes`](Hooks::processes), each takes one of the devices, those of a host in turn.
///
/// burn-train's own way, `ExecutionStrategy::multi`, copies the weights to the devices at every step, adds up
/// gradients in the order in which they arrive, and waits for ever for a device whose thread panicked.
///
/// # Errors
/// As for [`fit`], on any of the devices; [`Error::Setting`] for no devices.
pub fn fit_on<B: AutodiffBackend>(
    devices: &[B::Device],
    network: Network<B>,
    recipe: &Recipe,
    data: &Data,
    hooks: Hooks,
) -> Result<Outcome<B::InnerBackend>> {
    setting("devices", !devices.is_empty(), "at least one", "none")?;
    let processes = &hooks.processes;
    if processes.count() > 1 || devices.len() == 1 {
        let is_near = |&other: &usize| processes.place(other) == processes.place(processes.rank());
        let nearby = (0..processes.rank()).filter(is_near).count();
        let network = network.fork(&devices[nearby % devices.len()]);
        return fit(network, recipe, data, hooks);
    }
    let replicas: Vec<_> = devices.iter().map(|device| network.replica(device)).collect();
    drop(network);
    let places = devices.iter().enumerate().map(|(index, device)| format!("{index}: {device:?}"));
    let processes = Threads::new(places.collect());
    let each = replicas.into_iter().zip(processes).map(|(replica, process)| {
        let hooks = Hooks { processes: Arc::new(process), ..hooks.clone() };
        move || fit(replica, recipe, data, hooks)
    });
    thread::scope(|scope| {
        let running: Vec<_> = each.map(|fit| scope.spawn(fit)).collect();
        let ended = running.into_iter().enumerate().map(|(rank, thread)| {
            let reason = "it panicked".to_string();
            let place = format!("{:?}", devices[rank]);
            thread.join().unwrap_or(Err(Error::Process { rank, place, reason }))
        });
        let mut ended: Vec<_> = ended.collect();
        // That another one is gone says less than why it went.
        let why = |result: &Result<_>| match result {
            Ok(_) => 0,
            Err(Error::Process { reason, .. }) if reason == GONE => 1,
            Err(Error::Process { .. }) => 2,
            Err(_) => 3,
        };
        let telling = (0..ended.len()).rev().max_by_key(|&rank| why(&ended[rank]));
        ended.swap_remove(telling.unwrap_or_default())
    })
}
