//! Several devices of one backend, by name.

use super::BackendName;
use crate::{Error, Result};
use burn::prelude::DeviceOps;
use burn::tensor::backend::{Backend, DeviceId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Devices of one backend, as a command line names them: `cpu`, `cpu,cpu`, `gpu`, `gpu:0,gpu:1`.
///
/// `gpu:1` is the second GPU of the machine: the discrete ones first, then integrated, virtual and
/// software ones. `gpu` is the backend's default. A device may be named more than once.
///
/// ```
/// use alexnet_vgg::backend::{BackendName, Devices};
///
/// let devices: Devices = "gpu:0,gpu:1".parse()?;
/// assert_eq!((devices.count(), devices.backend()), (2, BackendName::Wgpu));
/// assert!("cpu,gpu:0".parse::<Devices>().is_err());
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Devices {
    backend: BackendName,
    /// The number of each, if it has one.
    numbers: Vec<Option<usize>>,
}

/// burn's kinds of wgpu devices: discrete, integrated, virtual, software.
const KINDS: [u16; 4] = [0, 1, 2, 3];

impl Devices {
    /// Their backend.
    pub fn backend(&self) -> BackendName {
        self.backend
    }

    /// How many there are, at least 1.
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// [`all`](Self::all), if there are two: for [`TwoGpuNetwork`](crate::models::TwoGpuNetwork).
    ///
    /// # Errors
    /// As for [`all`](Self::all), and [`Error::Setting`] if there are not two.
    pub fn pair<B: Backend>(&self, default: &B::Device) -> Result<[B::Device; 2]> {
        self.all::<B>(default)?.try_into().map_err(|all: Vec<B::Device>| Error::Setting {
            place: "devices".into(),
            expected: "two, such as cpu,cpu or gpu:0,gpu:1".into(),
            found: all.len().to_string(),
        })
    }

    /// burn's devices, in the order in which they were named; a name without a number is `default`.
    ///
    /// # Errors
    /// [`Error::Backend`] for the number of a GPU that this machine does not have.
    pub fn all<B: Backend>(&self, default: &B::Device) -> Result<Vec<B::Device>> {
        let known = || -> Vec<B::Device> {
            let of = |kind| (0..B::device_count(kind)).map(move |index| (kind, index as u16));
            let ids = KINDS.into_iter().flat_map(of);
            ids.map(|(kind, index)| B::Device::from_id(DeviceId::new(kind, index))).collect()
        };
        let of = |number: &Option<usize>| match number {
            None => Ok(default.clone()),
            Some(number) => {
                let known = known();
                known.get(*number).cloned().ok_or_else(|| Error::Backend {
                    backend: self.backend.to_string(),
                    reason: format!("there is no gpu:{number}: this machine has {}", known.len()),
                })
            }
        };
        self.numbers.iter().map(of).collect()
    }
}

impl FromStr for Devices {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |expected: &str| Error::Setting {
            place: "devices".into(),
            expected: expected.into(),
            found: text.into(),
        };
        let named = text.split(',').map(|name| match name.trim().split_once(':') {
            None if name.trim() == "cpu" => Ok((BackendName::preferred(), None)),
            None if name.trim() == "gpu" => Ok((BackendName::Wgpu, None)),
            Some(("gpu", number)) if number.parse::<usize>().is_ok() => {
                Ok((BackendName::Wgpu, number.parse().ok()))
            }
            _ => Err(wrong("names such as cpu,cpu or gpu:0,gpu:1")),
        });
        let named = named.collect::<Result<Vec<_>>>()?;
        let backend = named[0].0;
        if named.iter().any(|(of, _)| *of != backend) {
            return Err(wrong("devices of one kind, all cpu or all gpu"));
        }
        Ok(Self { backend, numbers: named.into_iter().map(|(_, number)| number).collect() })
    }
}

impl TryFrom<String> for Devices {
    type Error = Error;

    fn try_from(names: String) -> Result<Self> {
        names.parse()
    }
}

impl From<Devices> for String {
    fn from(devices: Devices) -> Self {
        devices.to_string()
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.numbers.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match (self.backend, number) {
                (BackendName::Wgpu, Some(number)) => write!(f, "{comma}gpu:{number}")?,
                (BackendName::Wgpu, None) => write!(f, "{comma}gpu")?,
                _ => write!(f, "{comma}cpu")?,
            }
        }
        Ok(())
    }
}
