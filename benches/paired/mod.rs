//! Pairs of measurements on criterion: two passes alternate, and what counts is the ratio of their times.
//! The speed of a machine drifts more from one minute to the next than the passes differ.
//!
//! criterion selects the cases, and its command line says how long they are measured. What it prints of a
//! case is the time of the first pass; the line below that is about the pairs.

#[path = "../../crates/core/benches/harness/mod.rs"]
mod harness;

pub use harness::Outcome;
#[allow(unused_imports, reason = "not every bench has a peer")]
pub use harness::peer::Peer;

use criterion::{BenchmarkId, Criterion, SamplingMode};
use harness::statistics::median;
use std::time::{Duration, Instant};

/// These are not counted.
const WARM_UP: usize = 2;

/// The command line over the defaults for pairs that take up to seconds: at least ten of them, and more
/// where time allows.
pub fn criterion(measurement_time: Duration) -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(measurement_time)
        .configure_from_args()
}

/// A case, and what its two passes are called.
pub struct Case<'a> {
    /// The ID is `<group>/<function>/<batch>`.
    pub group: &'a str,
    pub function: String,
    pub batch: usize,
    pub first: &'a str,
    pub second: &'a str,
}

impl Case<'_> {
    /// Measures pairs, if the case is selected. `make` makes what measures one pair, once.
    pub fn measure<P: FnMut() -> Outcome<[Duration; 2]>>(
        &self,
        criterion: &mut Criterion,
        make: impl Fn() -> Outcome<P>,
    ) {
        let (mut pair, mut pairs) = (None, Vec::new());
        let mut group = criterion.benchmark_group(self.group);
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(BenchmarkId::new(&self.function, self.batch), |bencher| {
            bencher.iter_custom(|count| {
                let mut measure = || -> Outcome<Duration> {
                    let pair = match &mut pair {
                        Some(pair) => pair,
                        none => none.insert(make()?),
                    };
                    let new = (0..count).map(|_| pair()).collect::<Outcome<Vec<_>>>()?;
                    pairs.extend_from_slice(&new);
                    Ok(new.iter().map(|[first, _]| *first).sum())
                };
                // criterion's closures cannot fail in another way.
                measure().unwrap_or_else(|error| panic!("{}: {error}", self.id()))
            });
        });
        group.finish();
        self.report(pairs.get(WARM_UP..).unwrap_or_default());
    }

    fn id(&self) -> String {
        format!("{}/{}/{}", self.group, self.function, self.batch)
    }

    /// Prints nothing if no pair was measured, as in `cargo test --benches`.
    fn report(&self, pairs: &[[Duration; 2]]) {
        if pairs.is_empty() {
            return;
        }
        let seconds = pairs.iter().map(|pair| pair.map(|time| time.as_secs_f64()));
        let median = |value: fn([f64; 2]) -> f64| median(seconds.clone().map(value).collect());
        println!(
            "{}: {} {:.1} ms, {} {:.1} ms, ratio {:.3} (medians of {} pairs)\n",
            self.id(),
            self.first,
            median(|[first, _]| first) * 1e3,
            self.second,
            median(|[_, second]| second) * 1e3,
            median(|[first, second]| first / second),
            pairs.len()
        );
    }
}

/// The time of a call.
pub fn time<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = call();
    (result, start.elapsed())
}
