//! [`LastCompiled`]: a compiled network that is used for as long as the parameters are the same.

use crate::backend::CpuTensor;
use crate::engine::Compiled;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a network was last compiled to. Its clones and, on an autodiff backend, its `valid()` share it, until one of them
/// gets other parameters.
#[derive(Default)]
pub struct LastCompiled(Mutex<Arc<Shared>>);

#[derive(Default)]
struct Shared {
    last: Mutex<Option<Arc<CompiledFrom>>>,
    /// Held while the weights are packed.
    packing: Mutex<()>,
}

struct CompiledFrom {
    parameters: Vec<CpuTensor>,
    /// `None` if they could not be packed.
    compiled: Option<Compiled>,
}

impl LastCompiled {
    /// The last one if the module's parameters are still the same; otherwise, what `compile` returns. `None` for
    /// parameters that are not f32 on one of burn's CPU backends.
    pub fn get_or_compile<B: Backend>(
        &self,
        module: &impl Module<B>,
        compile: impl FnOnce() -> Option<Compiled>,
    ) -> Option<Compiled> {
        let Some(parameters) = parameters(module) else {
            self.forget();
            return None;
        };
        let shared = lock(&self.0).clone();
        if let Some(last) = shared.find(&parameters) {
            return last.compiled.clone();
        }
        // Of several threads, one packs and the others wait. Not those of rayon: the one that packs may be waiting for
        // them.
        let is_of_rayon = rayon::current_thread_index().is_some();
        let _packing = (!is_of_rayon).then(|| lock(&shared.packing));
        if let Some(last) = shared.find(&parameters) {
            return last.compiled.clone();
        }
        let compiled = compile();
        let new = Some(Arc::new(CompiledFrom { parameters, compiled: compiled.clone() }));
        if lock(&shared.last).is_none() {
            *lock(&shared.last) = new;
        } else {
            // What is there may be that of a clone.
            let own = Shared { last: Mutex::new(new), packing: Mutex::default() };
            *lock(&self.0) = Arc::new(own);
        }
        compiled
    }

    /// Frees its memory, which training can use.
    pub fn forget(&self) {
        let shared = lock(&self.0).clone();
        *lock(&shared.last) = None;
    }
}

impl Shared {
    fn find(&self, parameters: &[CpuTensor]) -> Option<Arc<CompiledFrom>> {
        let last = lock(&self.last).clone();
        last.filter(|last| last.is_from(parameters))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CompiledFrom {
    fn is_from(&self, parameters: &[CpuTensor]) -> bool {
        self.parameters.len() == parameters.len()
            && self.parameters.iter().zip(parameters).all(|(ours, theirs)| ours.is_same(theirs))
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
        Self(Mutex::new(lock(&self.0).clone()))
    }
}

impl std::fmt::Debug for LastCompiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LastCompiled")
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::module::ModuleMapper;
    use burn::nn::{Linear, LinearConfig};
    use burn_flex::Flex;

    struct Double;

    impl<B: Backend> ModuleMapper<B> for Double {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            param.map(|tensor| tensor * 2.0)
        }
    }

    #[test]
    fn the_same_parameters_are_packed_once() {
        let module: Linear<Flex> = LinearConfig::new(3, 2).init(&Default::default());
        let last = LastCompiled::default();
        let mut packed = 0;
        let mut pass = |last: &LastCompiled, module: &Linear<Flex>| {
            // A failure is remembered, too.
            last.get_or_compile(module, || {
                packed += 1;
                None
            });
            packed
        };
        assert_eq!([pass(&last, &module), pass(&last, &module.clone())], [1, 1]);
        assert_eq!(pass(&last.clone(), &module), 1, "a clone shares it");
        let (other, of_other) = (module.clone().map(&mut Double), last.clone());
        assert_eq!([pass(&of_other, &other), pass(&of_other, &other)], [2, 2]);
        assert_eq!(pass(&last, &module), 2, "the other does not take its place");
        last.forget();
        assert_eq!([pass(&last, &module), pass(&of_other, &other)], [3, 3]);
    }
}
