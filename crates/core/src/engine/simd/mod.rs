//! Vectors of sixteen `f32`, on AVX-512, AVX2 or in plain Rust.
//!
//! Every kernel of the engine is written once, generic over [`Simd`]. `S::Vector` holds sixteen `f32`,
//! the channels of one block: one register with AVX-512, two with AVX2, and in [`Portable`], the
//! reference that the others are tested against, an array that the compiler vectorizes (four registers
//! with NEON). Instruction sets also differ in the size of the register tile: see [`Simd::MR`] and
//! [`Simd::NR_BLOCKS`].
//!
//! - `vector`: the [`Simd`] trait; `integers`: [`IntegerSimd`], on integers; `x86`, `portable`: its implementations.
//! - `checked_ptr`: [`CheckedPtr`], a pointer that checks its bounds in debug builds.
//! - `isa`: [`Isa`], the instruction set as a run-time value; `dispatch`: from that value to a kernel
//!   compiled for it; `throughput`: how fast this machine executes it.
#![allow(unsafe_code)]

mod checked_ptr;
mod dispatch;
mod integers;
mod isa;
mod portable;
#[cfg(test)]
mod tests;
mod throughput;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use checked_ptr::CheckedPtr;
pub(super) use dispatch::{dispatch, dispatch_integers, dispatch_with};
pub(super) use integers::{IntegerSimd, scale_of_magnitudes, scale_of_values};
pub use isa::Isa;
pub(super) use portable::Portable;
pub(super) use vector::{BLOCK, Simd};
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};
