//! The GPU adapter behind the `wgpu` backend, asked before burn asks: burn panics where there is
//! none, and a tensor beyond the adapter's limits ends in wrong numbers.

use crate::error::{Error, Result};
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

/// What each device said, because finding the adapters takes longer than a small network.
static LARGEST: Mutex<Vec<(WgpuDevice, u64)>> = Mutex::new(Vec::new());

/// Bytes that one buffer binding may have, and so one tensor: from the adapter's own limits, which
/// burn's wgpu runtime asks for when it opens the device.
pub(super) fn largest_tensor(device: &WgpuDevice) -> Result<u64> {
    let mut known = LARGEST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, largest)) = known.iter().find(|(known, _)| known == device) {
        return Ok(*largest);
    }
    let largest = ask(device)?;
    known.push((device.clone(), largest));
    Ok(largest)
}

fn ask(device: &WgpuDevice) -> Result<u64> {
    let api = AutoGraphicsApi::backend();
    let is_external = matches!(device, WgpuDevice::Existing(_));
    if !is_external && WgpuRuntime::enumerate_devices(device.to_id().type_id, &api).is_empty() {
        return Err(no_device(format!("no {api:?} adapter for {device:?} on this machine")));
    }
    // An adapter may still be refused, above all one named by the environment variable; burn panics
    // on that.
    let client = std::panic::catch_unwind(|| WgpuRuntime::client(device));
    let client = client.map_err(|_| no_device(format!("{device:?} could not be opened")))?;
    Ok(client.properties().memory.max_page_size)
}

fn no_device(reason: String) -> Error {
    Error::Backend { backend: "wgpu".into(), reason }
}
