//! Gets published files: from the cache, or from the network.

use super::address::redacted;
use super::cache_entry::CacheEntry;
use super::download::Download;
use super::hub_options::HubOptions;
use super::published::Published;
use super::verification::{CachedFile, check};
use crate::error::{Error, Result};
use crate::weights::Weights;
use std::path::PathBuf;
use ureq::http::Uri;

/// The path of a published file in the cache, to which it is downloaded first if necessary.
///
/// # Errors
/// As for [`HubOptions::from_env`] and [`HubOptions::fetch`].
pub fn fetch(published: &Published) -> Result<PathBuf> {
    HubOptions::from_env()?.fetch(published)
}

impl HubOptions {
    /// The path of a published file in the cache, to which it is downloaded first if necessary. The file is
    /// verified.
    ///
    /// # Errors
    /// - [`Error::Download`] if the server cannot be reached, keeps failing, or sends something else;
    /// - [`Error::Checksum`] if what it sent is not the published file (it is deleted);
    /// - [`Error::Io`] if the cache cannot be read or written;
    /// - [`Error::Setting`] if the description of the file or the mirror is not valid.
    pub fn fetch(&self, published: &Published) -> Result<PathBuf> {
        published.validate()?;
        let entry = CacheEntry::new(self, &published.file);
        let check = || check(&entry.file, &entry.verified, published, self.always_verify);
        // First without the lock, so that a read-only cache can be used.
        if check()? == CachedFile::Verified {
            return Ok(entry.file);
        }
        let address = self.address(published)?;
        let _lock = entry.lock(self)?;
        match check()? {
            // Another process has downloaded it meanwhile.
            CachedFile::Verified => return Ok(entry.file),
            CachedFile::Missing => {}
            CachedFile::Damaged(found) => self.report(format_args!(
                "{}: expected {} and SHA-256 {}, found {found}; downloading it again",
                entry.file.display(),
                published.size,
                published.sha256
            )),
        }
        Download { options: self, published, entry: &entry, address }.run()?;
        Ok(entry.file)
    }

    /// Opens published weights, after downloading them if necessary. PyTorch's files do not state their
    /// preset, so that of `published` is added to the [metadata](crate::Metadata).
    ///
    /// # Errors
    /// As for [`fetch`](Self::fetch) and [`Weights::open`], and [`Error::PresetMismatch`] if the file
    /// states another preset than `published`.
    pub fn open(&self, published: &Published) -> Result<Weights> {
        Weights::open(self.fetch(published)?)?.with_preset(&published.preset()?)
    }

    /// The address to download a file from.
    pub(super) fn address(&self, published: &Published) -> Result<String> {
        let base = self.mirror.as_deref().unwrap_or(&published.base);
        let address: Option<Uri> = base.parse().ok();
        let is_folder = |address: Uri| {
            matches!(address.scheme_str(), Some("http" | "https"))
                && address.host().is_some_and(|host| !host.is_empty())
                && address.query().is_none()
        };
        if !address.is_some_and(is_folder) || base.contains('#') {
            return Err(Error::Setting {
                place: "address of the weights (ALEXNET_VGG_MIRROR)".into(),
                expected: "http:// or https://, a host, and optionally a folder".into(),
                found: redacted(base),
            });
        }
        Ok(format!("{}/{}", base.trim_end_matches('/'), published.file))
    }
}

#[cfg(test)]
mod tests {
    use super::super::published::PUBLISHED;
    use super::*;

    #[test]
    fn files_are_below_the_base_or_the_mirror() {
        let default = HubOptions::in_folder("here");
        let address = default.address(&PUBLISHED[5]).expect("an address");
        assert_eq!(address, "https://download.pytorch.org/models/vgg16-397923af.pth");
        let mirrored = |mirror: &str| {
            HubOptions { mirror: Some(mirror.into()), ..default.clone() }.address(&PUBLISHED[0])
        };
        let address = mirrored("http://mirror/weights/").expect("an address");
        assert_eq!(address, "http://mirror/weights/alexnet-owt-7be5be79.pth");
        for mirror in ["ftp://mirror", "http://", "http://user:password@", "mirror/weights", "a?b"]
        {
            let error = mirrored(mirror).expect_err(mirror).to_string();
            assert!(error.contains("ALEXNET_VGG_MIRROR") && !error.contains("password"), "{error}");
        }
        for mirror in ["https://host", "HTTP://user:password@[::1]:8080/a/"] {
            mirrored(mirror).expect(mirror);
        }
    }
}
