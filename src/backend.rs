//! Backends and devices: the aliases [`Cpu`] and `Gpu`, the choice of one by name, and what a
//! device can hold.
//!
//! A network runs on any burn backend. This module is what is left to know about the three that the
//! crate's features bring along: `ndarray` (default), `flex` and `wgpu`.

use crate::error::{Error, Result};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use std::any::Any;

/// The CPU backend: `Flex` if the feature `flex` is on (the faster one), else `NdArray`.
#[cfg(feature = "flex")]
pub type Cpu = burn_flex::Flex;
/// The CPU backend: `Flex` if the feature `flex` is on (the faster one), else `NdArray`.
#[cfg(all(feature = "ndarray", not(feature = "flex")))]
pub type Cpu = burn_ndarray::NdArray;
/// The GPU backend: Vulkan, Metal or DirectX 12 through wgpu. Ask [`gpu`] for its device.
#[cfg(feature = "wgpu")]
pub type Gpu = burn_wgpu::Wgpu;

#[cfg(feature = "flex")]
pub use burn_flex::Flex;
#[cfg(feature = "ndarray")]
pub use burn_ndarray::NdArray;
#[cfg(feature = "wgpu")]
pub use burn_wgpu::{Wgpu, WgpuDevice};

mod devices;
pub use devices::Devices;
mod limits;
pub(crate) use limits::{Limits, name};

#[cfg(feature = "wgpu")]
mod adapter;
#[cfg(feature = "wgpu")]
pub use adapter::gpu;

/// A backend chosen at run time, by name.
///
/// ```
/// use alexnet_vgg::{backend::{BackendName, Job}, models::{Network, VggConfig}, Result};
/// use burn::tensor::{backend::Backend, Tensor};
///
/// struct CountClasses;
/// impl Job for CountClasses {
///     type Output = usize;
///     fn run<B: Backend>(self, device: &B::Device) -> Result<usize> {
///         let config = VggConfig::vgg11().with_width(0.05).with_num_classes(7);
///         let vgg = Network::<B>::new(config, device)?;
///         Ok(vgg.try_forward(Tensor::zeros([1, 3, 32, 32], device))?.dims()[1])
///     }
/// }
/// # #[cfg(feature = "ndarray")]
/// assert_eq!("ndarray".parse::<BackendName>()?.run(CountClasses)?, 7);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendName {
    /// `ndarray`
    NdArray,
    /// `flex`
    Flex,
    /// `wgpu`
    Wgpu,
}

/// Work that can be done on any backend.
pub trait Job {
    /// What comes of it.
    type Output;

    /// Does the work.
    ///
    /// # Errors
    /// The job's own.
    fn run<B: Backend>(self, device: &B::Device) -> Result<Self::Output>;
}

impl BackendName {
    /// All of them, compiled in or not.
    pub const ALL: [BackendName; 3] = [Self::NdArray, Self::Flex, Self::Wgpu];

    /// The backend of [`Cpu`], or the first that is compiled in.
    pub fn preferred() -> Self {
        match (cfg!(feature = "flex"), cfg!(feature = "ndarray")) {
            (true, _) => Self::Flex,
            (_, true) => Self::NdArray,
            _ => Self::Wgpu,
        }
    }

    /// Does `job` on the default device of this backend.
    ///
    /// # Errors
    /// [`Error::Backend`] if the backend is not compiled in or has no device on this machine, and
    /// the job's own.
    pub fn run<J: Job>(self, job: J) -> Result<J::Output> {
        match self {
            #[cfg(feature = "ndarray")]
            Self::NdArray => job.run::<NdArray>(&Default::default()),
            #[cfg(feature = "flex")]
            Self::Flex => job.run::<Flex>(&Default::default()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => job.run::<Wgpu>(&gpu()?),
            #[allow(unreachable_patterns)]
            missing => Err(Error::Backend {
                backend: missing.to_string(),
                reason: format!("not compiled in; build with `--features {missing}`"),
            }),
        }
    }
}

impl std::fmt::Display for BackendName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NdArray => "ndarray",
            Self::Flex => "flex",
            Self::Wgpu => "wgpu",
        })
    }
}

impl std::str::FromStr for BackendName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|backend| backend.to_string() == name);
        found.ok_or_else(|| Error::Setting {
            place: "backend".into(),
            expected: Self::ALL.map(|backend| backend.to_string()).join(", "),
            found: name.into(),
        })
    }
}

/// Bytes of the largest tensor that a device takes; `None` if only its memory limits it.
///
/// # Errors
/// [`Error::Backend`] if the device is a GPU that is not there.
pub fn largest_tensor<D: Any>(device: &D) -> Result<Option<u64>> {
    #[cfg(feature = "wgpu")]
    if let Some(device) = (device as &dyn Any).downcast_ref::<WgpuDevice>() {
        return adapter::largest_tensor(device).map(Some);
    }
    let _ = device;
    Ok(None)
}

/// Rounds after which a device ends the loops of its kernels, whatever is left to do; `None` if it does not.
///
/// # Errors
/// [`Error::Backend`] if the device failed.
pub(crate) fn longest_loop<D: Any>(device: &D) -> Result<Option<u64>> {
    #[cfg(feature = "wgpu")]
    if let Some(device) = (device as &dyn Any).downcast_ref::<WgpuDevice>() {
        return adapter::longest_loop(device);
    }
    let _ = device;
    Ok(None)
}

/// Whether a device computes in the thread that asks it to, as the CPU backends do.
pub(crate) fn is_cpu<D: Any>(device: &D) -> bool {
    let device = device as &dyn Any;
    #[cfg(feature = "flex")]
    if device.is::<burn_flex::FlexDevice>() {
        return true;
    }
    #[cfg(feature = "ndarray")]
    if device.is::<burn_ndarray::NdArrayDevice>() {
        return true;
    }
    let _ = device;
    false
}

/// Reads a tensor from its device. Devices work asynchronously: this is where their errors show.
///
/// # Errors
/// [`Error::Backend`] if the device failed in what led to this tensor.
pub fn read<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Result<TensorData> {
    let device = tensor.device();
    tensor
        .try_into_data()
        .map_err(|error| Error::Backend { backend: name::<B>(&device), reason: error.to_string() })
}
