//! Memory that comes back when a tensor is dropped, for the next one of the same size.
//!
//! A step of training makes and drops gigabytes of activations and gradients. The system zeroes fresh pages, which
//! takes longer than most of what is computed in them.

use burn::tensor::{AllocationProperty, Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Fewer values come from the allocator, which keeps them itself.
const FEWEST_VALUES: usize = 1 << 16;

static POOL: Mutex<Pool> =
    Mutex::new(Pool { idle: VecDeque::new(), idle_len: 0, used: 0, peak: 0 });

/// Lengths in values.
struct Pool {
    /// The memory that no tensor uses; that which has been idle longest is first.
    idle: VecDeque<Vec<f32>>,
    /// Of all of it.
    idle_len: usize,
    /// Of the tensors that there are.
    used: usize,
    /// The most that tensors have used.
    peak: usize,
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
    compute(&mut values.0)?;
    let bytes = bytes::Bytes::from_owner(values);
    let bytes = Bytes::from_shared(bytes, AllocationProperty::Other);
    Ok(FlexTensor::new(bytes, Layout::contiguous(Shape::from(shape)), DType::F32))
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
struct Pooled(Vec<f32>);

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if self.0.len() >= FEWEST_VALUES {
            pool().put(std::mem::take(&mut self.0));
        }
    }
}

impl Pool {
    /// Memory of this length, if there is any, and what was idle too long beside it.
    ///
    /// A step of training uses activations first and gradients of weights last. Kept are both, which together are at
    /// most twice the peak; and not the activations of every size of image that a program has ever seen.
    fn take(&mut self, len: usize) -> (Option<Vec<f32>>, Vec<Vec<f32>>) {
        let at = self.idle.iter().rposition(|values| values.len() == len);
        let found = at.and_then(|at| self.idle.remove(at));
        self.idle_len -= found.as_ref().map_or(0, Vec::len);
        self.used += len;
        self.peak = self.peak.max(self.used);
        let mut unused = Vec::new();
        while self.used + self.idle_len > 2 * self.peak {
            let Some(values) = self.idle.pop_front() else { break };
            self.idle_len -= values.len();
            unused.push(values);
        }
        (found, unused)
    }

    fn put(&mut self, values: Vec<f32>) {
        self.used -= values.len();
        self.idle_len += values.len();
        self.idle.push_back(values);
    }
}

fn take(len: usize) -> Pooled {
    if len < FEWEST_VALUES {
        return Pooled(vec![0.0; len]);
    }
    let (found, unused) = pool().take(len);
    // Outside the lock, as it takes long.
    drop(unused);
    Pooled(found.unwrap_or_else(|| vec![0.0; len]))
}

fn pool() -> std::sync::MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}
