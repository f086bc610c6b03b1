//! The reports at the end of [`train_on_folder`](super::train_on_folder).

use super::options::TrainOptions;
use super::outcome::{Outcome, StopReason};
use super::processes::ProcessGroup;
use super::report::ConfusionMatrix;
use super::run_data::Data;
use super::{Loader, LoaderOptions, Order};
use crate::Result;
use crate::models::Network;
use crate::vision::Labels;
use burn::tensor::backend::Backend;
use std::path::Path;

/// Rank 0 writes the reports, while the other processes wait for it.
pub(super) fn write_reports<B: Backend>(
    outcome: &Outcome<B>,
    data: &Data,
    labels: &Labels,
    options: &TrainOptions,
) -> Result<()> {
    let processes = &*options.processes;
    if processes.rank() > 0 {
        // An empty message means that rank 0 is still working, so that no watchdog aborts the job.
        while processes.bytes_of_rank_0(&[])?.is_empty() {}
        return processes.expect_all_ok(Ok(()));
    }
    let written = match &options.output {
        Some(output) => write_into(output, outcome, data, labels, options),
        None => Ok(()),
    };
    processes.bytes_of_rank_0(&[1])?;
    processes.expect_all_ok(written)
}

fn write_into<B: Backend>(
    output: &Path,
    outcome: &Outcome<B>,
    data: &Data,
    labels: &Labels,
    options: &TrainOptions,
) -> Result<()> {
    if !outcome.history.epochs.is_empty() {
        outcome.history.save_curves(output.join("curves.svg"))?;
    }
    if outcome.stop_reason == StopReason::Interrupted {
        return Ok(());
    }
    let confusion = confusion_matrix(&outcome.best, data, labels, options)?;
    confusion.save_svg(output.join("confusion.svg"))
}

/// The confusion matrix of a network on the validation set.
fn confusion_matrix<B: Backend>(
    network: &Network<B>,
    data: &Data,
    labels: &Labels,
    options: &TrainOptions,
) -> Result<ConfusionMatrix> {
    let loading = LoaderOptions {
        batch: 32,
        order: Order::InOrder,
        broken: options.broken,
        ..LoaderOptions::default()
    };
    let mut confusion = ConfusionMatrix::new(labels.clone());
    let loader = Loader::<B>::new(data.valid.clone(), loading, &network.device())?;
    for micro_batch in loader.epoch(0, 0)? {
        let batch = micro_batch?.batch;
        let predicted = network.try_forward(batch.images)?.argmax(1).into_data();
        let actual = batch.classes.into_data();
        for (actual, predicted) in actual.iter::<i64>().zip(predicted.iter::<i64>()) {
            confusion.add(actual as usize, predicted as usize)?;
        }
        (&*options.processes as &dyn ProcessGroup).bytes_of_rank_0(&[])?;
    }
    Ok(confusion)
}
