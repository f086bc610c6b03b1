//! The runtimes that our engine is compared with.

use crate::harness::Outcome;
use std::fmt;

/// A runtime, in one of its ways to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// `peers.py` and `rust_runtimes` know it by this name.
    pub name: &'static str,
    pub class: Class,
}

/// What is compared: the fastest of each class counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Runtimes in C++, in f32.
    F32,
    /// The same in bf16, where the machine has instructions for it.
    Bf16,
    /// The same with weights and activations of 8 bits, calibrated on images like those that are timed.
    Int8,
    /// Runtimes in Rust, in f32.
    Rust,
}

impl Class {
    pub const ALL: [Self; 4] = [Self::F32, Self::Bf16, Self::Int8, Self::Rust];
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Rust => "rust",
        })
    }
}

/// All of them.
pub const RUNTIMES: [Runtime; 14] = [
    Runtime { name: "onnxruntime", class: Class::F32 },
    Runtime { name: "openvino", class: Class::F32 },
    Runtime { name: "ncnn", class: Class::F32 },
    Runtime { name: "mnn", class: Class::F32 },
    Runtime { name: "opencv", class: Class::F32 },
    Runtime { name: "torch", class: Class::F32 },
    Runtime { name: "openvino-bf16", class: Class::Bf16 },
    Runtime { name: "ncnn-bf16", class: Class::Bf16 },
    Runtime { name: "onnxruntime-int8", class: Class::Int8 },
    Runtime { name: "openvino-int8", class: Class::Int8 },
    Runtime { name: "tract", class: Class::Rust },
    Runtime { name: "rten", class: Class::Rust },
    Runtime { name: "candle", class: Class::Rust },
    Runtime { name: "burn", class: Class::Rust },
];

/// Those with one of these names or classes; all if there are none.
pub fn selected(only: &[String]) -> Outcome<Vec<Runtime>> {
    let has =
        |runtime: &Runtime, name: &str| runtime.name == name || runtime.class.to_string() == name;
    if let Some(name) = only.iter().find(|name| !RUNTIMES.iter().any(|runtime| has(runtime, name)))
    {
        let names = RUNTIMES.map(|runtime| runtime.name).join(", ");
        let classes = Class::ALL.map(|class| class.to_string()).join(", ");
        let message =
            format!("--only: expected a runtime ({names}) or a class ({classes}), found {name:?}");
        return Err(message.into());
    }
    let is_selected = |runtime: &Runtime| only.iter().any(|name| has(runtime, name));
    Ok(RUNTIMES.into_iter().filter(|runtime| only.is_empty() || is_selected(runtime)).collect())
}
