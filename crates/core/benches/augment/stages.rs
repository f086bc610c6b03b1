//! Where the time goes, on one thread.

use crate::harness::Outcome;
use crate::harness::statistics::median;
use alexnet_vgg_core::vision::augment::{Augmentation, ColorStatistics, Sample};
use alexnet_vgg_core::vision::{self, Preset};
use std::hint::black_box;
use std::time::Instant;

/// Prints the time of each stage, and of the named augmentations.
pub fn measure(files: &[Vec<u8>], names: &[&str], rounds: usize) -> Outcome<()> {
    let preset = Preset::imagenet();
    let photos: Vec<_> = files.iter().map(|file| vision::decode(file)).collect::<Result<_, _>>()?;
    let milliseconds = |stage: &mut dyn FnMut(usize) -> Outcome<()>| -> Outcome<f64> {
        let mut times = Vec::new();
        for _ in 0..rounds {
            let start = Instant::now();
            (0..files.len()).try_for_each(&mut *stage)?;
            times.push(1e3 * start.elapsed().as_secs_f64() / files.len() as f64);
        }
        Ok(median(times))
    };
    let decoding = milliseconds(&mut |index| {
        black_box(vision::decode(&files[index])?);
        Ok(())
    })?;
    let statistics = milliseconds(&mut |index| {
        black_box(ColorStatistics::from_photo(&photos[index]));
        Ok(())
    })?;
    println!(
        "one thread, per photo: decoding {decoding:.2} ms, color statistics {statistics:.2} ms"
    );
    for name in names {
        let augmentation = Augmentation::by_name(name)?;
        let mut values = Vec::new();
        let augmenting = milliseconds(&mut |index| {
            values.clear();
            let sample = Sample { seed: 0, epoch: 0, index: index as u64 };
            Ok(augmentation.values(&photos[index], sample, &preset, &mut values)?)
        })?;
        println!("  {name}: augmenting {augmenting:.2} ms");
    }
    Ok(())
}
