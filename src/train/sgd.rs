//! Stochastic gradient descent with momentum and weight decay, by the rule of the papers or that of PyTorch.

use super::setting::expect_setting;
use crate::Result;
use alexnet_vgg_core::engine::training::MomentumStep;
use burn::module::{AutodiffModule, ModuleMapper, Param, ParamId};
use burn::optim::{GradientsParams, LearningRate, MultiGradientsParams, Optimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

/// How an update combines momentum, learning rate and weight decay. With a constant learning rate both rules take the
/// same steps; they differ when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateRule {
    /// The rule of the AlexNet paper (section 5), and of Caffe, which VGG was trained with. The velocity is a step,
    /// which includes the learning rate: after the rate is lowered, earlier gradients keep their effect until
    /// momentum fades.
    ///
    /// `v <- momentum v - decay rate w - rate g`, `w <- w + v`
    Paper,
    /// The rule of PyTorch. The velocity is a gradient, multiplied by the current learning rate: a lower rate takes
    /// effect at once.
    ///
    /// `v <- momentum v + g + decay w`, `w <- w - rate v`
    Pytorch,
}

/// The settings of [`Sgd`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgdConfig {
    /// The update rule.
    pub rule: UpdateRule,
    /// 0 to below 1.
    pub momentum: f64,
    /// At least 0. It applies to every parameter, including biases, as in both papers and in torchvision.
    pub weight_decay: f64,
}

impl SgdConfig {
    pub(super) fn validate(&self) -> Result<()> {
        expect_setting(
            "momentum",
            (0.0..1.0).contains(&self.momentum),
            "0 to below 1",
            self.momentum,
        )?;
        let decay = self.weight_decay;
        expect_setting("weight decay", decay.is_finite() && decay >= 0.0, "at least 0", decay)
    }
}

/// The optimizer. Its record consists of the velocities, flat, by parameter id.
#[derive(Clone)]
pub struct Sgd<B: Backend> {
    config: SgdConfig,
    /// Factors on the learning rates of parameters; 1 if there is none.
    factors: Arc<HashMap<ParamId, f64>>,
    velocities: HashMap<ParamId, Tensor<B, 1>>,
}

impl<B: Backend> Sgd<B> {
    /// An optimizer without velocities. The learning rate of a parameter is multiplied by its factor, if there is
    /// one.
    pub fn new(config: SgdConfig, factors: HashMap<ParamId, f64>) -> Self {
        Self { config, factors: Arc::new(factors), velocities: HashMap::new() }
    }

    pub(super) fn with_factors(self, factors: HashMap<ParamId, f64>) -> Self {
        Self { factors: Arc::new(factors), ..self }
    }

    /// The velocity of a parameter, flat; `None` before its first update.
    pub fn velocity(&self, id: ParamId) -> Option<&Tensor<B, 1>> {
        self.velocities.get(&id)
    }

    /// Sets the velocity of a parameter, flat.
    pub fn set_velocity(&mut self, id: ParamId, velocity: Tensor<B, 1>) {
        self.velocities.insert(id, velocity);
    }

    fn update<const D: usize>(
        &mut self,
        id: ParamId,
        rate: LearningRate,
        weight: Tensor<B, D>,
        gradient: Tensor<B, D>,
    ) -> Tensor<B, D> {
        let rate = rate * self.factors.get(&id).copied().unwrap_or(1.0);
        let gradient = gradient.reshape([-1]);
        let velocity = self.velocities.remove(&id);
        // The velocity from a checkpoint may be on another device.
        let velocity = velocity.map(|velocity| velocity.to_device(&gradient.device()));
        let velocity = velocity.unwrap_or_else(|| Tensor::zeros_like(&gradient));
        let shape = weight.dims();
        let in_memory = is_in_memory(&weight) && is_in_memory(&gradient) && is_in_memory(&velocity);
        let weight = weight.reshape([-1]);
        let (weight, velocity) = if in_memory {
            self.config.update_in_place(rate, weight, gradient, velocity)
        } else {
            self.config.update_on_device(rate, weight, gradient, velocity)
        };
        self.velocities.insert(id, velocity);
        weight.reshape(shape)
    }
}

impl SgdConfig {
    /// The weight and the velocity after a step, by tensor operations, each of which is a pass over memory.
    fn update_on_device<B: Backend>(
        &self,
        rate: f64,
        weight: Tensor<B, 1>,
        gradient: Tensor<B, 1>,
        velocity: Tensor<B, 1>,
    ) -> (Tensor<B, 1>, Tensor<B, 1>) {
        let gradient = gradient + weight.clone() * self.weight_decay;
        match self.rule {
            UpdateRule::Paper => {
                let velocity = velocity * self.momentum - gradient * rate;
                (weight + velocity.clone(), velocity)
            }
            UpdateRule::Pytorch => {
                let velocity = velocity * self.momentum + gradient;
                (weight - velocity.clone() * rate, velocity)
            }
        }
    }

