//! MPI processes, as `mpirun` starts them: what they compute, and that a job ends by itself, whatever happens to
//! one of them.
//!
//! This program starts itself by the `mpirun` of the MPI that it was built with, or by
//! `ALEXNET_VGG_MPIRUN`. Names of scenarios, or parts of names, choose some.
#![recursion_limit = "256"]

mod collective_operations;
mod ends;
mod hosts;
mod launch;
mod training;

use alexnet_vgg::train::processes::Mpi;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// What the ranks do, and what must come of it.
struct Scenario {
    name: &'static str,
    /// In each process that `mpirun` starts. The folder is the scenario's own.
    play: fn(&Arc<Mpi>, &Path) -> alexnet_vgg::Result<()>,
    /// Starts the processes and looks at them from outside. Panics if anything is wrong.
    check: fn(&Scenario),
}

fn scenarios() -> impl Iterator<Item = Scenario> {
    collective_operations::SCENARIOS
        .into_iter()
        .chain(ends::SCENARIOS)
        .chain(hosts::SCENARIOS)
        .chain(training::SCENARIOS)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [play, name, folder] = &args[..]
        && play == launch::PLAY
    {
        return launch::play(scenarios().find(|one| one.name == name), Path::new(folder));
    }
    let chosen = args.iter().filter(|arg| !arg.starts_with('-'));
    let chosen: Vec<&String> = chosen.collect();
    let fits = |one: &Scenario| {
        chosen.is_empty() || chosen.iter().any(|part| one.name.contains(part.as_str()))
    };
    println!("{}", launch::library());
    let mut failed = 0;
    for scenario in scenarios().filter(fits) {
        let start = Instant::now();
        let result = std::panic::catch_unwind(|| (scenario.check)(&scenario));
        failed += u32::from(result.is_err());
        let outcome = if result.is_ok() { "ok" } else { "FAILED" };
        let seconds = start.elapsed().as_secs_f32();
        println!("scenario {} ... {outcome} ({seconds:.1} s)", scenario.name);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
