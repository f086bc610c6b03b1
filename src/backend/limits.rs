//! What a device takes, asked before burn is: beyond it, wgpu gives wrong numbers and an allocator
//! ends the process.

use crate::backend::largest_tensor;
use crate::error::{Error, Result};
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

    /// `Ok` if the device takes a tensor of so many values; `what` is to blame if not.
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
        match has_memory(bytes) {
            true => Ok(()),
            false => Err(self.refuse(format!(
                "{what}: {} are more than the memory of this machine",
                mib(bytes)
            ))),
        }
    }

    pub fn refuse(&self, reason: String) -> Error {
        Error::Backend { backend: self.backend.clone(), reason }
    }
}

/// `wgpu` as users call it, or what burn calls another backend.
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

/// Whether the allocator would give `bytes`: it refuses what is far beyond the machine's memory. To
/// ask costs nothing, because memory that is not written to is not used; an allocation that fails in
/// burn ends the process.
fn has_memory(bytes: u64) -> bool {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut memory = Vec::<u8>::new();
    let reserved = memory.try_reserve_exact(bytes).is_ok();
    // Otherwise the compiler leaves out an allocation that nobody uses.
    std::hint::black_box(&memory);
    reserved
}
