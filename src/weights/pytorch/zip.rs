//! What torch.save writes since 1.6: a zip archive, never compressed, of a pickle and a file for
//! each storage, all in one folder.

use super::super::checksum::Checksum;
use super::super::contents::{Contents, Format, MOST_HEADER, MOST_TENSORS};
use super::super::source::{Source, Wrong};
use super::objects::{Storage, all_storages, named_tensors};
use super::pickle::{Arena, parse};
use super::{Starts, bytes, stored};
use crate::error::Result;
use rawzip::{
    CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchiveEntryWayfinder, ZipFileHeaderRecord,
    ZipLocator,
};
use std::collections::{BTreeMap, HashMap};

const PICKLE: &str = "data.pkl";

/// A file in the archive, by its name below the folder.
#[derive(Clone, Debug)]
struct Record {
    start: u64,
    length: u64,
    /// None where torch.serialization.set_crc32_options(False) left out all of them.
    crc32: Option<u32>,
}

type Records = HashMap<String, Record>;

pub(in crate::weights) fn contents(source: &Source) -> Result<Contents> {
    let wrong = |wrong| source.wrong(Format::PyTorch.name(), wrong);
    let records = directory(source)?;
    if records.contains_key("constants.pkl") || records.keys().any(|n| n.starts_with("code/")) {
        let found = "a TorchScript archive, which is a program";
        return Err(wrong(Wrong::new("weights of torch.save", found)));
    }
    if let Some(order) = records.get("byteorder") {
        let order = small(source, "byteorder", order)?;
        if order != b"little" {
            let found = format!("{:?}", String::from_utf8_lossy(&order));
            return Err(wrong(Wrong::new("little-endian numbers", found)));
        }
    }
    let Some(pickle) = records.get(PICKLE) else {
        let found = format!("a zip archive of {} other files", records.len());
        return Err(wrong(Wrong::new("a data.pkl, as torch.save writes it", found)));
    };
    let pickle = small(source, PICKLE, pickle)?;
    let mut arena = Arena::default();
    let (object, length) = parse(&pickle, &mut arena).map_err(wrong)?;
    if length != pickle.len() {
        let found = format!("{} bytes behind it", pickle.len() - length);
        return Err(wrong(Wrong::new("a single pickle in data.pkl", found)));
    }
    let (tensors, note) = named_tensors(&arena, object).map_err(wrong)?;
    let storages = all_storages(&arena).map_err(wrong)?;
    let starts = starts(&records, &storages).map_err(wrong)?;
    let mut used: Vec<&str> = tensors.iter().map(|(_, t)| t.storage.key.as_str()).collect();
    used.sort_unstable();
    used.dedup();
    let checksums = used.into_iter().filter_map(|key| checksum(&records, key)).collect();
    let tensors = stored(tensors, &starts).map_err(wrong)?;
    Ok(Contents { format: Format::PyTorch, tensors, metadata: BTreeMap::new(), note, checksums })
}

fn data(key: &str) -> String {
    format!("data/{key}")
}

fn starts(records: &Records, storages: &HashMap<String, Storage>) -> Result<Starts, Wrong> {
    let mut starts = Starts::new();
    for (key, storage) in storages {
        // One that no tensor uses may be missing; `stored` asks for those that are used.
        let Some(record) = records.get(&data(key)) else { continue };
        let bytes = bytes(storage)?;
        if record.length != bytes {
            let expected = format!("{bytes} bytes in {}", data(key));
            return Err(Wrong::new(expected, record.length.to_string()));
        }
        starts.insert(key.clone(), record.start);
    }
    Ok(starts)
}

fn checksum(records: &Records, key: &str) -> Option<Checksum> {
    let name = data(key);
    let &Record { start, length, crc32 } = records.get(&name)?;
    Some(Checksum { name, start, length, crc32: crc32? })
}

/// A file that is read whole: its length and its checksum are right.
fn small(source: &Source, name: &str, record: &Record) -> Result<Vec<u8>> {
    let wrong = |wrong| source.wrong(Format::PyTorch.name(), wrong);
    if record.length > MOST_HEADER {
        let expected = format!("at most {MOST_HEADER} bytes of {name}");
        return Err(wrong(Wrong::new(expected, record.length.to_string())));
    }
    let bytes = source.read(record.start, record.length as usize)?;
    let hash = crc32fast::hash(&bytes);
    match record.crc32 {
        // A fuzzer would never get past it.
        Some(stated) if stated != hash && !cfg!(fuzzing) => {
            Err(wrong(Wrong::new(format!("{name} as it was written"), "another checksum")))
        }
        _ => Ok(bytes),
    }
}

