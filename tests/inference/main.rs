//! From photos to answers on the CPU, and networks for other runtimes.

#[path = "../formula/mod.rs"]
mod formula;
#[path = "../formula/torch.rs"]
mod torch;

mod augment;
mod engine;
mod onnx;
mod photos;
mod pictures;
mod predict;
