//! [`LastCompiled`]: a compiled network that is used for as long as the parameters are the same.

use crate::backend::CpuTensor;
use crate::engine::Compiled;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a network was last compiled to. A clone of the network shares it.
#[derive(Default)]
pub struct LastCompiled(Mutex<Option<Arc<CompiledFrom>>>);

struct CompiledFrom {
    parameters: Vec<CpuTensor>,
    compiled: Compiled,
}

impl LastCompiled {
    /// The last one if the module's parameters are still the same; otherwise, what `compile` returns. `None` for
    /// parameters that are not f32 on one of burn's CPU backends.
    pub fn get_or_compile<B: Backend>(
        &self,
        module: &impl Module<B>,
        compile: impl FnOnce() -> Option<Compiled>,
    ) -> Option<Compiled> {
        let parameters = parameters(module)?;
        let last = self.lock().clone();
        if let Some(last) = last.filter(|last| last.is_from(&parameters)) {
            return Some(last.compiled.clone());
        }
        // Not under the lock: packing waits for rayon's threads, which may be running this very network.
        let compiled = compile()?;
        *self.lock() = Some(Arc::new(CompiledFrom { parameters, compiled: compiled.clone() }));
        Some(compiled)
    }

    /// Frees its memory.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<CompiledFrom>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CompiledFrom {
    fn is_from(&self, parameters: &[CpuTensor]) -> bool {
        self.parameters.len() == parameters.len()
            && self.parameters.iter().zip(parameters).all(|(ours, theirs)| ours.is(theirs))
    }
}

/// Parameters and running statistics; `None` if one is not a slice of f32 on a CPU.
fn parameters<B: Backend>(module: &impl Module<B>) -> Option<Vec<CpuTensor>> {
    let mut visitor = Parameters { found: Some(Vec::new()) };
    module.visit(&mut visitor);
    visitor.found
}

struct Parameters {
    found: Option<Vec<CpuTensor>>,
}

impl<B: Backend> ModuleVisitor<B> for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let tensor = CpuTensor::new(&param.val()).filter(|tensor| tensor.as_slice().is_some());
        match (&mut self.found, tensor) {
            (Some(found), Some(tensor)) => found.push(tensor),
            (found, _) => *found = None,
        }
    }
}

impl Clone for LastCompiled {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.lock().clone()))
    }
}

impl std::fmt::Debug for LastCompiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LastCompiled")
    }
}