    /// The same in one pass, which overwrites the tensors unless their memory is shared.
    fn update_in_place<B: Backend>(
        &self,
        rate: f64,
        weight: Tensor<B, 1>,
        gradient: Tensor<B, 1>,
        velocity: Tensor<B, 1>,
    ) -> (Tensor<B, 1>, Tensor<B, 1>) {
        let device = weight.device();
        let (mut weight, gradient, mut velocity) =
            (weight.into_data(), gradient.into_data(), velocity.into_data());
        let [rate, momentum, weight_decay] =
            [rate, self.momentum, self.weight_decay].map(|value| value as f32);
        let [gradient_factor, velocity_factor] = match self.rule {
            UpdateRule::Paper => [-rate, 1.0],
            UpdateRule::Pytorch => [1.0, -rate],
        };
        let step = MomentumStep { weight_decay, momentum, gradient_factor, velocity_factor };
        // `is_in_memory` has checked that they are f32.
        if let (Ok(weights), Ok(gradients), Ok(velocities)) = (
            weight.as_mut_slice::<f32>(),
            gradient.as_slice::<f32>(),
            velocity.as_mut_slice::<f32>(),
        ) {
            step.apply(weights, gradients, velocities);
        }
        (Tensor::from_data(weight, &device), Tensor::from_data(velocity, &device))
    }
}

/// Whether burn gives access to the memory of a tensor, as the backend Flex does, and its values are f32.
pub(super) fn is_in_memory<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> bool {
    let device = tensor.device();
    let is_flex = (&device as &dyn Any).is::<burn_flex::FlexDevice>();
    is_flex && tensor.dtype() == DType::F32
}

impl<M, B> Optimizer<M, B> for Sgd<B::InnerBackend>
where
    B: AutodiffBackend,
    M: AutodiffModule<B>,
{
    type Record = Vec<(u64, Tensor<B, 1>)>;

    fn step(&mut self, rate: LearningRate, module: M, gradients: GradientsParams) -> M {
        module.map(&mut Updating { sgd: self, rate, gradients })
    }

    fn step_multi(
        &mut self,
        rate: LearningRate,
        mut module: M,
        gradients: MultiGradientsParams,
    ) -> M {
        for (gradients, _) in gradients.grads {
            module = Optimizer::<M, B>::step(self, rate, module, gradients);
        }
        module
    }

    fn to_record(&self) -> Self::Record {
        let velocities = self.velocities.iter();
        velocities.map(|(id, velocity)| (id.val(), Tensor::from_inner(velocity.clone()))).collect()
    }

    fn load_record(self, record: Self::Record) -> Self {
        let velocities = record.into_iter();
        let velocities = velocities.map(|(id, velocity)| (ParamId::from(id), velocity.inner()));
        Self { velocities: velocities.collect(), ..self }
    }
}

struct Updating<'a, B: Backend> {
    sgd: &'a mut Sgd<B>,
    rate: LearningRate,
    gradients: GradientsParams,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Updating<'_, B::InnerBackend> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) else {
            return param;
        };
        let (id, weight, mapper) = param.consume();
        let tracked = weight.is_require_grad();
        let weight = self.sgd.update(id, self.rate, weight.inner(), gradient);
        let weight = Tensor::from_inner(weight).set_require_grad(tracked);
        Param::from_mapped_value(id, weight, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;

    #[test]
    fn the_update_in_place_follows_the_rule() {
        let device = Default::default();
        let tensor = |seed: u32| {
            let value = |index: u32| f64::from((index * 7919 + seed * 31) % 1000) / 500.0 - 1.0;
            let values: Vec<f32> = (0..100_000).map(|index| value(index) as f32).collect();
            Tensor::<Flex, 1>::from_floats(values.as_slice(), &device)
        };
        for rule in [UpdateRule::Paper, UpdateRule::Pytorch] {
            let config = SgdConfig { rule, momentum: 0.9, weight_decay: 0.01 };
            let (weight, velocity) = config.update_in_place(0.1, tensor(1), tensor(2), tensor(3));
            let expected = config.update_on_device(0.1, tensor(1), tensor(2), tensor(3));
            let far = |a: Tensor<Flex, 1>, b: Tensor<Flex, 1>| (a - b).abs().max().into_scalar();
            // The rounding of numbers up to 2.
            assert!(far(weight, expected.0) < 1e-6 && far(velocity, expected.1) < 1e-6, "{rule:?}");
        }
    }
}
