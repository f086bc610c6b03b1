//! The GPU of this machine, for tests.

use alexnet_vgg::backend::{WgpuDevice, gpu};

/// `None`, said aloud, where there is no adapter; where one must be (CI), that is a failure.
pub fn device() -> Option<WgpuDevice> {
    match gpu() {
        Ok(device) => Some(device),
        Err(error) if std::env::var_os("ALEXNET_VGG_NEEDS_GPU").is_some() => panic!("{error}"),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}