/// All files of the archive, none of them overlapping another.
fn directory(source: &Source) -> Result<Records> {
    let wrong = |wrong| source.wrong(Format::PyTorch.name(), wrong);
    let zip = |error: rawzip::Error| {
        wrong(Wrong::new("a whole zip archive", format!("one that is not: {error}")))
    };
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipLocator::new()
        .locate_in_reader(source, &mut buffer, source.length())
        .map_err(|(_, error)| zip(error))?;
    if archive.end_offset() != source.length() {
        return Err(wrong(Wrong::new("nothing behind the zip archive", "more bytes")));
    }
    let directory = archive.directory_offset();
    if source.length().saturating_sub(directory) > MOST_HEADER {
        let expected = format!("a directory of at most {MOST_HEADER} bytes");
        return Err(wrong(Wrong::new(expected, (source.length() - directory).to_string())));
    }
    let mut folder = None;
    let mut found: Vec<(String, ZipArchiveEntryWayfinder, u32)> = Vec::new();
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(zip)? {
        let name = entry_name(&entry, &mut folder).map_err(wrong)?;
        if found.len() == MOST_TENSORS {
            return Err(wrong(Wrong::new(format!("at most {MOST_TENSORS} files"), "more")));
        }
        found.push((name, entry.wayfinder(), entry.crc32()));
    }
    if found.len() as u64 != archive.entries_hint() {
        let expected = format!("{} files", archive.entries_hint());
        return Err(wrong(Wrong::new(expected, found.len().to_string())));
    }
    let mut spans = Vec::with_capacity(found.len());
    let mut records = Records::new();
    let mut header = vec![0; 2 * usize::from(u16::MAX)];
    let folder = folder.unwrap_or_default();
    let are_stated = found.iter().any(|(_, _, crc32)| *crc32 != 0);
    for (name, wayfinder, crc32) in found {
        let entry = archive.get_entry(wayfinder).map_err(zip)?;
        let local = entry.local_header(&mut header).map_err(zip)?;
        if local.file_path().as_ref() != format!("{folder}/{name}").as_bytes() {
            let found = format!("another name before the data of {name}");
            return Err(wrong(Wrong::new("the names of the archive's directory", found)));
        }
        let (start, end) = entry.compressed_data_range();
        let crc32 = are_stated.then_some(crc32);
        spans.push((start, end, name.clone()));
        if records.insert(name.clone(), Record { start, length: end - start, crc32 }).is_some() {
            return Err(wrong(Wrong::new("every file once", format!("{name} twice"))));
        }
    }
    spans.sort_unstable();
    let ends_before =
        |start: u64| move |pair: &[(u64, u64, String)]| pair[0].1 > pair[1].0 || pair[1].1 > start;
    match spans.windows(2).find(|pair| ends_before(directory)(pair)) {
        Some(pair) => {
            let found = format!("{} inside {}", pair[1].2, pair[0].2);
            Err(wrong(Wrong::new("files that do not overlap", found)))
        }
        None => Ok(records),
    }
}

/// The name below the archive's folder, of which there is one.
fn entry_name(entry: &ZipFileHeaderRecord, folder: &mut Option<String>) -> Result<String, Wrong> {
    let path = entry.file_path();
    let path = std::str::from_utf8(path.as_ref())
        .map_err(|_| Wrong::new("file names in UTF-8", "others"))?;
    let (parent, name) = path.split_once('/').unwrap_or(("", path));
    match folder {
        None => *folder = Some(parent.to_string()),
        Some(folder) if folder == parent => {}
        Some(folder) => {
            return Err(Wrong::new(
                format!("all files in the folder {folder:?}"),
                format!("{path:?}"),
            ));
        }
    }
    if entry.flags().is_encrypted() {
        return Err(Wrong::new("files in the clear", format!("{path:?}, encrypted")));
    }
    let is_stored = entry.compression_method() == CompressionMethod::STORE
        && entry.compressed_size_hint() == entry.uncompressed_size_hint();
    match is_stored {
        true => Ok(name.to_string()),
        false => Err(Wrong::new(
            "files stored as torch.save does, without compression",
            format!("{path:?}, compressed"),
        )),
    }
}
