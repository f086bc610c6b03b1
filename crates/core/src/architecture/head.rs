//! The head of a network: what follows its features.

use serde::{Deserialize, Serialize};

/// What follows the features of a [`VggConfig`](super::VggConfig) or an [`AlexNetConfig`](super::AlexNetConfig):
/// the size of the pooled map, and the hidden linear layers before the one of the classes.
///
/// ```
/// use alexnet_vgg_core::architecture::{Head, VggConfig};
///
/// // VGG as it is usually trained for CIFAR-10: at 32×32 pixels the features are a 1×1 map.
/// let vgg = VggConfig::vgg16_bn().with_num_classes(10).with_head(Head::linear([1, 1]));
/// let count: u64 = vgg.architecture()?.parameters().filter(|it| it.role.is_trained()).map(|it| it.elements()).sum();
/// assert_eq!(count, 14_728_266);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Head {
    /// The published one: two hidden layers of 4096 features (times the width) on a map of 7×7 (VGG) or 6×6
    /// (AlexNet).
    #[default]
    Published,
    /// A custom head.
    Custom {
        /// Height and width to which the features are averaged before the first linear layer. If the
        /// features have that size already, this changes nothing.
        pool: [usize; 2],
        /// The number of features of each hidden layer; the width does not scale them. Each is followed by
        /// the activation, and has dropout where the published head has it.
        hidden: Vec<usize>,
    },
}

impl Head {
    /// A single linear layer on the features, averaged to `pool`: height and width.
    pub fn linear(pool: [usize; 2]) -> Self {
        Self::new(pool, [])
    }

    /// Hidden layers of these sizes, and the layer of the classes, on the features, averaged to `pool`: height
    /// and width.
    pub fn new(pool: [usize; 2], hidden: impl Into<Vec<usize>>) -> Self {
        Self::Custom { pool, hidden: hidden.into() }
    }

    /// The pool, and the sizes of the hidden layers, of a network whose published ones these are.
    pub(super) fn sizes(
        &self,
        published_pool: usize,
        published: [usize; 2],
    ) -> ([usize; 2], Vec<usize>) {
        match self {
            Self::Published => ([published_pool; 2], published.to_vec()),
            Self::Custom { pool, hidden } => (*pool, hidden.clone()),
        }
    }
}
