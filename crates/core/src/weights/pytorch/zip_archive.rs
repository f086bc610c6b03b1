//! The files of a zip archive, strictly: archives that two readers could understand differently are refused.

use super::super::file_format::Format;
use super::super::file_source::FileSource;
use super::super::format_error::FormatError;
use super::super::limits::{MAX_HEADER_BYTES, MAX_TENSORS};
use crate::error::{Error, Result};
use rawzip::{
    CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipFileHeaderRecord, ZipLocator,
};
use std::collections::HashMap;

/// Bytes of a record in the central directory, with the file's name and the padding. PyTorch writes less
/// than 200.
const MAX_RECORD_BYTES: usize = 1 << 13;
/// Bytes of such a record without name, padding and comment.
const FIXED_RECORD_BYTES: usize = 46;

/// A file in the archive.
#[derive(Clone, Debug)]
pub(super) struct StoredFile {
    pub start: u64,
    pub length: u64,
    /// `None` if the archive was written with `torch.serialization.set_crc32_options(False)`, which leaves out
    /// all checksums.
    pub crc32: Option<u32>,
}

/// The files by their paths in the archive's only folder, in lower case because PyTorch ignores the case.
pub(super) type StoredFiles = HashMap<String, StoredFile>;

fn error(source: &FileSource, expected: impl Into<String>, found: impl Into<String>) -> Error {
    source.error(Format::PyTorch.name(), FormatError::new(expected, found))
}

/// All files of the archive, none of which overlap.
pub(super) fn stored_files(source: &FileSource) -> Result<StoredFiles> {
    let zip_error = |found: rawzip::Error| {
        error(source, "a whole zip archive; copy or download it again", format!("{found}"))
    };
    let mut buffer = vec![0; MAX_RECORD_BYTES];
    let archive = ZipLocator::new()
        .locate_in_reader(source, &mut buffer, source.length())
        .map_err(|(_, error)| zip_error(error))?;
    check_end(source, &archive)?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut records = archive.entries(&mut buffer);
    while let Some(record) = records.next_entry().map_err(zip_error)? {
        if entries.len() == MAX_TENSORS {
            return Err(error(source, format!("at most {MAX_TENSORS} files"), "more"));
        }
        let entry = Entry::new(&record);
        entries.push(entry.map_err(|error| source.error(Format::PyTorch.name(), error))?);
    }
    if entries.len() as u64 != archive.entries_hint() {
        let expected = format!("{} files", archive.entries_hint());
        return Err(error(source, expected, entries.len().to_string()));
    }
    let mut header = vec![0; MAX_RECORD_BYTES];
    for entry in &mut entries {
        let local = archive.get_entry(entry.wayfinder).map_err(zip_error)?;
        entry.data = local.compressed_data_range();
        let local = local.local_header(&mut header).map_err(zip_error)?;
        if local.file_path().as_ref() != entry.path.as_bytes() {
            let found = format!("another name before the data of {}", entry.path);
            return Err(error(source, "the names of the archive's directory", found));
        }
    }
    let directory = archive.directory_offset();
    let directory_end = directory + entries.iter().map(|entry| entry.record_length).sum::<u64>();
    check_single_directory(source, &archive, directory_end)?;
    check_no_gaps(&mut entries, directory)
        .and_then(|()| by_path(entries))
        .map_err(|error| source.error(Format::PyTorch.name(), error))
}

/// Checks that the archive ends with the file, is not split, and has a directory that is not too large.
fn check_end(source: &FileSource, archive: &ZipArchive<&FileSource>) -> Result<()> {
    if archive.eocd_offset() + END_RECORD_BYTES != source.length() {
        return Err(error(source, "nothing after the zip archive", "more bytes"));
    }
    let mut disks = [0; 4];
    source.read_into(archive.eocd_offset() + 4, &mut disks)?;
    if disks != [0; 4] {
        return Err(error(source, "a whole archive", "one of several parts"));
    }
    let after_directory = source.length().saturating_sub(archive.directory_offset());
    if after_directory > MAX_HEADER_BYTES {
        let expected = format!("a directory of at most {MAX_HEADER_BYTES} bytes");
        return Err(error(source, expected, after_directory.to_string()));
    }
    Ok(())
}

/// Bytes of the record at the end of the archive, of the zip64 record before it, and of the locator of the
/// latter.
const END_RECORD_BYTES: u64 = 22;
const ZIP64_END_BYTES: u64 = 56;
const ZIP64_LOCATOR_BYTES: u64 = 20;

