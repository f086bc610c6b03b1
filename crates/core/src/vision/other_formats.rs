//! Files that people take for photos, by their first bytes.

/// What a file is that no decoder here reads, and what to do about it.
pub(super) fn describe(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(64);
    let text: Vec<u8> = text.map(|byte| byte.to_ascii_lowercase()).collect();
    let starts = |start: &[u8]| bytes.starts_with(start);
    Some(match bytes.get(4..12) {
        _ if bytes.is_empty() => "an empty file",
        Some([b'f', b't', b'y', b'p', brand @ ..]) => match brand {
            b"avif" | b"avis" => "an AVIF picture; convert it to PNG or JPEG",
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs"
            | b"mif1" | b"msf1" => {
                "a HEIC photo; convert it to JPEG, as with `heif-convert` or `magick`"
            }
            b"crx " => "a raw photo; develop it to JPEG",
            _ => "a film (MP4 or its like)",
        },
        _ if starts(b"\xff\x0a") || starts(b"\0\0\0\x0cJXL ") => {
            "a JPEG XL picture; convert it to PNG or JPEG"
        }
        _ if starts(b"\0\0\0\x0cjP  ") || starts(b"\xff\x4f\xff\x51") => {
            "a JPEG 2000 picture; convert it to PNG or JPEG"
        }
        _ if starts(b"II*\0\x10\0\0\0CR") => "a raw photo; develop it to JPEG",
        _ if starts(b"8BPS") => "a Photoshop document; export it as PNG or JPEG",
        _ if starts(b"%PDF") => "a PDF document",
        _ if starts(b"\0\0\x01\0") => "an icon (ICO); convert it to PNG",
        _ if starts(b"PK\x03\x04") => "a ZIP archive; unpack it",
        _ if text.starts_with(b"versionhttps://git-lfs") => {
            "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"
        }
        _ if text.starts_with(b"<!doctypehtml") || text.starts_with(b"<html") => {
            "a web page, perhaps in place of a picture that could not be downloaded"
        }
        _ if text.starts_with(b"<svg") || text.starts_with(b"<?xml") => {
            "an SVG drawing or other XML; export it as PNG"
        }
        _ if bytes.iter().all(|byte| *byte == 0) => "nothing but zeros, as after a failed copy",
        _ => return None,
    })
}
