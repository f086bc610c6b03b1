//! Peak memory of loading, converting, exporting and compiling, where the operating system reports it (Linux).
#![cfg(all(target_os = "linux", feature = "onnx"))]

#[path = "formula/mod.rs"]
mod formula;
mod process_memory;

use alexnet_vgg_core::architecture::summary::Summary;
use alexnet_vgg_core::architecture::{Parameter, VggConfig};
use alexnet_vgg_core::engine::{CompileOptions, Compiled};
use alexnet_vgg_core::onnx;
use alexnet_vgg_core::weights::{LoadOptions, SaveOptions, Weights, save};
use alexnet_vgg_core::{Error, Metadata, Result};
use process_memory::{MIB, can_be_measured, peak_of, resident};

/// Half of VGG16's width, to be quick: its first linear layer is still 3/4 of it.
#[test]
fn loading_and_writing_take_little_more_than_the_weights() -> Result<()> {
    let vgg16 = VggConfig::vgg16().with_width(0.5).architecture()?;
    let weights: u64 = vgg16.parameters().map(|p| 4 * p.elements()).sum();
    let row = |p: &Parameter| 4 * p.shape[1..].iter().product::<usize>() as u64;
    let chunks =
        vgg16.parameters().flat_map(|p| p.row_chunks().map(|rows| rows.len() as u64 * row(p)));
    let largest_chunk = chunks.max().expect("chunks");
    if !can_be_measured() {
        eprintln!("skipped: this system does not reset a process's peak memory");
        return Ok(());
    }
    let folder = tempfile::tempdir().map_err(Error::io(&std::env::temp_dir()))?;
    let file = |name: &str| folder.path().join(name);

    // Into files of both formats and back out of them, a chunk at a time.
    let (none, options) = (Metadata::default(), SaveOptions::default());
    for name in ["vgg16.safetensors", "vgg16.pth"] {
        let writing = peak_of(|| save(&vgg16, &none, file(name), &options, formula::values))?;
        // The formula computes a chunk, and gives it away.
        assert!(writing <= largest_chunk + 32 * MIB, "writing {name}: {} MiB", writing / MIB);
    }
    for name in ["vgg16.safetensors", "vgg16.pth"] {
        let weights = Weights::open(file(name))?;
        let options = Default::default();
        let exporting = peak_of(|| {
            let mut reader = weights.reader(&vgg16, LoadOptions::default())?;
            let values = |p: &Parameter, rows| {
                reader.rows(p, rows).map(|values| values.expect("a parameter of the file"))
            };
            onnx::export(&vgg16, file("vgg16.onnx"), &options, values)
        })?;
        assert!(exporting <= largest_chunk + 32 * MIB, "exporting: {} MiB", exporting / MIB);
        let converting =
            peak_of(|| weights.convert(&vgg16, file("converted.pth"), &SaveOptions::default()))?;
        assert!(converting <= largest_chunk + 32 * MIB, "converting: {} MiB", converting / MIB);
    }

    // Compiled from the file: the linear weights in 20 bits, those of the convolutions once as they are and
    // once packed, the activations of an image.
    let compile_and_run = || {
        let path = file("vgg16.safetensors");
        let compiled = Compiled::load(&vgg16, path, CompileOptions::default())?;
        let mut logits = vec![0.0; 1000];
        compiled.run(&vec![0.5; 3 * 224 * 224], [1, 3, 224, 224], &mut logits)
    };
    let compiling = peak_of(compile_and_run)?;
    assert!(compiling * 10 <= weights * 20, "compiling: {} MiB", compiling / MIB);
    // The allocator keeps some of what the first one freed, for the next.
    let before = resident();
    compile_and_run()?;
    // What the allocator keeps of the parts that were read is little.
    let left = resident().saturating_sub(before);
    assert!(left <= 40 * MIB, "a network that was dropped leaves {} MiB", left / MIB);

    // The summary reads the table alone.
    let vgg19 = VggConfig::vgg19().architecture()?;
    assert!(peak_of(|| Summary::new(&vgg19, 1, [224, 224]))? < 4 * MIB);
    println!("weights {} MiB, compiled {} MiB", weights / MIB, compiling / MIB);
    Ok(())
}
