//! SHA-256 digests as text.

use sha2::{Digest, Sha256};

/// The digest in lowercase hexadecimal.
pub(super) fn hex_digest(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
