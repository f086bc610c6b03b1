#![no_main]

mod read;

// Only zip archives: anything else is another target's.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    if !bytes.starts_with(b"PK\x03\x04") {
        return libfuzzer_sys::Corpus::Reject;
    }
    read::read(bytes);
    libfuzzer_sys::Corpus::Keep
});
