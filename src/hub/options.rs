//! Where files come from and go to; and the whole way of one file.

use super::cache::Entry;
use super::download::Download;
use super::registry::Published;
use super::response;
use super::verify::{self, State};
use crate::error::{Error, Result};
use crate::models::{Architecture, Network};
use burn::tensor::backend::Backend;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use ureq::http::Uri;

/// Where files come from and go to, and how patiently. [`fetch`](super::fetch) takes the environment's.
///
/// ```
/// use alexnet_vgg::hub::Options;
///
/// let options = Options { progress: false, retries: 0, ..Options::in_folder("weights") };
/// assert!(options.cache.ends_with("weights"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The cache: a folder, made where there is none.
    pub cache: PathBuf,
    /// Address of a folder to fetch from instead of [`Published::base`](super::Published::base); the file's name is appended.
    pub mirror: Option<String>,
    /// Hash a cached file at every load, even if it did not change.
    pub always_verify: bool,
    /// On stderr: a progress bar if it is a terminal, and what else is going on.
    pub progress: bool,
    /// How long a server may take to answer, and then to send anything more. A slow server that
    /// keeps sending has all the time it needs.
    pub time_limit: Duration,
    /// How often to ask again after a cut connection, silence, or a server's error (5xx, 429).
    pub retries: u32,
    /// The pause before the first of them; each next one is twice as long, up to 30 s.
    pub retry_wait: Duration,
}

impl Options {
    /// The defaults, with this folder as cache.
    pub fn in_folder(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            mirror: None,
            always_verify: false,
            progress: true,
            time_limit: Duration::from_secs(30),
            retries: 5,
            retry_wait: Duration::from_secs(1),
        }
    }

    /// What the environment says, and the defaults for the rest.
    ///
    /// # Errors
    /// [`Error::Setting`] for a variable that makes no sense, or if the platform has no folder for
    /// caches.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let wrong = |place: &str, expected: &str, found: String| {
            Err(Error::Setting { place: place.into(), expected: expected.into(), found })
        };
        let own = variable("ALEXNET_VGG_CACHE").map(PathBuf::from);
        let Some(cache) = own.or_else(|| Some(dirs::cache_dir()?.join("alexnet-vgg"))) else {
            return wrong("ALEXNET_VGG_CACHE", "a folder, as this user has none", "nothing".into());
        };
        let mirror = variable("ALEXNET_VGG_MIRROR").map(|value| value.to_string_lossy().into());
        let always_verify = match variable("ALEXNET_VGG_VERIFY") {
            None => false,
            Some(value) if value == "always" => true,
            Some(value) => {
                let found = value.to_string_lossy().into();
                return wrong("ALEXNET_VGG_VERIFY", "`always` or nothing", found);
            }
        };
        Ok(Self { mirror, always_verify, ..Self::in_folder(cache) })
    }

    /// The path of a published file: fetched, unless it is in the cache, and checked.
    ///
    /// # Errors
    /// [`Error::Download`] if the server cannot be reached, keeps failing, or sends something else;
    /// [`Error::Checksum`] if what came is not the published file (it is deleted); [`Error::Io`] if
    /// the cache cannot be read or written; [`Error::Setting`] if the row or the mirror is not valid.
    pub fn fetch(&self, published: &Published) -> Result<PathBuf> {
        published.validate()?;
        let entry = Entry::new(self, &published.file);
        let check = || verify::check(&entry.file, &entry.checked, published, self.always_verify);
        // Without the lock, so that a cache that nobody may write to serves what it has.
        if check()? == State::Whole {
            return Ok(entry.file);
        }
        let address = self.address(published)?;
        let _until_the_end = entry.lock(self)?;
        match check()? {
            // Another process was faster.
            State::Whole => return Ok(entry.file),
            State::Missing => {}
            State::Damaged(found) => self.say(format_args!(
                "{}: expected {} and SHA-256 {}, found {found}; fetching it again",
                entry.file.display(),
                published.size,
                published.sha256
            )),
        }
        Download { options: self, published, entry: &entry, address }.run()?;
        Ok(entry.file)
    }

    /// A network with the weights of `published`, fetched if necessary.
    ///
    /// # Errors
    /// As for [`fetch`](Self::fetch) and [`Network::load`], and [`Error::Setting`] if the file states
    /// another preset than the row.
    pub fn load<B: Backend>(
        &self,
        published: &Published,
        architecture: impl Into<Architecture>,
        device: &B::Device,
    ) -> Result<Network<B>> {
        with_preset(Network::load(architecture, self.fetch(published)?, device)?, published)
    }

    /// A network with the features of `published`, fetched if necessary, and a fresh classifier.
    ///
    /// # Errors
    /// As for [`fetch`](Self::fetch) and [`Network::load_features`].
    pub fn load_features<B: Backend>(
        &self,
        published: &Published,
        architecture: impl Into<Architecture>,
        device: &B::Device,
    ) -> Result<Network<B>> {
        let network = Network::load_features(architecture, self.fetch(published)?, device)?;
        with_preset(network, published)
    }

    fn address(&self, published: &Published) -> Result<String> {
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
                expected: "http:// or https://, a host, and perhaps a folder".into(),
                found: response::shown(base),
            });
        }
        Ok(format!("{}/{}", base.trim_end_matches('/'), published.file))
    }
}

/// PyTorch's files do not say which preprocessing they want; the row does.
fn with_preset<B: Backend>(network: Network<B>, published: &Published) -> Result<Network<B>> {
    let preset = published.preset()?;
    network.expect_preset(&preset)?;
    Ok(network.with_preset(preset))
}

#[cfg(test)]
mod tests {
    use super::super::registry::PUBLISHED;
    use super::*;

    fn options(variables: &[(&str, &str)]) -> Result<Options> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Options::from_variables(|name| find(name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_environment_says_where_and_how() {
        let read = options(&[
            ("ALEXNET_VGG_CACHE", "here"),
            ("ALEXNET_VGG_MIRROR", "http://mirror/weights/"),
            ("ALEXNET_VGG_VERIFY", "always"),
        ]);
        let read = read.expect("sound variables");
        assert!(read.always_verify && read.cache.ends_with("here"));
        let address = read.address(&PUBLISHED[0]).expect("an address");
        assert_eq!(address, "http://mirror/weights/alexnet-owt-7be5be79.pth");

        let unset = [("ALEXNET_VGG_CACHE", "here"), ("ALEXNET_VGG_MIRROR", "")];
        let unset = options(&unset).expect("defaults");
        assert_eq!(unset, Options::in_folder("here"));
        let address = unset.address(&PUBLISHED[5]).expect("an address");
        assert_eq!(address, "https://download.pytorch.org/models/vgg16-397923af.pth");

        assert!(options(&[("ALEXNET_VGG_VERIFY", "never")]).is_err());
        for mirror in ["ftp://mirror", "http://", "http://user:password@", "mirror/weights", "a?b"]
        {
            let options = Options { mirror: Some(mirror.into()), ..unset.clone() };
            let error = options.address(&PUBLISHED[0]).expect_err(mirror).to_string();
            assert!(error.contains("ALEXNET_VGG_MIRROR") && !error.contains("password"), "{error}");
        }
        for mirror in ["https://host", "HTTP://user:password@[::1]:8080/a/"] {
            let options = Options { mirror: Some(mirror.into()), ..unset.clone() };
            options.address(&PUBLISHED[0]).expect(mirror);
        }
    }
}
