//! How threads would share the stages, by the cost model.

use crate::cli;
use crate::machine::Machine;
use alexnet_vgg_core::engine::Compiled;
use std::error::Error;

/// Prints the prediction for this number of threads.
pub fn explain(
    compiled: &Compiled,
    shape: [usize; 4],
    threads: usize,
    machine: &Machine,
) -> Result<(), Box<dyn Error>> {
    let prediction = compiled.predict(shape, threads)?;
    let alone = compiled.predict(shape, 1)?;
    cli::print(format!(
        "\nPredicted for {threads} thread{} on as many cores\n\n{:<32} {:>7} {:>13} {:>10} {:>10}\n",
        if threads == 1 { "" } else { "s" },
        "stage",
        "items",
        "longest/mean",
        "efficiency",
        "time",
    ))?;
    let milliseconds = |cycles: f64| {
        machine.estimate(cycles).map_or(String::new(), |time| format!("{time:.2} ms"))
    };
    let mut place = (String::new(), 0);
    let whole = prediction.cycles();
    for stage in &prediction.stages {
        let number = if place.0 == stage.layers { place.1 + 1 } else { 1 };
        place = (stage.layers.clone(), number);
        cli::print(format!(
            "{:<32} {:>7} {:>13.2} {:>9.0}% {:>10}\n",
            if number == 1 { stage.layers.clone() } else { format!("  step {number}") },
            stage.items,
            stage.longest_share(),
            100.0 * stage.efficiency(),
            milliseconds(stage.cycles),
        ))?;
    }
    let parts = match compiled.batch_parts(shape, threads)? {
        1 => "All threads compute the batch together.".into(),
        parts => format!("The batch is computed in {parts} parts at the same time."),
    };
    cli::print(format!(
        "\nThe whole network: {:.0}% efficiency, {:.1} times as fast as one thread. {}\n{parts}\nlongest/mean: the work \
         of the thread that has most, divided by the mean. efficiency: the share of the\nthreads' time that is work. \
         All of this is by the cost model, not measured: it takes memory and caches to get\nfaster with each core.\n",
        100.0 * prediction.efficiency(),
        alone.cycles() / whole,
        milliseconds(whole),
    ))
}
