//! Work of both halves at the same time.

use crate::backend;
use burn::tensor::backend::Backend;
use std::panic::resume_unwind;
use std::thread;

/// Runs `work` for both halves: on a CPU in two threads, elsewhere one after the other, because a GPU runs its
/// queue asynchronously anyway, and each new thread would get a new queue with its own memory.
pub(crate) fn run_both_halves<B: Backend, T: Send, U: Send>(
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

    /// Each half waits for a message of the other, which never comes if one runs after the other.
    #[test]
    fn both_halves_run_at_the_same_time() {
        let (to_second, from_first) = channel();
        let (to_first, from_second) = channel();
        let ends = [(to_second, from_second), (to_first, from_first)];
        let received =
            run_both_halves::<Cpu, _, _>(&Default::default(), ends, |side, (to, from)| {
                to.send(side).is_ok() && from.recv_timeout(Duration::from_secs(60)).is_ok()
            });
        assert_eq!(received, [true, true]);
    }
}
