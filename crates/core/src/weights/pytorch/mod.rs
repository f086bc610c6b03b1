//! PyTorch's own formats, the zip archive and the legacy one: pickles that describe tensors, and raw
//! storages.
//!
//! A pickle is a program, and `torch.load` runs it unless told otherwise. Here it is only parsed:
//! `pickle_parser` builds the `pickle_values`, in which `weights_search` finds the tensors.

mod byte_cursor;
mod key_path;
mod known_functions;
pub(super) mod legacy_reader;
mod opaque_calls;
mod pickle_parser;
mod pickle_values;
mod pickled_module;
mod state_dict;
pub(super) mod state_dict_writer;
mod storage;
mod storage_positions;
mod tensor_description;
mod weights_search;
mod zip_archive;
pub(super) mod zip_reader;
