//! rten, on the ONNX file.

use crate::{Outcome, Pass, Task};
use rten::{ModelOptions, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use std::sync::Arc;

pub fn load(task: &Task) -> Outcome<Pass> {
    let network = ModelOptions::with_all_ops().prepack_weights(true).load_file(&task.model)?;
    let images = NdTensor::from_data(task.shape(), task.images.clone());
    let mut options = RunOptions::default();
    options.thread_pool = Some(Arc::new(ThreadPool::with_num_threads(task.threads)));
    Ok(Box::new(move || {
        let logits = network.run_one(images.view().into(), Some(options.clone()))?;
        let logits: NdTensor<f32, 2> = logits.try_into()?;
        Ok(logits.to_vec())
    }))
}
