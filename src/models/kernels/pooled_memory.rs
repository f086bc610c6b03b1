//! Memory that comes back when a tensor is dropped, for the next one of the same size.
//!
//! A step of training makes and drops gigabytes of activations and gradients. The system zeroes fresh pages, which
//! takes longer than most of what is computed in them.

use burn::tensor::{AllocationProperty, Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Fewer values come from the allocator, which keeps them itself.
const FEWEST_VALUES: usize = 1 << 16;
/// Memory that was idle while so many others were taken is not needed any more: several steps of the deepest network.
const LONGEST_IDLE: u64 = 2048;

static POOL: Mutex<Pool> =
    Mutex::new(Pool { idle: VecDeque::new(), idle_len: 0, used: 0, peak: 0, taken: 0 });

/// Lengths are in values.
struct Pool {
    /// The memory that no tensor uses; that which has been idle longest is first.
    idle: VecDeque<Idle>,
    /// Of all of it.
    idle_len: usize,
    /// Of what tensors use.
    used: usize,
    /// The most that tensors have used.
    peak: usize,
    /// How often memory was taken.
    taken: u64,
}

struct Idle {
    memory: Vec<f32>,
    /// What `taken` was when it came back.
    since: u64,
}

/// A contiguous tensor whose values `compute` writes. Before, they are anything.
///
/// # Errors
/// Those of `compute`.
pub fn try_computed<const D: usize, E>(
    shape: [usize; D],
    compute: impl FnOnce(&mut [f32]) -> Result<(), E>,
) -> Result<FlexTensor, E> {
    let mut values = take(shape.iter().product());
    compute(values.as_mut_slice())?;
    Ok(tensor(shape, values))
}

/// [`try_computed`] that also gives a handle of the values.
///
/// # Errors
/// Those of `compute`.
pub fn try_computed_shared<const D: usize, E>(
    shape: [usize; D],
    compute: impl FnOnce(&mut [f32]) -> Result<(), E>,
) -> Result<(FlexTensor, SharedValues), E> {
    let mut values = take(shape.iter().product());
    compute(values.as_mut_slice())?;
    let values = SharedValues(Arc::new(values));
    Ok((tensor(shape, values.clone()), values))
}

fn tensor<const D: usize, V>(shape: [usize; D], values: V) -> FlexTensor
where
    V: AsRef<[u8]> + Send + 'static,
{
    let bytes = bytes::Bytes::from_owner(values);
    let bytes = Bytes::from_shared(bytes, AllocationProperty::Other);
    FlexTensor::new(bytes, Layout::contiguous(Shape::from(shape)), DType::F32)
}

/// The values of a tensor, which can be overwritten when nothing else uses them any more.
#[derive(Clone)]
pub struct SharedValues(Arc<Pooled>);

impl SharedValues {
    /// A tensor of as many values, in this memory if nothing else uses it: `compute` gets the values that are there
    /// and writes others in their place.
    pub fn replaced<const D: usize>(
        self,
        shape: [usize; D],
        compute: impl FnOnce(&mut [f32]),
    ) -> FlexTensor {
        let mut values = Arc::try_unwrap(self.0).unwrap_or_else(|shared| {
            let mut copy = take(shared.len);
            copy.as_mut_slice().copy_from_slice(&shared.memory[..shared.len]);
            copy
        });
        compute(values.as_mut_slice());
        tensor(shape, values)
    }
}

impl std::fmt::Debug for SharedValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.0.len)
    }
}

impl AsRef<[u8]> for SharedValues {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref().as_ref()
    }
}

/// The same.
///
/// # Panics
/// Where `compute` has an error: burn's backward pass returns none.
pub fn computed<const D: usize>(
    shape: [usize; D],
    compute: impl FnOnce(&mut [f32]) -> alexnet_vgg_core::Result<()>,
) -> FlexTensor {
    match try_computed(shape, compute) {
        Ok(tensor) => tensor,
        Err(error) => panic!("{error}"),
    }
}

