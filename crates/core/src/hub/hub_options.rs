//! The options of the cache and of downloads.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Where files are downloaded from and to, and how patiently. The function [`fetch`](super::fetch)
/// uses the options of the [environment](Self::from_env).
///
/// ```
/// use alexnet_vgg_core::hub::HubOptions;
///
/// let options = HubOptions { progress: false, retries: 0, ..HubOptions::in_folder("weights") };
/// assert!(options.cache.ends_with("weights"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HubOptions {
    /// The folder of the cache, which is created if necessary.
    pub cache: PathBuf,
    /// The address of a folder to download from instead of [`Published::base`](super::Published::base); the
    /// name of the file is appended.
    pub mirror: Option<String>,
    /// Verify the SHA-256 of a cached file on every load, even if the file has not changed.
    pub always_verify: bool,
    /// Show messages on stderr, and a progress bar if stderr is a terminal.
    pub progress: bool,
    /// How long to wait for the server's answer, and then for each further piece of the file. The
    /// download as a whole may take any amount of time.
    pub time_limit: Duration,
    /// How often to try again after a broken connection, a timeout, or a server error (5xx, 429).
    pub retries: u32,
    /// The pause before the first retry; it doubles with each further one, up to 30 s.
    pub retry_wait: Duration,
}

impl HubOptions {
    /// The default options with this folder as the cache.
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

    /// The default options, changed by the [environment variables](super).
    ///
    /// # Errors
    /// [`Error::Setting`] for a variable with an invalid value, and if `ALEXNET_VGG_CACHE` is not set and the
    /// platform has no cache folder.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let error = |place: &str, expected: &str, found: String| {
            Err(Error::Setting { place: place.into(), expected: expected.into(), found })
        };
        let cache = variable("ALEXNET_VGG_CACHE").map(PathBuf::from);
        let Some(cache) = cache.or_else(|| Some(dirs::cache_dir()?.join("alexnet-vgg"))) else {
            let expected = "a folder, because this user has no cache folder";
            return error("ALEXNET_VGG_CACHE", expected, "nothing".into());
        };
        let mirror = variable("ALEXNET_VGG_MIRROR").map(|value| value.to_string_lossy().into());
        let always_verify = match variable("ALEXNET_VGG_VERIFY") {
            None => false,
            Some(value) if value == "always" => true,
            Some(value) => {
                let found = value.to_string_lossy().into();
                return error("ALEXNET_VGG_VERIFY", "`always` or nothing", found);
            }
        };
        Ok(Self { mirror, always_verify, ..Self::in_folder(cache) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> Result<HubOptions> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        HubOptions::from_variables(|name| find(name).map(|(_, value)| value.into()))
    }

    #[test]
    fn environment_variables_change_the_defaults() {
        let read = options(&[
            ("ALEXNET_VGG_CACHE", "here"),
            ("ALEXNET_VGG_MIRROR", "http://mirror/weights/"),
            ("ALEXNET_VGG_VERIFY", "always"),
        ]);
        let read = read.expect("valid variables");
        assert!(read.always_verify && read.cache.ends_with("here"));
        assert_eq!(read.mirror.as_deref(), Some("http://mirror/weights/"));

        let unset = [("ALEXNET_VGG_CACHE", "here"), ("ALEXNET_VGG_MIRROR", "")];
        let unset = options(&unset).expect("the defaults");
        assert_eq!(unset, HubOptions::in_folder("here"));

        assert!(options(&[("ALEXNET_VGG_VERIFY", "never")]).is_err());
    }
}
