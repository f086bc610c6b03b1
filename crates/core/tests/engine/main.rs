//! The networks as tables, and the compiled engine that computes them.

#[path = "../arbitrary_tables/mod.rs"]
mod arbitrary_tables;
#[path = "../formula/mod.rs"]
mod formula;
#[path = "../reference/mod.rs"]
mod reference;
#[path = "../formula/torch.rs"]
mod torch;

mod batcher;
mod compiled;
mod dense_evaluation;
mod features;
mod fresh_weights;
mod heat_maps;
mod mc_dropout;
mod precision;
mod random_tables;
mod tables;
mod threads;
mod training;
mod training_maps;