/// Checks that the directory reaches up to the end record, or to that of zip64, and that both say the same.
/// If they contradict each other, readers use different directories.
fn check_single_directory(
    source: &FileSource,
    archive: &ZipArchive<&FileSource>,
    directory_end: u64,
) -> Result<()> {
    let not_single =
        |found: &str| Err(error(source, "one directory, up to the archive's end", found));
    let end = archive.eocd_offset();
    let locator = end.saturating_sub(ZIP64_LOCATOR_BYTES);
    let zip64 = locator.saturating_sub(ZIP64_END_BYTES);
    let field = |position: u64| -> Result<u64> {
        let mut bytes = [0; 8];
        source.read_into(position, &mut bytes).map(|()| u64::from_le_bytes(bytes))
    };
    if field(locator)?.to_le_bytes()[..4] != *b"PK\x06\x07" {
        return if directory_end == end { Ok(()) } else { not_single("bytes between the two") };
    }
    let is_same = field(locator + 8)? == zip64
        && field(zip64 + 24)? == archive.entries_hint()
        && field(zip64 + 32)? == archive.entries_hint()
        && field(zip64 + 48)? == archive.directory_offset();
    if is_same && directory_end == zip64 {
        Ok(())
    } else {
        not_single("two, one of zip and one of zip64")
    }
}

/// A file as the archive's directory describes it.
struct Entry {
    path: String,
    is_stored: bool,
    wayfinder: ZipArchiveEntryWayfinder,
    crc32: u32,
    /// The start of its local header.
    start: u64,
    /// The start and end of its bytes.
    data: (u64, u64),
    /// Bytes of its record in the directory.
    record_length: u64,
    has_descriptor: bool,
}

impl Entry {
    fn new(record: &ZipFileHeaderRecord) -> Result<Self, FormatError> {
        let path = record.file_path();
        let path = std::str::from_utf8(path.as_ref())
            .map_err(|_| FormatError::new("file names in UTF-8", "another encoding"))?
            .to_string();
        if record.flags().is_encrypted() {
            return Err(FormatError::new("unencrypted files", format!("{path:?}, encrypted")));
        }
        let is_stored = record.compression_method() == CompressionMethod::STORE
            && record.compressed_size_hint() == record.uncompressed_size_hint();
        let extra = record.extra_fields().remaining_bytes().len();
        let record_length =
            FIXED_RECORD_BYTES + path.len() + extra + record.comment().as_bytes().len();
        Ok(Self {
            is_stored,
            wayfinder: record.wayfinder(),
            crc32: record.crc32(),
            start: record.local_header_offset(),
            data: (0, 0),
            record_length: record_length as u64,
            has_descriptor: record.flags().has_data_descriptor(),
            path,
        })
    }
}

/// Checks that the archive begins with a file, that each file begins where the one before it ends, and that
/// the directory follows the last one. Other bytes in between would be hidden.
fn check_no_gaps(entries: &mut [Entry], directory: u64) -> Result<(), FormatError> {
    // A data descriptor may follow a file: its checksum and its lengths, of 32 or 64 bits, with or without a
    // signature.
    const DESCRIPTOR_BYTES: [u64; 4] = [12, 16, 20, 24];
    entries.sort_unstable_by_key(|entry| entry.start);
    let starts = entries.iter().map(|entry| entry.start).skip(1).chain([directory]);
    for (entry, next) in entries.iter().zip(starts) {
        let is_adjacent = match next.checked_sub(entry.data.1) {
            Some(gap) if entry.has_descriptor => DESCRIPTOR_BYTES.contains(&gap),
            gap => gap == Some(0),
        };
        if !is_adjacent {
            let found = format!("{:?} with other bytes after it", entry.path);
            return Err(FormatError::new("files that do not overlap, without gaps", found));
        }
    }
    match entries.first().map_or(0, |first| first.start) {
        0 => Ok(()),
        _ => Err(FormatError::new("nothing before the zip archive", "more bytes")),
    }
}

/// The files by their paths in the archive's folder. All must be in the same folder.
fn by_path(entries: Vec<Entry>) -> Result<StoredFiles, FormatError> {
    let has_checksums = entries.iter().any(|entry| entry.crc32 != 0);
    let is_program = |path: &str| path.ends_with("/constants.pkl") || path.contains("/code/");
    if entries.iter().any(|entry| is_program(&entry.path)) {
        let found = "a TorchScript archive, which is a program";
        return Err(FormatError::new("weights of torch.save", found));
    }
    let mut folder: Option<String> = None;
    let mut files = StoredFiles::new();
    for Entry { path, is_stored, crc32, data: (start, end), .. } in entries {
        if !is_stored {
            let expected = "uncompressed files, as torch.save writes them";
            return Err(FormatError::new(expected, format!("{path:?}, compressed")));
        }
        let (parent, name) = path.split_once('/').unwrap_or(("", &path));
        if folder.get_or_insert_with(|| parent.to_string()) != parent {
            return Err(FormatError::new("all files in one folder", format!("{path:?}")));
        }
        let crc32 = has_checksums.then_some(crc32);
        let file = StoredFile { start, length: end - start, crc32 };
        if files.insert(name.to_ascii_lowercase(), file).is_some() {
            return Err(FormatError::new("every file once", format!("{name} twice")));
        }
    }
    Ok(files)
}
