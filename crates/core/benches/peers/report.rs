//! The table of a comparison.

use crate::comparison::Times;
use crate::engine_process::{self, OURS};
use crate::harness::Outcome;
use crate::harness::peer::Peer;
use crate::harness::statistics::{minimum, quartiles};
use crate::{CLASSES, THREADS};
use std::path::Path;

/// Prints the times, and how far the logits are apart.
pub fn print(
    id: &str,
    times: &Times,
    ours: &mut Peer,
    peer: &mut Peer,
    folder: &Path,
) -> Outcome<()> {
    let file = folder.join("logits.f32");
    let our_logits = logits(ours, OURS, &file)?;
    println!("\n{id}, {THREADS} threads, {} rounds", times.ours.len());
    println!(
        "{:<14}{:>10}{:>10}{:>22}{:>28}",
        "", "median ms", "least ms", "over ours (quartiles)", "logits' difference to ours"
    );
    println!(
        "{OURS:<14}{:>10.2}{:>10.2}",
        1e3 * quartiles(&times.ours)[1],
        1e3 * minimum(&times.ours)
    );
    let mut fastest = f64::INFINITY;
    for (name, theirs) in peer.runtimes().to_vec().iter().zip(&times.theirs) {
        let ratios: Vec<f64> = theirs.iter().zip(&times.ours).map(|(a, b)| a / b).collect();
        let [low, median, high] = quartiles(&ratios);
        println!(
            "{name:<14}{:>10.2}{:>10.2}{:>22}{:>28.1e}",
            1e3 * quartiles(theirs)[1],
            1e3 * minimum(theirs),
            format!("{median:.2} ({low:.2}-{high:.2})"),
            difference(&our_logits, &logits(peer, name, &file)?)?,
        );
        fastest = fastest.min(median);
    }
    println!("the fastest of them takes {fastest:.2} of our time");
    Ok(())
}

/// The logits of one more pass.
fn logits(process: &mut Peer, runtime: &str, file: &Path) -> Outcome<Vec<f32>> {
    process.seconds::<1>(&format!("{runtime} {}", file.display()))?;
    engine_process::read(file)
}

/// The largest difference, as a part of the largest logit.
fn difference(ours: &[f32], theirs: &[f32]) -> Outcome<f64> {
    if theirs.len() != ours.len() {
        let images = ours.len() / CLASSES;
        let found = theirs.len();
        return Err(format!(
            "expected {CLASSES} logits for each of {images} images, found {found} in all"
        )
        .into());
    }
    if !ours.iter().chain(theirs).all(|logit| logit.is_finite()) {
        return Err("expected finite logits, found infinity or NaN".into());
    }
    let largest = theirs.iter().fold(0f32, |largest, logit| largest.max(logit.abs()));
    let difference = ours.iter().zip(theirs).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
    if difference > 0.1 * largest {
        return Err(format!(
            "the logits differ by {difference}, and the largest is {largest}: not the same network"
        )
        .into());
    }
    Ok((difference / largest).into())
}
