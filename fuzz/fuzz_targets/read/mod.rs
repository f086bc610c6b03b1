//! Everything that a user can ask of a weights file, asked of a stranger's.

use alexnet_vgg_core::weights::Weights;

pub fn read(bytes: &[u8]) {
    let Ok(weights) = Weights::from_bytes("fuzz", bytes.to_vec()) else { return };
    let names: Vec<String> = weights.tensors().map(|tensor| tensor.name.to_string()).collect();
    for (name, tensor) in names.iter().zip(weights.tensors()) {
        // A listed tensor lies in the file, so it cannot have more bytes.
        assert!(tensor.bytes() <= bytes.len() as u64, "{name} has {} bytes", tensor.bytes());
        if let Ok(values) = weights.values(name) {
            assert_eq!(values.len() as u64, tensor.bytes() / (tensor.dtype.bitsize() as u64 / 8));
            assert!(values.iter().all(|value| value.is_finite()));
        }
    }
    let _ = weights.verify();
    let _ = weights.preset();
    let _ = weights.labels();
    // This walks the tables of all networks, which takes a hundred times as long as the rest.
    if bytes.len() % 1024 == 7 {
        let _ = weights.identify();
    }
}
