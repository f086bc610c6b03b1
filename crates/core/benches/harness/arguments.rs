//! The command line of the benches that do not run on criterion.

use clap::Args;
use std::path::PathBuf;

/// Selects cases, and the Python to compare with.
#[derive(Args, Clone, Debug)]
pub struct BenchArguments {
    /// Run only the cases whose ID contains this text; of several texts, all of them
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Python interpreter with the libraries to compare with: their passes and ours alternate
    #[arg(long, value_name = "PYTHON", env = "ALEXNET_VGG_PEER")]
    pub peer: Option<PathBuf>,
    #[command(flatten)]
    cargo: CargoArguments,
}

impl BenchArguments {
    /// Whether to measure at all.
    pub fn measures(&self) -> bool {
        self.cargo.measures()
    }

    /// Whether to run the case with this ID.
    pub fn selects(&self, id: &str) -> bool {
        self.filters.iter().all(|filter| id.contains(filter.as_str()))
    }
}

/// The flags that cargo adds.
#[derive(Args, Clone, Copy, Debug)]
pub struct CargoArguments {
    /// `cargo bench` passes it, `cargo test --benches` does not.
    #[arg(long, hide = true)]
    bench: bool,
    /// Only check that the bench starts.
    #[arg(long, hide = true)]
    test: bool,
}

impl CargoArguments {
    /// Whether this is `cargo bench`, not a test.
    pub fn measures(self) -> bool {
        self.bench && !self.test
    }
}
