//! What torch.save writes since 1.6: a zip archive, never compressed, of a pickle and a file for
//! each storage, all in one folder.

use super::super::checksum::Checksum;
use super::super::contents::{Contents, Format, MOST_HEADER, MOST_TENSORS};
use super::super::source::{Source, Wrong};
use super::objects::named_tensors;
use super::pickle::parse;
use super::storage::{Storage, all_storages};
use super::tree::Arena;
use super::{Starts, bytes, stored};
use crate::error::Result;
use rawzip::{
    CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipFileHeaderRecord, ZipLocator,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;

const PICKLE: &str = "data.pkl";
/// Bytes of a file's record in the directory, its name and padding included; torch writes less than
/// two hundred.
const LONGEST_RECORD: usize = 1 << 13;
/// The same without name, padding and comment.
const FIXED_RECORD: usize = 46;

/// A file in the archive, by its name below the folder.
#[derive(Clone, Debug)]
struct Record {
    start: u64,
    length: u64,
    /// None where torch.serialization.set_crc32_options(False) left out all of them.
    crc32: Option<u32>,
}

/// By name, in lower case: PyTorch finds files without regard to it.
type Records = HashMap<String, Record>;

pub(in crate::weights) fn contents(source: &Source) -> Result<Contents> {
    let wrong = |wrong| source.wrong(Format::PyTorch.name(), wrong);
    let records = directory(source)?;
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
    if storages.has_views {
        return Err(wrong(Wrong::new(
            "storages that are whole",
            "views of them, as of PyTorch 0.3",
        )));
    }
    let starts = starts(&records, &storages.by_key).map_err(wrong)?;
    let mut used: Vec<&str> = tensors.iter().map(|(_, t)| t.storage.key.as_str()).collect();
    used.sort_unstable();
    used.dedup();
    let checksums = used.into_iter().filter_map(|key| checksum(&records, key)).collect();
    let tensors = stored(tensors, &starts).map_err(wrong)?;
    Ok(Contents { format: Format::PyTorch, tensors, metadata: BTreeMap::new(), note, checksums })
}

fn data(key: &str) -> String {
    format!("data/{key}").to_ascii_lowercase()
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
    Some(Checksum { name, start, length, crc32: crc32?, is_known: AtomicBool::new(false) })
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
    let mut buffer = vec![0; LONGEST_RECORD];
    let archive = ZipLocator::new()
        .locate_in_reader(source, &mut buffer, source.length())
        .map_err(|(_, error)| zip(error))?;
    if archive.eocd_offset() + END_RECORD != source.length() {
        return Err(wrong(Wrong::new("nothing behind the zip archive", "more bytes")));
    }
    let mut disks = [0; 4];
    source.read_into(archive.eocd_offset() + 4, &mut disks)?;
    if disks != [0; 4] {
        return Err(wrong(Wrong::new("a whole archive", "a part of several")));
    }
    let directory = archive.directory_offset();
    if source.length().saturating_sub(directory) > MOST_HEADER {
        let expected = format!("a directory of at most {MOST_HEADER} bytes");
        return Err(wrong(Wrong::new(expected, (source.length() - directory).to_string())));
    }
    let mut found: Vec<Entry> = Vec::new();
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(zip)? {
        if found.len() == MOST_TENSORS {
            return Err(wrong(Wrong::new(format!("at most {MOST_TENSORS} files"), "more")));
        }
        found.push(Entry::new(&entry).map_err(wrong)?);
    }
    if found.len() as u64 != archive.entries_hint() {
        let expected = format!("{} files", archive.entries_hint());
        return Err(wrong(Wrong::new(expected, found.len().to_string())));
    }
    let mut header = vec![0; LONGEST_RECORD];
    for entry in &mut found {
        let local = archive.get_entry(entry.wayfinder).map_err(zip)?;
        entry.data = local.compressed_data_range();
        let local = local.local_header(&mut header).map_err(zip)?;
        if local.file_path().as_ref() != entry.path.as_bytes() {
            let found = format!("another name before the data of {}", entry.path);
            return Err(wrong(Wrong::new("the names of the archive's directory", found)));
        }
    }
    let directory_end = directory + found.iter().map(|entry| entry.record_length).sum::<u64>();
    expect_one_directory(source, &archive, directory_end)?;
    expect_no_gaps(&mut found, directory).and_then(|()| records(found)).map_err(wrong)
}

/// Bytes of the record at the archive's end, of zip64's record before it, and of what points to that.
const END_RECORD: u64 = 22;
const ZIP64_END: u64 = 56;
const ZIP64_LOCATOR: u64 = 20;

/// Readers disagree about archives whose two ends contradict each other: some then take a directory
/// that others do not see. Here the directory reaches to the end record, or to zip64's, and both say
/// the same.
fn expect_one_directory(
    source: &Source,
    archive: &ZipArchive<&Source>,
    directory_end: u64,
) -> Result<()> {
    let expected = "one directory, up to the archive's end";
    let wrong =
        |found: &str| Err(source.wrong(Format::PyTorch.name(), Wrong::new(expected, found)));
    let end = archive.eocd_offset();
    let locator = end.saturating_sub(ZIP64_LOCATOR);
    let zip64 = locator.saturating_sub(ZIP64_END);
    let field = |at: u64| -> Result<u64> {
        let mut bytes = [0; 8];
        source.read_into(at, &mut bytes).map(|()| u64::from_le_bytes(bytes))
    };
    if field(locator)?.to_le_bytes()[..4] != *b"PK\x06\x07" {
        return if directory_end == end { Ok(()) } else { wrong("bytes between the two") };
    }
    let is_same = field(locator + 8)? == zip64
        && field(zip64 + 24)? == archive.entries_hint()
        && field(zip64 + 32)? == archive.entries_hint()
        && field(zip64 + 48)? == archive.directory_offset();
    if is_same && directory_end == zip64 { Ok(()) } else { wrong("two, of zip and of zip64") }
}

/// A file as the archive's directory has it.
struct Entry {
    path: String,
    is_stored: bool,
    wayfinder: ZipArchiveEntryWayfinder,
    crc32: u32,
    /// Where its own header begins.
    start: u64,
    /// Its bytes, start and end.
    data: (u64, u64),
    /// Of the directory.
    record_length: u64,
    has_descriptor: bool,
}

impl Entry {
    fn new(record: &ZipFileHeaderRecord) -> Result<Self, Wrong> {
        let path = record.file_path();
        let path = std::str::from_utf8(path.as_ref())
            .map_err(|_| Wrong::new("file names in UTF-8", "others"))?
            .to_string();
        if record.flags().is_encrypted() {
            return Err(Wrong::new("files in the clear", format!("{path:?}, encrypted")));
        }
        let is_stored = record.compression_method() == CompressionMethod::STORE
            && record.compressed_size_hint() == record.uncompressed_size_hint();
        let extra = record.extra_fields().remaining_bytes().len();
        Ok(Self {
            is_stored,
            wayfinder: record.wayfinder(),
            crc32: record.crc32(),
            start: record.local_header_offset(),
            data: (0, 0),
            record_length: (FIXED_RECORD + path.len() + extra + record.comment().as_bytes().len())
                as u64,
            has_descriptor: record.flags().has_data_descriptor(),
            path,
        })
    }
}

/// The archive begins with a file, each begins where the one before it ends, and the directory follows
/// the last. What else could be between them would be hidden.
fn expect_no_gaps(entries: &mut [Entry], directory: u64) -> Result<(), Wrong> {
    // Behind a file's bytes may be its checksum and lengths, of 32 or 64 bits, with a signature or not.
    const DESCRIPTORS: [u64; 4] = [12, 16, 20, 24];
    entries.sort_unstable_by_key(|entry| entry.start);
    let starts = entries.iter().map(|entry| entry.start).skip(1).chain([directory]);
    for (entry, next) in entries.iter().zip(starts) {
        let is_next = match next.checked_sub(entry.data.1) {
            Some(gap) if entry.has_descriptor => DESCRIPTORS.contains(&gap),
            gap => gap == Some(0),
        };
        if !is_next {
            let found = format!("{:?} with other bytes behind it", entry.path);
            return Err(Wrong::new("files that do not overlap, without gaps", found));
        }
    }
    match entries.first().map_or(0, |first| first.start) {
        0 => Ok(()),
        _ => Err(Wrong::new("nothing before the zip archive", "more bytes")),
    }
}

/// By their names below the archive's folder, of which there is one.
fn records(entries: Vec<Entry>) -> Result<Records, Wrong> {
    let are_stated = entries.iter().any(|entry| entry.crc32 != 0);
    let is_program = |path: &str| path.ends_with("/constants.pkl") || path.contains("/code/");
    if entries.iter().any(|entry| is_program(&entry.path)) {
        let found = "a TorchScript archive, which is a program";
        return Err(Wrong::new("weights of torch.save", found));
    }
    let mut folder: Option<String> = None;
    let mut records = Records::new();
    for Entry { path, is_stored, crc32, data: (start, end), .. } in entries {
        if !is_stored {
            let expected = "files stored as torch.save does, without compression";
            return Err(Wrong::new(expected, format!("{path:?}, compressed")));
        }
        let (parent, name) = path.split_once('/').unwrap_or(("", &path));
        if folder.get_or_insert_with(|| parent.to_string()) != parent {
            return Err(Wrong::new("all files in one folder", format!("{path:?}")));
        }
        let record = Record { start, length: end - start, crc32: are_stated.then_some(crc32) };
        if records.insert(name.to_ascii_lowercase(), record).is_some() {
            return Err(Wrong::new("every file once", format!("{name} twice")));
        }
    }
    Ok(records)
}
