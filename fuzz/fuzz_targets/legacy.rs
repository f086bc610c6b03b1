#![no_main]

mod read;

/// The pickle that every legacy file begins with, so that the fuzzer need not find it.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(MAGIC) {
        read::read(bytes);
    } else {
        read::read(&[MAGIC, bytes].concat());
    }
});
