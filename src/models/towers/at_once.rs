//! Two halves at the same time.

use crate::backend;
use burn::tensor::backend::Backend;
use std::panic::resume_unwind;
use std::thread;

/// Does `work` for both sides. On a CPU in two threads; elsewhere one after the other, because there a
/// device does its work later anyhow, and each new thread would be a new queue with memory of its own.
pub(crate) fn at_once<B: Backend, T: Send, U: Send>(
    device: &B::Device,
    inputs: [T; 2],
    work: impl Fn(usize, T) -> U + Sync,
) -> [U; 2] {
    let [first, second] = inputs;
    if !backend::is_cpu(device) {
        return [work(0, first), work(1, second)];
    }
    thread::scope(|scope| {
        let other = scope.spawn(|| work(1, second));
        let own = work(0, first);
        [own, other.join().unwrap_or_else(|panic| resume_unwind(panic))]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Cpu;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// Each waits for the other's word: one after the other, the first would wait in vain.
    #[test]
    fn both_sides_are_at_work_together() {
        let (to_second, from_first) = channel();
        let (to_first, from_second) = channel();
        let ends = [(to_second, from_second), (to_first, from_first)];
        let heard = at_once::<Cpu, _, _>(&Default::default(), ends, |side, (to, from)| {
            to.send(side).is_ok() && from.recv_timeout(Duration::from_secs(60)).is_ok()
        });
        assert_eq!(heard, [true, true]);
    }
}
