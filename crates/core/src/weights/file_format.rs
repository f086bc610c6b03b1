//! The formats of weights files.

/// The format of a weights file, which is known from its first bytes, not from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Written by `safetensors.torch.save_file`: a JSON header, then the values.
    Safetensors,
    /// Written by `torch.save`: a zip archive of a pickle and raw storages.
    PyTorch,
    /// Written by `torch.save` before PyTorch 1.6: pickles, then raw storages. torchvision's oldest files
    /// have this format.
    PyTorchLegacy,
    /// Written by Caffe (`.caffemodel`): the layers of a network with their weights.
    Caffe,
    /// A graph of operators with its weights.
    Onnx,
}

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::PyTorch => "PyTorch",
            Format::PyTorchLegacy => "legacy PyTorch",
            Format::Caffe => "Caffe",
            Format::Onnx => "ONNX",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
