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

/// The memory that no tensor uses; that which has been idle longest is first.
static IDLE: Mutex<VecDeque<Vec<f32>>> = Mutex::new(VecDeque::new());

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
            idle().push_back(std::mem::take(&mut self.0));
        }
    }
}

fn take(len: usize) -> Pooled {
    let mut idle = idle();
    let found = idle.iter().rposition(|values| values.len() == len);
    if let Some(values) = found.and_then(|at| idle.remove(at)) {
        return Pooled(values);
    }
    // So that memory of sizes that are no longer used does not stay.
    let unused = if len >= FEWEST_VALUES { idle.pop_front() } else { None };
    drop(idle);
    drop(unused);
    Pooled(vec![0.0; len])
}

fn idle() -> std::sync::MutexGuard<'static, VecDeque<Vec<f32>>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}
