//! The table of a comparison.

use crate::comparison::Side;
use crate::harness::Outcome;
use crate::harness::statistics::{minimum, quartiles};
use crate::programs::Files;
use crate::runtimes::Class;
use crate::{CLASSES, THREADS};

/// Prints the times, and how far the logits are from those in f32. Our engine is the first side.
pub fn print(id: &str, sides: &mut [Side], expected: &[f32], files: &Files) -> Outcome<()> {
    let ours = sides[0].seconds.clone();
    println!("\n{id}, {THREADS} threads, {} rounds", ours.len());
    println!(
        "{:<18}{:<6}{:>10}{:>10}{:>24}{:>20}",
        "", "class", "median ms", "least ms", "over ours (quartiles)", "error of logits"
    );
    let mut fastest: [Option<(f64, String)>; Class::ALL.len()] = Default::default();
    for side in sides {
        let error = error(expected, &side.logits(files)?)?;
        let ratios: Vec<f64> = side.seconds.iter().zip(&ours).map(|(a, b)| a / b).collect();
        let [low, median, high] = quartiles(&ratios);
        let ratio = format!("{median:.2} ({low:.2}-{high:.2})");
        println!(
            "{:<18}{:<6}{:>10.2}{:>10.2}{:>24}{:>20.1e}",
            side.name(),
            side.runtime.map_or(String::new(), |runtime| runtime.class.to_string()),
            1e3 * quartiles(&side.seconds)[1],
            1e3 * minimum(&side.seconds),
            if side.runtime.is_some() { &ratio } else { "" },
            error,
        );
        if let Some(runtime) = side.runtime {
            let fastest = &mut fastest[runtime.class as usize];
            if fastest.as_ref().is_none_or(|(least, _)| median < *least) {
                *fastest = Some((median, format!("{} {ratio}", runtime.name)));
            }
        }
    }
    for (class, fastest) in Class::ALL.iter().zip(fastest) {
        if let Some((_, fastest)) = fastest {
            println!("the fastest in {class}: {fastest}");
        }
    }
    Ok(())
}

/// The largest difference, as a part of the largest logit.
fn error(expected: &[f32], found: &[f32]) -> Outcome<f64> {
    if found.len() != expected.len() {
        let images = expected.len() / CLASSES;
        let found = found.len();
        return Err(format!(
            "expected {CLASSES} logits for each of {images} images, found {found} in all"
        )
        .into());
    }
    if !expected.iter().chain(found).all(|logit| logit.is_finite()) {
        return Err("expected finite logits, found infinity or NaN".into());
    }
    let largest = expected.iter().fold(0f32, |largest, logit| largest.max(logit.abs()));
    let difference =
        expected.iter().zip(found).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
    if difference > 0.1 * largest {
        return Err(format!(
            "the logits differ by {difference}, and the largest is {largest}: not the same network"
        )
        .into());
    }
    Ok((difference / largest).into())
}
