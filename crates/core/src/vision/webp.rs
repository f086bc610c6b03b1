//! WebP files as libwebp takes them, for a decoder that takes fewer.

use std::borrow::Cow;

const FILE_HEADER: usize = 12;
/// Of the flags in the header of an extended file: it has a chunk of EXIF, and of XMP.
const METADATA_FLAGS: u8 = 0b1100;

/// The part of the file that the decoder reads: without bytes behind its end, and without a word about metadata, which
/// some programs announce and leave out. The decoder would allocate whatever a chunk's header asks for, up to 4 GiB, so
/// each chunk is checked.
pub(super) fn readable(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let length = bytes.get(4..8).and_then(|length| length.first_chunk());
    let length = length.map(|length| u32::from_le_bytes(*length) as usize);
    let whole = length.and_then(|length| bytes.get(..length.saturating_add(8)));
    let whole =
        whole.ok_or("a truncated WebP (it is longer by its header); copy or download it again")?;
    let mut rest = whole.get(FILE_HEADER..).unwrap_or_default();
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let [.., a, b, c, d] = *header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if after.len() < length {
            return Err(
                "a damaged WebP (a chunk is longer than the file); copy or download it again"
                    .into(),
            );
        }
        // Chunks are padded to an even length.
        rest = after.get(length + length % 2..).unwrap_or_default();
    }
    let flags = FILE_HEADER + 8;
    let is_extended = whole[FILE_HEADER.min(whole.len())..].starts_with(b"VP8X");
    if is_extended && whole.get(flags).is_some_and(|byte| byte & METADATA_FLAGS != 0) {
        let mut plain = whole.to_vec();
        plain[flags] &= !METADATA_FLAGS;
        return Ok(plain.into());
    }
    Ok(whole.into())
}
