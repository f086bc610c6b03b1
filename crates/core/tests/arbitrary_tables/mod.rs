//! Tables of any layers in any order, by proptest. Not all of them are valid networks.

use alexnet_vgg_core::architecture::{BiasInit, Init, Layer, Numbering, Table, WeightInit};
use proptest::prelude::*;

const INIT: Init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };

/// Any layer of the features.
fn layer() -> impl Strategy<Value = Layer> {
    let conv = (1..5usize, 1..12usize, 1..8usize, 1..4usize, 0..4usize).prop_map(
        |(groups, out, kernel, stride, padding)| Layer::Conv {
            out: out * groups * 4,
            kernel,
            stride,
            padding: padding.min(kernel - 1),
            groups,
            init: INIT,
        },
    );
    let same = (1..40usize, prop_oneof![Just(3usize), Just(5)], 1..3usize, 0..3usize).prop_map(
        |(out, kernel, groups, padding)| Layer::Conv {
            out: out * 4,
            kernel,
            stride: 1,
            padding,
            groups,
            init: INIT,
        },
    );
    let lrn = (0..4usize, prop_oneof![Just(0.75), Just(0.6)], 1..5usize).prop_map(
        |(half, beta, groups)| Layer::Lrn { size: 2 * half + 1, alpha: 0.1, beta, k: 1.0, groups },
    );
    let pool =
        (1..4usize, 1..4usize).prop_map(|(kernel, stride)| Layer::MaxPool { kernel, stride });
    prop_oneof![
        3 => conv, 6 => same, 1 => lrn, 3 => pool,
        2 => Just(Layer::MaxPool { kernel: 2, stride: 2 }),
        3 => Just(Layer::BatchNorm), 5 => Just(Layer::Relu), 1 => Just(Layer::Tanh),
        1 => Just(Layer::Dropout { p: 0.5 }),
    ]
}

/// Up to six layers of features, any pool, up to two linear layers.
pub fn table() -> impl Strategy<Value = Table> {
    let features = prop::collection::vec(layer(), 0..7);
    let size = (1..40usize, 1..40usize);
    let linear = (1..40usize, 0..4u8).prop_map(|(out, rest)| {
        let mut layers = vec![Layer::Linear { out, init: INIT }];
        layers.extend(match rest {
            0 => vec![],
            1 => vec![Layer::Relu],
            2 => vec![Layer::Tanh, Layer::Dropout { p: 0.5 }],
            _ => vec![Layer::Dropout { p: 0.5 }, Layer::Relu],
        });
        layers
    });
    let classifier = prop::collection::vec(linear, 0..3);
    (1..40usize, size, features, (1..4usize, 1..4usize), classifier).prop_map(
        |(channels, (height, width), features, pool, classifier)| Table {
            name: "random".into(),
            input: [channels, height, width],
            features,
            pool: [pool.0, pool.1],
            classifier: classifier.concat(),
            numbering: Numbering::Sequential,
        },
    )
}
