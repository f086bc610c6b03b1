//! Max pooling and its gradient.
#![allow(unsafe_code)]

use crate::engine::simd::{Isa, Simd, dispatch};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// A max pool without padding, over planes of `[height, width]` values.
///
/// ```
/// use alexnet_vgg_core::engine::training::MaxPool;
///
/// let pool = MaxPool::new([2, 4], 2, 2)?;
/// assert_eq!(pool.output_size(), [1, 2]);
/// let (mut output, mut places) = ([0.0; 2], [0; 2]);
/// pool.forward(&[1.0, 5.0, 2.0, 2.0, 3.0, 4.0, 2.0, 1.0], &mut output, &mut places);
/// assert_eq!((output, places), ([5.0, 2.0], [1, 0]));
///
/// let mut gradient = [0.0; 8];
/// pool.input_gradient(&places, &[10.0, 20.0], &mut gradient);
/// assert_eq!(gradient, [0.0, 10.0, 20.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MaxPool {
    size: [usize; 2],
    kernel: usize,
    stride: usize,
}

impl MaxPool {
    /// For planes of `[height, width]` values.
    ///
    /// # Errors
    /// [`Error::Setting`] for a size of 0, and for a kernel above 16 or larger than the planes.
    pub fn new(size: [usize; 2], kernel: usize, stride: usize) -> Result<Self> {
        if (1..=16).contains(&kernel) && stride > 0 && size.iter().all(|side| *side >= kernel) {
            return Ok(Self { size, kernel, stride });
        }
        Err(Error::Setting {
            place: "max pool".into(),
            expected: "a kernel of 1 to 16 that fits the planes, and a stride above 0".into(),
            found: format!("kernel {kernel}, stride {stride}, planes of {size:?}"),
        })
    }

    /// Height and width of the output.
    pub fn output_size(&self) -> [usize; 2] {
        self.size.map(|side| (side - self.kernel) / self.stride + 1)
    }

    /// Computes the largest value of each window, and its place in the window, row by row. Of equal values it is the
    /// first, and NaN is larger than any number, as in PyTorch.
    ///
    /// # Panics
    /// If the slices do not hold as many planes of inputs as of outputs and of places.
    pub fn forward(&self, input: &[f32], output: &mut [f32], places: &mut [u8]) {
        let (plane, output_plane) = self.planes(input.len(), output.len());
        assert_eq!(output.len(), places.len(), "places");
        let isa = Isa::best();
        let outputs = output.par_chunks_mut(output_plane).zip(places.par_chunks_mut(output_plane));
        input.par_chunks(plane).zip(outputs).for_each(|(input, (output, places))| {
            // SAFETY: the instruction set is one that this machine has.
            unsafe {
                dispatch!(isa, pool_plane(
                    pool: &MaxPool = self, input: &[f32] = input, output: &mut [f32] = output,
                    places: &mut [u8] = places,
                ))
            }
        });
    }

    /// Computes the gradient of the input: each value's is the sum of those of the windows whose largest it is.
    ///
    /// # Panics
    /// As for [`forward`](Self::forward), and for places outside the windows.
    pub fn input_gradient(
        &self,
        places: &[u8],
        output_gradient: &[f32],
        input_gradient: &mut [f32],
    ) {
        let (plane, output_plane) = self.planes(input_gradient.len(), output_gradient.len());
        assert_eq!(output_gradient.len(), places.len(), "places");
        let from = output_gradient.par_chunks(output_plane).zip(places.par_chunks(output_plane));
        input_gradient.par_chunks_mut(plane).zip(from).for_each(|(to, (gradient, places))| {
            to.fill(0.0);
            self.windows(|at, corner| {
                let place = usize::from(places[at]);
                let (row, column) = (place / self.kernel, place % self.kernel);
                to[corner + row * self.size[1] + column] += gradient[at];
            });
        });
    }

    /// Values of a plane of the input and of the output.
    fn planes(&self, inputs: usize, outputs: usize) -> (usize, usize) {
        let [height, width] = self.output_size();
        let (plane, output_plane) = (self.size[0] * self.size[1], height * width);
        assert_eq!(inputs % plane, 0, "whole planes");
        assert_eq!(
            inputs / plane * output_plane,
            outputs,
            "as many planes of outputs as of inputs"
        );
        (plane, output_plane)
    }

