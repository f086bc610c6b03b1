//! The networks as data, and everything that can be computed from it without weights.
//!
//! - [`Table`] (`table`): a network as plain data, a list of [`Layer`]s (`layer`). [`Architecture`]
//!   (`checked_table`): a table that was checked, with its [`Step`]s (`step`). `layer_shapes` has the shape
//!   arithmetic of each kind of layer, `pool_windows` that of the adaptive pool, `paper_names` the papers' names of
//!   layers.
//! - [`AlexNetConfig`] (`alexnet`) and [`VggConfig`] (`vgg`): the published networks; [`NetworkConfig`]
//!   (`registry`): all of them by name; [`IntoArchitecture`]: what functions accept as a network.
//! - [`ReceptiveField`] (`receptive_field`): the part of the input that a cell of a feature map sees.
//!   `dense_evaluation`: the size of score maps.
//! - `row_chunks`: the chunks in which large weights are stored; [`FreshWeights`] (`fresh_weights`, as [`Init`]
//!   in `init` says): random initial weights.
//! - [`TwoGpuSplit`] (`two_gpu_split`): a network spread across two devices, as AlexNet was in 2012.
//! - [`summary`]: shapes and costs, layer by layer; [`small_kernels`]: VGG's argument for 3×3 kernels.

mod alexnet;
mod checked_table;
mod dense_evaluation;
mod fresh_weights;
mod head;
mod init;
mod into_architecture;
mod layer;
mod layer_shapes;
mod paper_names;
mod pool_windows;
mod receptive_field;
mod registry;
mod row_chunks;
mod setters;
pub mod small_kernels;
mod step;
pub mod summary;
mod table;
mod two_gpu_split;
mod vgg;
mod width;

pub use alexnet::{Activation, AlexNetConfig, AlexNetVariant};
pub use checked_table::Architecture;
pub use dense_evaluation::window_positions;
pub use fresh_weights::FreshWeights;
pub use head::Head;
pub use init::{BiasInit, Fill, Init, WeightInit};
pub use into_architecture::IntoArchitecture;
pub use layer::Layer;
pub use paper_names::Numbering;
pub(crate) use pool_windows::PoolWindows;
pub use receptive_field::ReceptiveField;
pub use registry::NetworkConfig;
pub use step::{Parameter, Role, Section, Shape, Step};
pub use table::Table;
pub use two_gpu_split::{Crossing, LOGITS, SplitLayer, TwoGpuSplit};
pub use vgg::{VggConfig, VggConfiguration, VggInit};
