//! [`Division`]: how finely a stage is divided, for a number of threads.
//!
//! Few large items read their weights less often; with many small ones no thread waits long for the
//! others. Which algorithm computes a layer does not depend on the number of threads, and neither does the
//! order of any sum, so every division gives the same bits.

use super::cost_model::Machine;
use super::stage::Stage;
use super::team_simulation::simulate;

/// The threads that a plan's work is divided among.
#[derive(Clone, Copy, Debug)]
pub(super) struct Division {
    pub machine: Machine,
    pub threads: usize,
}

/// How much faster a finer division must be predicted to be, as a share of the time: coarse ones read weights
/// and intermediate values in longer runs, which the prediction does not know.
const MIN_GAIN: f64 = 0.01;

/// With this many items for each thread, none waits long, and no finer division is tried.
const ENOUGH_ITEMS: usize = 32;

impl Division {
    /// The stage divided in the way that is predicted to be fastest. A way is a number that `build`
    /// understands; those that are `finer` than the `coarsest` come in order.
    pub fn choose<S: Stage>(
        &self,
        coarsest: usize,
        finer: impl IntoIterator<Item = usize>,
        build: impl Fn(usize) -> S,
    ) -> S {
        let mut best = build(coarsest);
        if self.has_enough_items(&best) {
            return best;
        }
        let mut shortest = self.time(&best);
        for stage in finer.into_iter().map(build) {
            let (time, is_last) = (self.time(&stage), self.has_enough_items(&stage));
            if time < shortest * (1.0 - MIN_GAIN) {
                (best, shortest) = (stage, time);
            }
            if is_last {
                break;
            }
        }
        best
    }

    fn has_enough_items(&self, stage: &dyn Stage) -> bool {
        self.threads == 1 || stage.items() >= ENOUGH_ITEMS * self.threads
    }

    /// Predicted cycles of a stage.
    pub fn time(&self, stage: &dyn Stage) -> f64 {
        simulate(stage, &self.machine, self.threads).time
    }
}

/// Half of `most`, half of that, and so on down to 1: finer and finer ways to divide.
pub(super) fn halves_of(most: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(most), |&parts| (parts > 1).then(|| parts.div_ceil(2))).skip(1)
}
