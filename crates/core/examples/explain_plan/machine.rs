//! The speed limit of a machine.

use alexnet_vgg_core::engine::Isa;
use std::time::Duration;

pub struct Machine {
    pub isa: Isa,
    /// Cycles per second, if they can be measured.
    clock: Option<f64>,
    /// Those that compute.
    cores: usize,
}

impl Machine {
    /// This machine, with as many threads, or one for each core.
    pub fn new(threads: Option<usize>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let isa = Isa::best();
        Self { isa, clock: isa.cycles_per_second(), cores: threads.unwrap_or(cores).min(cores) }
    }

    /// `1 core`, `2 cores`
    pub fn cores(&self) -> String {
        format!("{} core{}", self.cores, if self.cores == 1 { "" } else { "s" })
    }

    /// Milliseconds that a number of cycles takes.
    pub fn estimate(&self, cycles: f64) -> Option<f64> {
        Some(1e3 * cycles / self.clock?)
    }

    /// The percentage of the multiply-adds possible in `time` that were done.
    pub fn utilization(&self, multiplications: u64, time: Duration) -> Option<f64> {
        let core = self.clock? * self.isa.multiply_adds_per_cycle();
        Some(100.0 * multiplications as f64 / time.as_secs_f64() / (core * self.cores as f64))
    }
}
