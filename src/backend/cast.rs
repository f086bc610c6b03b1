//! From tensors of a generic backend to those of a known one, if it is the same, and back.

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};
use std::any::Any;

/// The float tensor of backend `T`, if `B` is the same.
pub fn to<B: Backend, T: Backend, const D: usize>(x: &Tensor<B, D>) -> Option<FloatTensor<T>> {
    same::<Tensor<B, D>, Tensor<T, D>>(x.clone()).map(|x| x.into_primitive().tensor())
}

/// The generic tensor of a float tensor of backend `T`, if `B` is the same.
pub fn from<B: Backend, T: Backend, const D: usize>(x: FloatTensor<T>) -> Option<Tensor<B, D>> {
    same::<Tensor<T, D>, Tensor<B, D>>(Tensor::from_primitive(TensorPrimitive::Float(x)))
}

/// A value of type `A` as one of type `T`, if that is the same type.
fn same<A: 'static, T: 'static>(value: A) -> Option<T> {
    (&mut Some(value) as &mut dyn Any).downcast_mut::<Option<T>>().and_then(Option::take)
}
