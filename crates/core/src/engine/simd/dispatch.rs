//! From an [`Isa`](super::Isa) known at run time to a kernel compiled for it.

/// Calls `$kernel::<S>(arguments)` with the [`Simd`](super::Simd) type of an [`Isa`](super::Isa),
/// compiled for its instructions. The kernel and everything it calls must be `#[inline(always)]`.
macro_rules! dispatch {
    ($isa:expr, $($call:tt)*) => {
        $crate::engine::simd::dispatch_with!("avx512f,avx2,fma", $isa, $($call)*)
    };
}

/// The same with the [`IntegerSimd`](super::IntegerSimd) type of an instruction set that
/// [`Isa::with_integers`](super::Isa::with_integers) returned.
macro_rules! dispatch_integers {
    ($isa:expr, $($call:tt)*) => {
        $crate::engine::simd::dispatch_with!("avx512f,avx512bw,avx512vnni,avx2,fma", $isa, $($call)*)
    };
}

/// Both, with the features of AVX-512 that the kernel may use.
macro_rules! dispatch_with {
    ($avx512:literal, $isa:expr, $kernel:ident ( $($argument:ident : $type:ty = $value:expr),* $(,)? ) $(-> $result:ty)?) => {{
        use $crate::engine::simd::{Isa, Portable};
        #[cfg(target_arch = "x86_64")]
        use $crate::engine::simd::{Avx2, Avx512};

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $avx512)]
        unsafe fn on_avx512($($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller upholds the kernel's contract; the instructions are available.
            unsafe { $kernel::<Avx512>($($argument),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn on_avx2($($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller upholds the kernel's contract; the instructions are available.
            unsafe { $kernel::<Avx2>($($argument),*) }
        }
        match $isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => on_avx512($($value),*),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => on_avx2($($value),*),
            _ => $kernel::<Portable>($($value),*),
        }
    }};
}

pub(in crate::engine) use {dispatch, dispatch_integers, dispatch_with};