    /// Calls `visit` with the index of each output of a plane and that of its window's upper left corner.
    #[inline(always)]
    fn windows(&self, mut visit: impl FnMut(usize, usize)) {
        let [height, width] = self.output_size();
        for y in 0..height {
            for x in 0..width {
                visit(y * width + x, (y * self.size[1] + x) * self.stride);
            }
        }
    }
}

/// Pools a plane, compiled for an instruction set.
///
/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn pool_plane<S: Simd>(
    pool: &MaxPool,
    input: &[f32],
    output: &mut [f32],
    places: &mut [u8],
) {
    let [_, width] = pool.output_size();
    let rows = output.chunks_exact_mut(width).zip(places.chunks_exact_mut(width)).enumerate();
    for (y, row) in rows {
        let input = &input[y * pool.stride * pool.size[1]..];
        match (pool.kernel, pool.stride) {
            // The pools of VGG and of AlexNet.
            (2, 2) => pool_row::<2, 2>(pool.size[1], input, row),
            (3, 2) => pool_row::<3, 2>(pool.size[1], input, row),
            _ => pool_windows(pool, input, row),
        }
    }
}

/// Pools a row, several windows at once, as the compiler vectorizes them.
#[inline(always)]
fn pool_row<const KERNEL: usize, const STRIDE: usize>(
    input_width: usize,
    input: &[f32],
    row: (&mut [f32], &mut [u8]),
) {
    let rows: [&[f32]; KERNEL] =
        std::array::from_fn(|row| &input[row * input_width..][..input_width]);
    match row.0.len() {
        8.. => pool_windows_of::<KERNEL, STRIDE, 8>(&rows, row),
        4..8 => pool_windows_of::<KERNEL, STRIDE, 4>(&rows, row),
        _ => pool_windows_of::<KERNEL, STRIDE, 1>(&rows, row),
    }
}

/// Pools a row of at least so many windows, that many at once. The last ones overlap those before them.
#[inline(always)]
fn pool_windows_of<const KERNEL: usize, const STRIDE: usize, const WINDOWS: usize>(
    rows: &[&[f32]; KERNEL],
    (output, places): (&mut [f32], &mut [u8]),
) {
    let last = output.len() - WINDOWS;
    for start in (0..output.len()).step_by(WINDOWS) {
        let first = start.min(last);
        let (values, at) = largest::<KERNEL, STRIDE, WINDOWS>(rows, first);
        output[first..first + WINDOWS].copy_from_slice(&values);
        // The compiler does not inline `at.map`.
        for (place, at) in places[first..first + WINDOWS].iter_mut().zip(at) {
            *place = at as u8;
        }
    }
}

/// The largest values of neighboring windows from `first` on, and their places.
#[inline(always)]
fn largest<const KERNEL: usize, const STRIDE: usize, const WINDOWS: usize>(
    rows: &[&[f32]; KERNEL],
    first: usize,
) -> ([f32; WINDOWS], [u32; WINDOWS]) {
    let (mut values, mut places) = ([f32::NEG_INFINITY; WINDOWS], [0; WINDOWS]);
    for (row, inputs) in rows.iter().enumerate() {
        let inputs = &inputs[first * STRIDE..][..(WINDOWS - 1) * STRIDE + KERNEL];
        for column in 0..KERNEL {
            let place = (row * KERNEL + column) as u32;
            for window in 0..WINDOWS {
                let (value, before) = (inputs[window * STRIDE + column], values[window]);
                let is_larger = (place == 0) | is_larger(value, before);
                values[window] = if is_larger { value } else { before };
                places[window] = if is_larger { place } else { places[window] };
            }
        }
    }
    (values, places)
}

/// Pools a row of any windows.
fn pool_windows(pool: &MaxPool, input: &[f32], (output, places): (&mut [f32], &mut [u8])) {
    for (x, (best, best_place)) in output.iter_mut().zip(places).enumerate() {
        for row in 0..pool.kernel {
            for column in 0..pool.kernel {
                let value = input[row * pool.size[1] + x * pool.stride + column];
                if row + column == 0 || is_larger(value, *best) {
                    (*best, *best_place) = (value, (row * pool.kernel + column) as u8);
                }
            }
        }
    }
}

/// NaN is larger than any number; of several, the first is taken.
#[inline(always)]
fn is_larger(value: f32, before: f32) -> bool {
    ((value > before) | value.is_nan()) & !before.is_nan()
}
