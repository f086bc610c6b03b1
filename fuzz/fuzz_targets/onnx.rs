#![no_main]

mod read;

// ONNX files only: they begin with the version of the format.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    if bytes.first() != Some(&0x08) {
        return libfuzzer_sys::Corpus::Reject;
    }
    read::read(bytes);
    libfuzzer_sys::Corpus::Keep
});
