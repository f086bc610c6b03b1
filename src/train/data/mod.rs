//! The data of training: lists of labeled pictures, their order in an epoch, and loaders whose threads read the
//! next batches while the network trains on the current one.

mod broken_picture;
mod burn_data_loader;
mod class_folders;
mod csv_columns;
mod csv_list;
mod csv_options;
mod csv_parts;
mod csv_paths;
mod csv_table;
mod label_order;
mod loader;
mod micro_batches;
mod mixing;
mod order;
mod picture_list;
mod pictures;
mod readers;
mod split_folders;
mod subsets;

pub use broken_picture::BrokenPicture;
pub use csv_options::CsvOptions;
pub use loader::{Loader, LoaderOptions, Shard};
pub use micro_batches::{MicroBatch, MicroBatches};
pub use mixing::{Mix, Mixing};
pub use order::Order;
pub use picture_list::PictureList;
pub use pictures::Pictures;
