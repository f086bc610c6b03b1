//! Backends and devices: the aliases [`Cpu`] and `Gpu`, the choice of a backend by name, and what a
//! device can hold.
//!
//! A network runs on any burn backend. This module is about the three that the
//! package's features bring along: `flex` (default), `ndarray` (which burn has deprecated) and `wgpu`.

use crate::{Array, Error, Result};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::any::Any;

/// The CPU backend, burn's Flex: a default feature, `flex`.
#[cfg(feature = "flex")]
pub type Cpu = burn_flex::Flex;
/// The GPU backend: Vulkan, Metal or DirectX 12 through wgpu. Ask [`gpu`] for its device.
#[cfg(feature = "wgpu")]
pub type Gpu = burn_wgpu::Wgpu;

#[cfg(feature = "flex")]
pub use burn_flex::Flex;
#[cfg(feature = "ndarray")]
pub use burn_ndarray::NdArray;
#[cfg(feature = "wgpu")]
pub use burn_wgpu::{Wgpu, WgpuDevice};

#[cfg(any(feature = "flex", feature = "ndarray"))]
pub(crate) mod cast;
mod cpu_tensor;
pub(crate) use cpu_tensor::CpuTensor;
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
/// assert_eq!("flex".parse::<BackendName>()?.run(CountClasses)?, 7);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendName {
    /// `ndarray`
    NdArray,
    /// `flex`
    Flex,
    /// `wgpu`
    Wgpu,
}

/// Work that can be done on any backend. It is compiled once for each backend that is compiled in,
/// which takes minutes. Where a network that works on slices is enough,
/// [`load_on`](crate::models::load_on) avoids that cost.
pub trait Job {
    /// Its result.
    type Output;

    /// Does the work.
    ///
    /// # Errors
    /// Those of the job.
    fn run<B: Backend>(self, device: &B::Device) -> Result<Self::Output>;
}

impl BackendName {
    /// All backends, compiled in or not.
    pub const ALL: [BackendName; 3] = [Self::NdArray, Self::Flex, Self::Wgpu];

    /// Flex, or the first of the others that is compiled in: NdArray, wgpu.
    pub fn preferred() -> Self {
        if cfg!(feature = "flex") {
            Self::Flex
        } else if cfg!(feature = "ndarray") {
            Self::NdArray
        } else {
            Self::Wgpu
        }
    }

    /// Does `job` on the default device of this backend.
    ///
    /// # Errors
    /// [`Error::Backend`] if the backend is not compiled in or has no device on this machine, and
    /// those of the job.
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
        found.ok_or_else(|| Error::UnknownName {
            kind: "backend".into(),
            name: name.into(),
            known: Self::ALL.map(|backend| backend.to_string()).join(", "),
        })
    }
}

/// Bytes of the largest tensor that a device takes; `None` if only its memory limits it.
///
/// # Errors
/// [`Error::Backend`] if the device is a GPU that does not exist.
pub fn largest_tensor<D: Any>(device: &D) -> Result<Option<u64>> {
    #[cfg(feature = "wgpu")]
    if let Some(device) = (device as &dyn Any).downcast_ref::<WgpuDevice>() {
        return adapter::largest_tensor(device).map(Some);
    }
    let _ = device;
    Ok(None)
}

/// Iterations after which a device's driver ends the loops of a kernel, finished or not; `None` if it never
/// does.
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

/// Whether a device computes in the calling thread, as the CPU backends do.
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

/// Reads a tensor from its device. Devices work asynchronously, so this is where their errors appear.
///
/// # Errors
/// [`Error::Backend`] if the device failed while it computed this tensor.
pub fn read<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Result<TensorData> {
    let device = tensor.device();
    tensor
        .try_into_data()
        .map_err(|error| Error::Backend { backend: name::<B>(&device), reason: error.to_string() })
}

/// Calls `compute` with a tensor's values, flat: where they lie, or, if they are on a device or not in order, a copy.
pub(crate) fn with_values<B: Backend, const D: usize, T>(
    tensor: Tensor<B, D>,
    compute: impl FnOnce(&[f32]) -> Result<T>,
) -> Result<T> {
    if let Some(values) = CpuTensor::new(&tensor).as_ref().and_then(CpuTensor::as_slice) {
        return compute(values);
    }
    compute(&read(tensor)?.iter::<f32>().collect::<Vec<_>>())
}

/// Moves the values of an [`Array`], such as a batch of photos, to a tensor on a device.
///
/// ```
/// use alexnet_vgg::backend::{self, Cpu};
/// use alexnet_vgg::vision::{Preset, RgbImage};
///
/// let photos = [RgbImage::new(640, 480)]; // or vision::decode_file("photo.jpg")?
/// let batch = Preset::imagenet().batch(&photos)?;
/// let images = backend::to_tensor::<Cpu, 4>(batch, &Default::default())?;
/// assert_eq!(images.dims(), [1, 3, 224, 224]);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
///
/// # Errors
/// [`Error::InputShape`] for an array of another rank, and [`Error::Backend`] for more values than the
/// device takes in a tensor.
pub fn to_tensor<B: Backend, const D: usize>(
    array: Array,
    device: &B::Device,
) -> Result<Tensor<B, D>> {
    let Array { shape, values } = array;
    let Ok(shape) = <[usize; D]>::try_from(shape.as_slice()) else {
        return Err(Error::InputShape {
            network: "tensor".into(),
            expected: format!("of {D} dimensions"),
            found: shape,
        });
    };
    let limits = Limits::of::<B>(device)?;
    limits.expect_tensor(format_args!("values of shape {shape:?}"), values.len() as u64)?;
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}
