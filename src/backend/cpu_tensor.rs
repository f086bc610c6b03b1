//! [`CpuTensor`]: a tensor of one of burn's CPU backends, as a slice.

#[cfg(any(feature = "flex", feature = "ndarray"))]
use super::cast;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
#[cfg(feature = "flex")]
use burn_flex::{Flex, FlexTensor};
#[cfg(feature = "ndarray")]
use burn_ndarray::{NdArray, NdArrayTensor};

/// A tensor of f32 on one of burn's CPU backends, without autodiff.
///
/// It shares its memory with burn's tensor. As long as it lives, burn writes what it changes to other memory, so that
/// the values here stay the same.
#[derive(Clone, Debug)]
pub enum CpuTensor {
    #[cfg(feature = "flex")]
    Flex(FlexTensor),
    #[cfg(feature = "ndarray")]
    NdArray(NdArrayTensor),
}

impl CpuTensor {
    /// `None` for other backends.
    pub fn new<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<Self> {
        #[cfg(feature = "flex")]
        if let Some(tensor) = cast::to::<B, Flex, D>(tensor) {
            return Some(Self::Flex(tensor));
        }
        #[cfg(feature = "ndarray")]
        if let Some(tensor) = cast::to::<B, NdArray, D>(tensor) {
            return Some(Self::NdArray(tensor));
        }
        let _ = tensor;
        None
    }

    /// `None` if the values do not lie in order, or are not f32.
    pub fn as_slice(&self) -> Option<&[f32]> {
        match *self {
            #[cfg(feature = "flex")]
            Self::Flex(ref tensor) => tensor.as_slice(),
            #[cfg(feature = "ndarray")]
            Self::NdArray(NdArrayTensor::F32(ref tensor)) => tensor.view().to_slice(),
            #[cfg(feature = "ndarray")]
            Self::NdArray(_) => None,
        }
    }

    /// Whether both are the same memory, and so the same values.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self.as_slice(), other.as_slice()) {
            (Some(ours), Some(theirs)) => std::ptr::eq(ours, theirs),
            _ => false,
        }
    }
}
