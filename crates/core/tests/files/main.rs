//! Files: weights that are read and written, strangers' files, and ONNX files.

#[path = "../formula/mod.rs"]
mod formula;
#[path = "../reference/mod.rs"]
mod reference;

mod caffe_and_onnx;
mod golden_weights;
mod hostile;
mod notices;
#[cfg(feature = "onnx")]
mod onnx;
mod own_names;
mod pickles;
mod weights;