/// Values that go back to the pool when they are dropped.
struct Pooled {
    /// Of at least `len` values.
    memory: Vec<f32>,
    len: usize,
}

impl Pooled {
    fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.memory[..self.len]
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.memory[..self.len])
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if self.len >= FEWEST_VALUES {
            pool().put(std::mem::take(&mut self.memory));
        }
    }
}

impl Pool {
    /// The smallest memory of at least this length, if it is not twice as long: the last batch of an epoch, which is
    /// smaller, takes that of the others.
    fn take(&mut self, len: usize) -> Option<Vec<f32>> {
        let fits = |idle: &&Idle| (len..2 * len).contains(&idle.memory.len());
        let smallest = self.idle.iter().filter(fits).map(|idle| idle.memory.len()).min();
        let at = self.idle.iter().rposition(|idle| Some(idle.memory.len()) == smallest);
        let memory = at.and_then(|at| self.idle.remove(at)).map(|idle| idle.memory);
        self.idle_len -= memory.as_ref().map_or(0, Vec::len);
        self.used += memory.as_ref().map_or(len, Vec::len);
        self.peak = self.peak.max(self.used);
        self.taken += 1;
        memory
    }

    fn put(&mut self, memory: Vec<f32>) {
        self.used -= memory.len();
        self.idle_len += memory.len();
        self.idle.push_back(Idle { memory, since: self.taken });
    }

    /// What has been idle too long, and what is too much.
    ///
    /// A step of training uses activations first and gradients of weights last. Kept are both, which together are at
    /// most twice the peak; and not the activations of every size of image that a program has ever seen.
    fn unused(&mut self) -> Vec<Idle> {
        let mut unused = Vec::new();
        while let Some(first) = self.idle.front()
            && (first.since + LONGEST_IDLE < self.taken
                || self.used + self.idle_len > 2 * self.peak)
        {
            self.idle_len -= first.memory.len();
            unused.extend(self.idle.pop_front());
        }
        unused
    }
}

/// Gives the memory that no tensor uses back to the system: something else needs it now.
pub fn free_idle_memory() {
    let idle = {
        let mut pool = pool();
        pool.idle_len = 0;
        std::mem::take(&mut pool.idle)
    };
    // Outside the lock, as it takes long.
    drop(idle);
}

fn take(len: usize) -> Pooled {
    if len < FEWEST_VALUES {
        return Pooled { memory: vec![0.0; len], len };
    }
    let (memory, unused) = {
        let mut pool = pool();
        (pool.take(len), pool.unused())
    };
    // Outside the lock, as it takes long.
    drop(unused);
    Pooled { memory: memory.unwrap_or_else(|| vec![0.0; len]), len }
}

fn pool() -> std::sync::MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_bounded() {
        let mut pool = Pool { idle: VecDeque::new(), idle_len: 0, used: 0, peak: 0, taken: 0 };
        let step = |pool: &mut Pool, lens: &[usize]| -> usize {
            let mut fresh = 0;
            let mut used = Vec::new();
            for &len in lens {
                let found = pool.take(len);
                fresh += usize::from(found.is_none());
                used.push(found.unwrap_or_else(|| vec![0.0; len]));
                pool.unused();
            }
            used.into_iter().for_each(|memory| pool.put(memory));
            fresh
        };
        assert_eq!(step(&mut pool, &[100, 200, 300]), 3);
        assert_eq!(step(&mut pool, &[300, 100, 200]), 0, "the same sizes again");
        assert_eq!(step(&mut pool, &[80, 160, 240]), 0, "a smaller batch");
        assert_eq!(step(&mut pool, &[20]), 1, "not five times as much");
        for size in 1000..1100 {
            step(&mut pool, &[size]);
            assert!(pool.used + pool.idle_len <= 2 * pool.peak, "of every size a little");
        }
        assert_eq!(pool.used, 0);
        for _ in 0..=LONGEST_IDLE {
            step(&mut pool, &[1]);
        }
        assert_eq!(pool.idle_len, 1, "what nobody takes goes");
    }
}
