//! Several hosts, each a network namespace of this machine: what crosses the network, and what becomes of a
//! job whose network is cut. Skipped, with a message, where that is not allowed.

use super::Scenario;
use super::ends::all_reduces_forever;
use super::launch::{Ended, library};
use alexnet_vgg::Result;
use alexnet_vgg::train::processes::{Mpi, ProcessGroup};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const SCENARIOS: [Scenario; 3] = [
    Scenario { name: "hosts traffic", play: traffic, check: traffic_is_as_in_theory },
    Scenario { name: "hosts rate", play: traffic, check: rate_is_used },
    Scenario { name: "hosts cut", play: all_reduces_forever, check: cut_ends_all },
];

const VALUES: usize = 25_000_000;
const REPETITIONS: usize = 3;

/// What each host sends, against the least that an all-reduce needs: 2 (k - 1) / k of its bytes.
fn traffic(mpi: &Arc<Mpi>, _: &Path) -> Result<()> {
    let mut values = vec![1.0; VALUES];
    mpi.all_reduce(&mut values)?; // the first one makes the connections
    mpi.all_gather(&[])?;
    let (start, before) = (Instant::now(), sent());
    for _ in 0..REPETITIONS {
        values.fill(1.0);
        mpi.all_reduce(&mut values)?;
    }
    let seconds = start.elapsed().as_secs_f64() / REPETITIONS as f64;
    mpi.all_gather(&[])?;
    let sent = (sent() - before) as f64 / REPETITIONS as f64;
    let ranks = mpi.world_size() as f64;
    let least = 2.0 * (ranks - 1.0) / ranks * (VALUES * 4) as f64;
    let all = mpi.all_gather(format!("{:.3}", sent / least).as_bytes())?;
    let all: Vec<_> = all.iter().map(|text| String::from_utf8_lossy(text)).collect();
    if mpi.rank() == 0 {
        println!(
            "{} ranks, an all-reduce of {VALUES}: {:.0} ms; sent by each host, of {:.0} MB: {}",
            mpi.world_size(),
            seconds * 1e3,
            least / 1e6,
            all.join(" ")
        );
        println!("seconds {seconds}");
    }
    let most = all.iter().filter_map(|text| text.parse().ok()).fold(0.0, f64::max);
    // Headers and the start of a job: 1% seen.
    assert!(most < 1.1, "{all:?}");
    Ok(())
}

/// Bytes that this host has sent.
fn sent() -> u64 {
    let table = std::fs::read_to_string("/proc/net/dev").expect("counts");
    let row = table.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
    let sent = row.and_then(|row| row.split_whitespace().nth(8)).expect("eth0");
    sent.parse().expect("a number")
}

fn is_skipped(ended: &Ended) -> bool {
    let skipped = ended.status.code() == Some(77);
    if skipped {
        eprintln!("{}", ended.said);
    }
    skipped
}

fn traffic_is_as_in_theory(scenario: &Scenario) {
    for ranks in [2, 4] {
        let ended = scenario.start_on_hosts(ranks, ranks, &[]).end();
        if is_skipped(&ended) {
            return;
        }
        println!("{}", ended.said.trim());
        ended.well();
    }
}

/// On a network of 1 Gbit/s, an all-reduce takes as long as its bytes take.
fn rate_is_used(scenario: &Scenario) {
    let ended = scenario.start_on_hosts(2, 2, &[("HOSTS_RATE", "1gbit")]).end();
    if is_skipped(&ended) {
        return;
    }
    println!("{}", ended.said.trim());
    ended.well();
    let seconds = ended.said.lines().find_map(|line| line.strip_prefix("seconds "));
    let seconds: f64 = seconds.and_then(|text| text.parse().ok()).expect("seconds");
    let least = (VALUES * 4 * 8) as f64 / 1e9;
    assert!((0.9..6.0).contains(&(seconds / least)), "{seconds} s, and {least} s are the least");
}

/// No connection is closed. Open MPI's mpirun notices that it hears nothing; where mpirun does not, the timeout
/// ends the job.
fn cut_ends_all(scenario: &Scenario) {
    let job = scenario.start_on_hosts(2, 2, &[("ALEXNET_VGG_MPI_TIMEOUT", "12")]);
    job.wait_for("at work");
    std::fs::write(job.folder().join("cut"), "").expect("a file");
    let start = Instant::now();
    let ended = job.end();
    if is_skipped(&ended) {
        return;
    }
    println!("cut: {:?}, {}", start.elapsed(), ended.status);
    let says = if library().contains("Open MPI") {
        "lost communication with a remote daemon"
    } else {
        "rank 0 of 2 (host-1) has waited 12 s for the others in an all-reduce"
    };
    ended.badly(Duration::from_secs(40), &[says]);
}
