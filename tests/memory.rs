//! Peak memory, where the operating system tells it (Linux).
#![cfg(target_os = "linux")]

mod formula;

use alexnet_vgg::backend::Cpu as B;
use alexnet_vgg::engine::{Compiled, Precision};
use alexnet_vgg::models::{Network, Parameter, VggConfig};
use std::io::{BufWriter, Write};

const MIB: u64 = 1 << 20;

/// Resets the peak to what is in use now.
fn reset_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

fn peak() -> u64 {
    field("VmHWM:")
}

fn field(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .map(|kib: u64| kib << 10)
        .expect("KiB")
}

/// Half of VGG16's width, to be quick: its first linear layer is still 3/4 of it.
#[test]
fn building_and_loading_take_little_more_than_the_weights() {
    let config = || VggConfig::vgg16().with_width(0.5);
    let device = Default::default();
    let table = config().architecture();
    let parameters = table.parameters().expect("valid");
    let weights: u64 = parameters.iter().map(|p| 4 * p.elements()).sum();

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vgg16.safetensors");
    let mut file = BufWriter::new(std::fs::File::create(&path).expect("writable"));
    let mut offset = 0;
    let entries: Vec<String> = (parameters.iter())
        .map(|p| {
            let start = offset;
            offset += 4 * p.elements();
            format!(
                r#""{}":{{"dtype":"F32","shape":{:?},"data_offsets":[{start},{offset}]}}"#,
                p.key, p.shape
            )
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    file.write_all(&(header.len() as u64).to_le_bytes()).expect("disk");
    file.write_all(header.as_bytes()).expect("disk");
    for p in &parameters {
        for row in 0..p.shape[0] {
            for value in formula::fill(&p.key, &p.shape, row..row + 1) {
                file.write_all(&value.to_le_bytes()).expect("disk");
            }
        }
    }
    file.flush().expect("disk");
    drop(file);

    if !reset_peak() {
        return eprintln!("skipped: this system does not reset a process's peak memory");
    }
    let before = field("VmRSS:");
    let network: Network<B> = Network::load(config(), &path, &device).expect("the right weights");
    let loading = peak() - before;
    assert!(
        loading * 10 <= weights * 13,
        "loading: {} MiB for {} MiB",
        loading / MIB,
        weights / MIB
    );
    // In PyTorch's format, too; and back out, a piece at a time.
    let pth = folder.path().join("vgg16.pth");
    let onnx = folder.path().join("vgg16.onnx");
    let row = |p: &Parameter| 4 * p.shape[1..].iter().product::<usize>() as u64;
    let piece = parameters.iter().flat_map(|p| p.pieces().map(|rows| rows.len() as u64 * row(p)));
    let largest_piece = piece.max().expect("pieces");
    for write in [0, 1] {
        reset_peak();
        let before = field("VmRSS:");
        match write {
            0 => network.save(&pth).expect("disk"),
            _ => drop(network.export_onnx(&onnx, &Default::default()).expect("disk")),
        }
        let writing = peak().saturating_sub(before);
        assert!(writing <= largest_piece + 32 * MIB, "writing: {} MiB", writing / MIB);
    }
    drop(network);
    reset_peak();
    let before = field("VmRSS:");
    let network: Network<B> = Network::load(config(), &pth, &device).expect("our own file");
    let from_pth = peak().saturating_sub(before);
    assert!(from_pth * 10 <= weights * 13, "loading .pth: {} MiB", from_pth / MIB);
    drop(network);

    // Compiled from the file: the linear weights in 24 bits, the convolutions' once as they are and
    // once packed, the activations of an image.
    reset_peak();
    let before = field("VmRSS:");
    let compiled = Compiled::load(config(), &path, Precision::F32).expect("the right weights");
    let mut logits = vec![0.0; 1000];
    compiled.run(&vec![0.5; 3 * 224 * 224], [1, 3, 224, 224], &mut logits).expect("logits");
    let compiling = peak().saturating_sub(before);
    assert!(compiling * 10 <= weights * 20, "compiling: {} MiB", compiling / MIB);
    drop(compiled);
    // What the allocator keeps of the parts that were read is little.
    let left = field("VmRSS:").saturating_sub(before);
    assert!(left <= 40 * MIB, "a network that was dropped leaves {} MiB", left / MIB);

    reset_peak();
    let before = field("VmRSS:");
    let network = config().init::<B>(&device);
    let building = peak().saturating_sub(before);
    assert!(building <= weights * 2, "building: {} MiB for {} MiB", building / MIB, weights / MIB);
    drop(network);

    // The summary reads the table alone.
    reset_peak();
    let before = field("VmRSS:");
    alexnet_vgg::summary::Summary::new(&VggConfig::vgg19().architecture(), 1, [224, 224])
        .expect("valid");
    assert!(peak().saturating_sub(before) < 4 * MIB);
    println!(
        "weights {} MiB, loading {} MiB (.pth {} MiB), compiled {} MiB, building {} MiB",
        weights / MIB,
        loading / MIB,
        from_pth / MIB,
        compiling / MIB,
        building / MIB
    );
}
