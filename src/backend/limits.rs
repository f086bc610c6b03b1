//! The limits of a device, checked before burn is called: beyond them wgpu gives wrong results, and a failed
//! allocation ends the process.

use crate::backend::largest_tensor;
use crate::{Error, Result};
use burn::tensor::backend::Backend;
use std::fmt::Display;

const F32: u64 = size_of::<f32>() as u64;

/// The limits of one device.
pub(crate) struct Limits {
    backend: String,
    /// Bytes of the largest tensor, if the device has such a limit.
    pub largest: Option<u64>,
}

impl Limits {
    pub fn of<B: Backend>(device: &B::Device) -> Result<Self> {
        Ok(Self { backend: name::<B>(device), largest: largest_tensor(device)? })
    }

    /// `Ok` if the device takes a tensor of so many values; otherwise the error names `what`.
    pub fn expect_tensor(&self, what: impl Display, elements: u64) -> Result<()> {
        let bytes = elements.saturating_mul(F32);
        match self.largest {
            Some(largest) if largest < bytes => Err(self.refuse(format!(
                "{what}: a tensor of {}, where this device takes at most {}",
                mib(bytes),
                mib(largest)
            ))),
            _ => Ok(()),
        }
    }

    /// `Ok` if the machine has memory for so many values.
    pub fn expect_memory(&self, what: impl Display, elements: u64) -> Result<()> {
        let bytes = elements.saturating_mul(F32);
        if has_memory(bytes) {
            return Ok(());
        }
        let bytes = mib(bytes);
        Err(self.refuse(format!("{what}: {bytes} is more than the memory of this machine")))
    }

    pub fn refuse(&self, reason: String) -> Error {
        Error::Backend { backend: self.backend.clone(), reason }
    }
}

/// `wgpu`, as users call it, or burn's name of another backend.
pub(crate) fn name<B: Backend>(device: &B::Device) -> String {
    #[cfg(feature = "wgpu")]
    if (device as &dyn std::any::Any).is::<super::WgpuDevice>() {
        return super::BackendName::Wgpu.to_string();
    }
    B::name(device)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Whether the allocator grants `bytes`: it refuses what is far beyond the machine's memory. Asking costs
/// nothing, because memory that is never written to is not used.
fn has_memory(bytes: u64) -> bool {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut memory = Vec::<u8>::new();
    let reserved = memory.try_reserve_exact(bytes).is_ok();
    // Otherwise the compiler removes an unused allocation.
    std::hint::black_box(&memory);
    reserved
}
