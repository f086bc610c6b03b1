//! [`simulate`]: how a number of threads share the items of a stage, by the cost model.
//!
//! It does on paper what [`forward_pass`](super::forward_pass) does: whichever thread is free takes the
//! next item by counting up, and all go on when the last item is done. The result depends on nothing but
//! the stage, the machine and the number of threads; the threads need not exist. What it leaves out: memory
//! and the L3 cache are taken to get faster with each thread, every thread to have an equally fast core of
//! its own, and no thread to come late.

use super::cost_model::Machine;
use super::stage::Stage;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Cycles that the counter of a stage takes to move to another core, which it may do for each item. This is
/// assumed, not measured: a cache line moves in 20 to 100 ns, depending on how far apart the cores are.
const TAKE_CYCLES: u64 = 200;
/// Cycles for each thread to see that a stage is over: they read the same cache line one after the other.
/// Assumed, too.
const NOTICE_CYCLES: u64 = 50;

/// How long threads take for a stage, in cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct StageTime {
    pub items: usize,
    /// The work of all items.
    pub work: f64,
    /// The work of the thread that has most.
    pub longest: f64,
    /// From the start until every thread goes on.
    pub time: f64,
}

/// The time that `threads` threads take for a stage.
pub(super) fn simulate(stage: &dyn Stage, machine: &Machine, threads: usize) -> StageTime {
    let items = stage.items();
    // For each thread: when it is free, and how much of that time was work.
    let mut free: BinaryHeap<_> =
        std::iter::repeat_n(Reverse((0u64, 0u64)), threads.max(1)).collect();
    let (mut counter_is_free, mut total) = (0, 0);
    for item in 0..items {
        let cycles = machine.cycles(&stage.work(item)) as u64;
        let Some(mut first) = free.peek_mut() else { break };
        let Reverse((time, work)) = &mut *first;
        let taken = counter_is_free.max(*time) + TAKE_CYCLES;
        counter_is_free = taken;
        total += cycles;
        *work += cycles;
        *time = taken + cycles;
    }
    let longest = free.iter().map(|Reverse((_, work))| *work).max().unwrap_or(0);
    let last = free.iter().map(|Reverse((time, _))| *time).max().unwrap_or(0);
    let end = 2 * TAKE_CYCLES + NOTICE_CYCLES * threads as u64;
    StageTime { items, work: total as f64, longest: longest as f64, time: (last + end) as f64 }
}
