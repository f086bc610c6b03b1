//! Photos per second from JPEG files to predictions: decoding, resizing and the network, as they
//! overlap.
//!
//!     cargo bench -p alexnet-vgg-core --bench predict
//!     cargo bench -p alexnet-vgg-core --bench predict -- alexnet center
//!     cargo bench -p alexnet-vgg-core --bench predict -- --peer python3
//!     cargo bench -p alexnet-vgg-core --bench predict -- --memory
//!
//! Each case is measured as a whole, and in its two halves: preprocessing the files, and the network.
//! The third command alternates our passes with those of a Python that has torchvision (on Pillow) and
//! onnxruntime, which does the same with the same files and weights, and whose threads decode ahead
//! while the network runs; only dense evaluation has no counterpart there. The last command prints how
//! much memory the process holds. IDs: `<network>/<views>/<threads>`.

#[path = "../harness/mod.rs"]
mod harness;
mod memory;
mod photos;
mod throughput;

use alexnet_vgg_core::architecture::{Architecture, NetworkConfig};
use alexnet_vgg_core::engine::{CompileOptions, Compiled, Threads};
use alexnet_vgg_core::onnx::{self, ExportOptions};
use clap::Parser;
use harness::arguments::BenchArguments;
use harness::{Outcome, fresh_weights};
use throughput::Case;

const NETWORKS: [&str; 2] = ["alexnet", "vgg16"];
const VIEWS: [&str; 3] = ["center", "ten-crop", "dense"];

/// Measures photos per second from JPEG files to predictions. The IDs of the cases are
/// `<network>/<views>/<threads>`, such as `vgg16/ten-crop/2`.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    bench: BenchArguments,
    /// Instead, classify 10,000 photos and print how much memory the process holds meanwhile
    #[arg(long, conflicts_with_all = ["filters", "peer"])]
    memory: bool,
}

fn main() -> Outcome<()> {
    let Arguments { bench, memory } = Arguments::parse();
    if !bench.measures() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    if memory {
        return memory::measure(folder.path());
    }
    let files = photos::write(folder.path(), 48)?;
    throughput::print_header();
    for name in NETWORKS {
        let architecture = NetworkConfig::by_name(name)?.architecture()?;
        let onnx = folder.path().join(format!("{name}.onnx"));
        onnx::export(&architecture, &onnx, &ExportOptions::default(), fresh_weights::rows)?;
        for threads in [1, 2] {
            let model = compile(&architecture, Threads::Dedicated(threads))?;
            for views in VIEWS {
                if bench.selects(&format!("{name}/{views}/{threads}")) {
                    let case = Case { name, views, threads, model: &model, onnx: &onnx };
                    case.measure(&files, bench.peer.as_deref())?;
                }
            }
        }
    }
    Ok(())
}

fn compile(architecture: &Architecture, threads: Threads) -> alexnet_vgg_core::Result<Compiled> {
    let options = CompileOptions { threads, ..CompileOptions::default() };
    Compiled::from_values(architecture, options, fresh_weights::rows)
}
