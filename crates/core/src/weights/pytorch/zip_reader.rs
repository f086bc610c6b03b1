//! Parses files of `torch.save` since PyTorch 1.6: an uncompressed zip archive of a pickle and one file for
//! each storage.

use super::super::checksum::Checksum;
use super::super::file_contents::FileContents;
use super::super::file_format::Format;
use super::super::file_source::FileSource;
use super::super::format_error::FormatError;
use super::super::limits::MAX_HEADER_BYTES;
use super::pickle_parser::parse_pickle;
use super::pickle_values::Arena;
use super::storage::{Storage, all_storages};
use super::storage_positions::{StoragePositions, storage_bytes, tensor_entries};
use super::weights_search::{FoundWeights, find_weights};
use super::zip_archive::{StoredFile, StoredFiles, stored_files};
use crate::error::Result;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;

const PICKLE: &str = "data.pkl";

pub(in crate::weights) fn parse(source: &FileSource, key: Option<&str>) -> Result<FileContents> {
    let error = |error| source.error(Format::PyTorch.name(), error);
    let files = stored_files(source)?;
    if let Some(order) = files.get("byteorder") {
        let order = read_file(source, "byteorder", order)?;
        if order != b"little" {
            let found = format!("{:?}", String::from_utf8_lossy(&order));
            return Err(error(FormatError::new("little-endian numbers", found)));
        }
    }
    let Some(pickle) = files.get(PICKLE) else {
        let found = format!("a zip archive of {} other files", files.len());
        return Err(error(FormatError::new("a data.pkl, as torch.save writes it", found)));
    };
    let pickle = read_file(source, PICKLE, pickle)?;
    let mut arena = Arena::default();
    let (object, length) = parse_pickle(&pickle, &mut arena).map_err(error)?;
    if length != pickle.len() {
        let found = format!("{} bytes after it", pickle.len() - length);
        return Err(error(FormatError::new("a single pickle in data.pkl", found)));
    }
    let FoundWeights { tensors, container, notices } =
        find_weights(&arena, object, key).map_err(error)?;
    let storages = all_storages(&arena).map_err(error)?;
    if storages.has_views {
        let found = "views of storages, as of PyTorch 0.3";
        return Err(error(FormatError::new("whole storages", found)));
    }
    let positions = storage_positions(&files, &storages.by_key).map_err(error)?;
    let mut used: Vec<&str> = tensors.iter().map(|(_, t)| t.storage.key.as_str()).collect();
    used.sort_unstable();
    used.dedup();
    let checksums = used.into_iter().filter_map(|key| checksum(&files, key)).collect();
    let tensors = tensor_entries(tensors, &positions).map_err(error)?;
    Ok(FileContents {
        format: Format::PyTorch,
        tensors,
        metadata: BTreeMap::new(),
        container,
        notices,
        checksums,
    })
}

/// The path of a storage in the archive.
fn storage_path(key: &str) -> String {
    format!("data/{key}").to_ascii_lowercase()
}

fn storage_positions(
    files: &StoredFiles,
    storages: &HashMap<String, Storage>,
) -> Result<StoragePositions, FormatError> {
    let mut positions = StoragePositions::new();
    for (key, storage) in storages {
        // A storage that no weights use may be missing; `tensor_entries` requires those that are used.
        let Some(file) = files.get(&storage_path(key)) else { continue };
        let bytes = storage_bytes(storage)?;
        if file.length != bytes {
            let expected = format!("{bytes} bytes in {}", storage_path(key));
            return Err(FormatError::new(expected, file.length.to_string()));
        }
        positions.insert(key.clone(), file.start);
    }
    Ok(positions)
}

fn checksum(files: &StoredFiles, key: &str) -> Option<Checksum> {
    let name = storage_path(key);
    let &StoredFile { start, length, crc32 } = files.get(&name)?;
    Some(Checksum { name, start, length, crc32: crc32?, is_verified: AtomicBool::new(false) })
}

/// All bytes of a file in the archive, verified with its checksum.
fn read_file(source: &FileSource, name: &str, file: &StoredFile) -> Result<Vec<u8>> {
    let error = |error| source.error(Format::PyTorch.name(), error);
    if file.length > MAX_HEADER_BYTES {
        let expected = format!("at most {MAX_HEADER_BYTES} bytes of {name}");
        return Err(error(FormatError::new(expected, file.length.to_string())));
    }
    let bytes = source.read(file.start, file.length as usize)?;
    let hash = crc32fast::hash(&bytes);
    match file.crc32 {
        // A fuzzer would never produce the right checksum.
        Some(stated) if stated != hash && !cfg!(fuzzing) => Err(error(FormatError::new(
            format!("CRC-32 {stated:08x} of {name}"),
            format!("{hash:08x}: the file is damaged"),
        ))),
        _ => Ok(bytes),
    }
}
