#![no_main]

mod read;

// Files of Caffe only: they begin with a name, or a layer of either version of the format.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    if !matches!(bytes.first(), Some(0x0a | 0x12 | 0xa2)) {
        return libfuzzer_sys::Corpus::Reject;
    }
    read::read(bytes);
    libfuzzer_sys::Corpus::Keep
});
