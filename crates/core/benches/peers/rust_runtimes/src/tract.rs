//! tract, on the ONNX file.

use crate::{Outcome, Pass, Task};
use tract_onnx::prelude::*;

pub fn load(task: &Task) -> Outcome<Pass> {
    multithread::set_default_executor(multithread::Executor::multithread(task.threads));
    let images: Tensor =
        tract_ndarray::Array::from_shape_vec(task.shape(), task.images.clone())?.into();
    let images = images.into_tvalue();
    let network = tract_onnx::onnx()
        .model_for_path(&task.model)?
        .with_input_fact(0, f32::fact(task.shape()).into())?
        .into_optimized()?
        .into_runnable()?;
    Ok(Box::new(move || {
        let outputs = network.run(tvec!(images.clone()))?;
        Ok(outputs[0].to_plain_array_view::<f32>()?.iter().copied().collect())
    }))
}
