//! The GPU adapter behind the `wgpu` backend, checked before burn uses it: burn panics where there is
//! none, and a tensor beyond the adapter's limits gives wrong results.

use super::{Wgpu, read};
use crate::{Error, Result};
use burn::tensor::Tensor;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn_wgpu::graphics::{AutoGraphicsApi, GraphicsApi};
use burn_wgpu::{WgpuDevice, WgpuRuntime};
use cubecl::Runtime;
use cubecl::device::Device;
use std::sync::{Mutex, PoisonError};

/// The default GPU device of this machine. Set `CUBECL_WGPU_DEFAULT_DEVICE` to choose another.
///
/// # Errors
/// [`Error::Backend`] if the machine has no adapter.
pub fn gpu() -> Result<WgpuDevice> {
    let device = WgpuDevice::default();
    largest_tensor(&device)?;
    Ok(device)
}

/// What was found out about each device.
type Answers<T> = Mutex<Vec<(WgpuDevice, T)>>;

/// The answer for a device, found out once.
fn once<T: Copy>(
    answers: &Answers<T>,
    device: &WgpuDevice,
    ask: impl FnOnce(&WgpuDevice) -> Result<T>,
) -> Result<T> {
    let mut known = answers.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, answer)) = known.iter().find(|(known, _)| known == device) {
        return Ok(*answer);
    }
    let answer = ask(device)?;
    known.push((device.clone(), answer));
    Ok(answer)
}

/// Bytes that one buffer binding may have, and so one tensor: from the adapter's own limits, which
/// burn's wgpu runtime asks for when it opens the device.
pub(super) fn largest_tensor(device: &WgpuDevice) -> Result<u64> {
    // Finding the adapters takes longer than a small network.
    static LARGEST: Answers<u64> = Mutex::new(Vec::new());
    once(&LARGEST, device, open)
}

fn open(device: &WgpuDevice) -> Result<u64> {
    let api = AutoGraphicsApi::backend();
    let is_external = matches!(device, WgpuDevice::Existing(_));
    if !is_external && WgpuRuntime::enumerate_devices(device.to_id().type_id, &api).is_empty() {
        return Err(no_device(format!("no {api:?} adapter for {device:?} on this machine")));
    }
    // Opening an adapter may still fail, above all one named by the environment variable, and burn
    // panics then.
    let client = std::panic::catch_unwind(|| WgpuRuntime::client(device));
    let client = client.map_err(|_| no_device(format!("{device:?} could not be opened")))?;
    Ok(client.properties().memory.max_page_size)
}

/// Iterations that Mesa's software drivers grant one invocation of a shader, in all its loops together
/// (`LP_MAX_TGSI_LOOP_ITERATIONS`). Beyond them they end the loops silently.
const MESA_ITERATIONS: u64 = 65535;

/// Iterations after which the driver ends the loops of a shader; `None` where it never does. No
/// limit of the adapter shows this, so the device is given a longer sum, and its result is checked.
pub(super) fn longest_loop(device: &WgpuDevice) -> Result<Option<u64>> {
    // The first convolution takes a second on a software driver.
    static LONGEST: Answers<Option<u64>> = Mutex::new(Vec::new());
    once(&LONGEST, device, sum_of_ones)
}

fn sum_of_ones(device: &WgpuDevice) -> Result<Option<u64>> {
    const SIDE: usize = 256;
    let ones = || Tensor::<Wgpu, 4>::ones([1, 1, SIDE, SIDE], device);
    // One output, computed by one invocation, as each value of a weight's gradient is.
    let sum = read(conv2d(ones(), ones(), None, ConvOptions::new([1; 2], [0; 2], [1; 2], 1)))?;
    // Cut short, it is a third of this; a GPU that sums in f16 comes near it.
    let is_cut = sum.iter::<f32>().any(|sum| sum < (SIDE * SIDE / 2) as f32);
    Ok(is_cut.then_some(MESA_ITERATIONS))
}

fn no_device(reason: String) -> Error {
    Error::Backend { backend: "wgpu".into(), reason }
}
