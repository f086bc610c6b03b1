//! How a job ends: always, by itself, and with a reason.

use super::Scenario;
use super::launch::{library, mpirun, other_mpirun};
use alexnet_vgg::train::processes::{Mpi, ProcessGroup};
use alexnet_vgg::{Error, Result};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const SCENARIOS: [Scenario; 8] = [
    Scenario { name: "panic", play: panics, check: panic_ends_all },
    Scenario { name: "panic of a thread", play: thread_panics, check: panic_of_a_thread },
    Scenario { name: "error", play: fails, check: error_ends_all },
    Scenario { name: "exit", play: exits, check: exit_ends_all },
    Scenario { name: "kill", play: all_reduces_forever, check: kill_ends_all },
    Scenario { name: "stop", play: all_reduces_forever, check: timeout_ends },
    Scenario { name: "launcher", play: nothing, check: other_launcher },
    Scenario { name: "second start", play: starts_again, check: second_start },
];

/// The limit for what ends at once: 0.5 s was measured, but the machines that run tests are busy.
const SOON: Duration = Duration::from_secs(30);

/// The rank that something happens to.
const VICTIM: usize = 1;

fn panics(mpi: &Arc<Mpi>, _: &Path) -> Result<()> {
    if mpi.rank() == VICTIM {
        panic!("a bad day");
    }
    mpi.all_reduce(&mut [1.0])
}

fn panic_ends_all(scenario: &Scenario) {
    scenario.start(4).end().badly(SOON, &["rank 1 of 4 (", "a bad day", "ends.rs"]);
}

/// As in a thread that reads pictures: the panic is reported, and the run continues.
fn thread_panics(mpi: &Arc<Mpi>, _: &Path) -> Result<()> {
    if mpi.rank() == VICTIM {
        let thread = std::thread::spawn(|| panic!("a bad picture"));
        thread.join().expect_err("a panic");
    }
    mpi.all_reduce(&mut [1.0])
}

fn panic_of_a_thread(scenario: &Scenario) {
    let ended = scenario.start(2).end();
    ended.well();
    assert!(ended.said.contains("rank 1 of 2 ("), "{}", ended.said);
}

fn fails(mpi: &Arc<Mpi>, _: &Path) -> Result<()> {
    if mpi.rank() == VICTIM {
        let (place, reason) = (mpi.location(VICTIM), "a full disk".into());
        return Err(Error::Process { rank: VICTIM, place, reason });
    }
    mpi.all_reduce(&mut [1.0])
}

fn error_ends_all(scenario: &Scenario) {
    let ended = scenario.start(4).end();
    ended.badly(SOON, &["rank 1 of 4 (", "a full disk"]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said);
}

/// A `main` that forgets the others.
fn exits(mpi: &Arc<Mpi>, _: &Path) -> Result<()> {
    if mpi.rank() == VICTIM {
        std::process::exit(3);
    }
    mpi.all_reduce(&mut [1.0])
}

fn exit_ends_all(scenario: &Scenario) {
    scenario.start(4).end().badly(SOON, &[]);
}

pub fn all_reduces_forever(mpi: &Arc<Mpi>, folder: &Path) -> Result<()> {
    let mut values = vec![1.0; 1000];
    for round in 0.. {
        mpi.all_reduce(&mut values)?;
        values.fill(1.0);
        if round == 100 && mpi.rank() == VICTIM {
            fs::write(folder.join("at work"), "").expect("a file");
        }
    }
    Ok(())
}

fn kill_ends_all(scenario: &Scenario) {
    let job = scenario.start(4);
    job.wait_for("at work");
    let start = Instant::now();
    job.signal("-KILL", VICTIM);
    let ended = job.end();
    println!("killed: {:?}, {}", start.elapsed(), ended.status);
    ended.badly(SOON, &[]);
    // Open MPI names the rank. MPICH names a process and its host; it may be one of those that it ended itself.
    let named = if library().contains("Open MPI") { "process rank 1 " } else { "RUNNING AT" };
    assert!(ended.said.contains(named), "{}", ended.said);
}

fn timeout_ends(scenario: &Scenario) {
    let timeout = [("ALEXNET_VGG_MPI_TIMEOUT", "3")];
    let job = scenario.start_by(&mpirun(), 4, &timeout);
    job.wait_for("at work");
    let start = Instant::now();
    job.signal("-STOP", VICTIM);
    let ended = job.end();
    println!("stopped: {:?}, {}", start.elapsed(), ended.status);
    ended.badly(SOON, &["of 4 (", "has waited 3 s for the others in an all-reduce"]);
}

fn nothing(_: &Arc<Mpi>, _: &Path) -> Result<()> {
    Ok(())
}

fn other_launcher(scenario: &Scenario) {
    let Some(other) = other_mpirun() else {
        eprintln!("skipped: there is no launcher of another MPI");
        return;
    };
    let ended = scenario.start_by(other, 2, &[]).end();
    ended.badly(SOON, &["2 processes were started", "not connected", "mpirun of the same MPI"]);
}

fn starts_again(_: &Arc<Mpi>, _: &Path) -> Result<()> {
    let error = Mpi::start().expect_err("a second start").to_string();
    assert!(error.contains("one call of `Mpi::start` in a process"), "{error}");
    Ok(())
}

fn second_start(scenario: &Scenario) {
    scenario.start(2).end().well();
}
