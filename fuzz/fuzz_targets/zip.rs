#![no_main]

mod read;

// Zip archives only: other formats have targets of their own.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    if !bytes.starts_with(b"PK\x03\x04") {
        return libfuzzer_sys::Corpus::Reject;
    }
    read::read(bytes);
    libfuzzer_sys::Corpus::Keep
});
