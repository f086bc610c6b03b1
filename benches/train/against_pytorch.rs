//! Steps of ours and of PyTorch's, in pairs.

use super::cases;
use super::paired::{Case, Peer, time};
use super::training::Training;
use alexnet_vgg::backend::Flex;
use burn::backend::Autodiff;
use criterion::Criterion;
use std::ffi::OsStr;
use std::time::Duration;

/// The folder of `networks.py`.
const NETWORKS_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

/// Measures the networks against PyTorch in this Python.
pub fn measure(criterion: &mut Criterion, python: &OsStr) {
    for (name, batch) in cases() {
        let (group, function) = ("train", format!("{name}/flex"));
        let case = Case { group, function, batch, first: "ours", second: "PyTorch" };
        case.measure(criterion, || {
            let mut command = Peer::python(python, include_str!("peer.py"));
            let mut peer = Peer::start(command.args([NETWORKS_FOLDER, name, &batch.to_string()]))?;
            let mut training = Training::<Autodiff<Flex>>::new(name, batch, &Default::default())?;
            Ok(move || {
                let (_, ours) = time(|| training.step());
                let [seconds] = peer.seconds("")?;
                Ok([ours, Duration::try_from_secs_f64(seconds)?])
            })
        });
    }
}
