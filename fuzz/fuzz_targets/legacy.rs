#![no_main]

mod read;

/// The pickle that every legacy file begins with, which the fuzzer need not find.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match bytes.starts_with(MAGIC) {
        true => read::read(bytes),
        false => read::read(&[MAGIC, bytes].concat()),
    }
});
