//! Which network a weights file is loaded into, if the caller does not say or only says its name.

use super::description::{describe, listed};
use super::matched_tensors::NetworkPart;
use super::{LoadOptions, Weights};
use crate::architecture::NetworkConfig;
use crate::error::{Error, Result};

/// The most differences from the nearest network that are listed.
const MAX_DIFFERENCES: usize = 4;

impl Weights {
    /// The network that this file's weights are loaded into, with the number of classes, the input channels
    /// and the width that the file's tensors have.
    ///
    /// The network is the only one that the file can be [identified](Self::identify) as. A file
    /// whose metadata names its network (every safetensors file that this crate writes) is always
    /// identified as one. For all other files a `hint` resolves the rare ambiguities; the result
    /// keeps the hint's remaining settings, such as its dropout. With [`LoadOptions::features`] a
    /// file without this network's classifier is accepted too; the number of classes is then the
    /// hint's.
    ///
    /// ```
    /// use alexnet_vgg_core::architecture::VggConfig;
    /// use alexnet_vgg_core::weights::{LoadOptions, SaveOptions, Weights, save};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("vgg.safetensors");
    /// let tiny = VggConfig::vgg13().with_width(0.05).with_num_classes(10).architecture()?;
    /// save(&tiny, &Default::default(), &path, &SaveOptions::default(), |parameter, rows| {
    ///     Ok(vec![0.5; rows.len() * parameter.shape[1..].iter().product::<usize>()])
    /// })?;
    ///
    /// let network = Weights::open(&path)?.network(None, LoadOptions::default())?.architecture()?;
    /// assert_eq!((network.name.as_str(), network.num_classes()), ("vgg13", 10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// With a hint, [`Error::WeightsMismatch`] with every difference between the file and that network. Without
    /// one, [`Error::Setting`] if the file fits no network or more than one.
    pub fn network(
        &self,
        hint: Option<&NetworkConfig>,
        options: LoadOptions,
    ) -> Result<NetworkConfig> {
        let Some(hint) = hint else { return self.only_network(options) };
        let parts = if options.features_only {
            // The classifier is the hint's, whatever the file has.
            &[NetworkPart::Features][..]
        } else {
            &[NetworkPart::Whole]
        };
        let identity = self.identify_among(std::slice::from_ref(hint), parts);
        let found = identity.and_then(|identity| identity.networks.into_iter().next());
        let config = found.unwrap_or_else(|| self.with_sizes_of_file(hint));
        match self.reader(&config.architecture()?, options) {
            Ok(_) => Ok(config),
            Err(error) => Err(self.with_own_network(error)),
        }
    }

    /// The error for another network than the file's: which that is says more than all tensors that differ.
    fn with_own_network(&self, error: Error) -> Error {
        let own = self.identify().filter(|identity| !identity.features_only);
        match (error, own.as_ref().map(|identity| &identity.networks[..])) {
            (Error::WeightsMismatch { path, network, .. }, Some([own]))
                if own.table().name != network =>
            {
                let differences = vec![format!("all tensors are those of {}", own.table().name)];
                Error::WeightsMismatch { path, network, differences }
            }
            (error, _) => error,
        }
    }

    fn only_network(&self, options: LoadOptions) -> Result<NetworkConfig> {
        let identity = self.identify();
        let is_usable =
            options.features_only || !identity.as_ref().is_some_and(|it| it.features_only);
        match identity.map_or(Vec::new(), |it| it.networks).as_slice() {
            [network] if is_usable => Ok(network.clone()),
            networks => Err(self.not_one_network(networks, is_usable)),
        }
    }

    fn not_one_network(&self, networks: &[NetworkConfig], is_usable: bool) -> Error {
        let names: Vec<String> = networks.iter().map(|config| config.table().name).collect();
        let several = if names.is_empty() { self.prefixes_of_several() } else { Vec::new() };
        let found = if !several.is_empty() {
            let prefixes = several.join(" and ");
            format!(
                "several, whose tensors begin with {prefixes}; `--key` and `Weights::open_at` choose one of them"
            )
        } else if names.is_empty() {
            let held = describe(&self.contents.tensors);
            let nearest = self.nearest_network().map_or(String::new(), |(network, differences)| {
                let first = differences.iter().take(MAX_DIFFERENCES).cloned().collect::<Vec<_>>();
                let others = differences.len() - first.len();
                let others =
                    if others > 0 { format!("; and {others} more") } else { String::new() };
                format!(
                    "; the nearest is {network}, from which it differs: {}{others}",
                    first.join("; ")
                )
            });
            format!("{held}{nearest}")
        } else if is_usable {
            let names = names.join(", ");
            format!("tensors that fit {names}; choose one with --model, or with a hint in Rust")
        } else {
            let classifier = self.contents.tensors.iter();
            let classifier = classifier.filter(|tensor| tensor.shape().len() == 2);
            let classifier: Vec<_> =
                classifier.map(|tensor| format!("{} {:?}", tensor.name, tensor.shape())).collect();
            let classifier = if classifier.is_empty() {
                "and no classifier".into()
            } else {
                format!("with another classifier: {}", listed(classifier))
            };
            format!(
                "only the convolutional part of {}, {classifier}; `LoadOptions::features()` loads that part",
                names.join(" or ")
            )
        };
        Error::Setting {
            place: self.source.path().display().to_string(),
            expected: "the weights of exactly one known network".into(),
            found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Architecture, VggConfig};
    use crate::weights::{Naming, SaveOptions, save};
    use std::path::PathBuf;

    /// A sixteenth of every layer is a whole number of channels, so the width can be read from any layer.
    fn tiny(config: VggConfig) -> VggConfig {
        config.with_width(0.0625).with_num_classes(7)
    }

    /// A file in PyTorch's format, which does not say which network it is for.
    fn file(folder: &tempfile::TempDir, architecture: &Architecture, naming: Naming) -> Weights {
        let path: PathBuf = folder.path().join("weights.pth");
        let options = SaveOptions { naming, ..SaveOptions::default() };
        save(architecture, &Default::default(), &path, &options, |parameter, rows| {
            Ok(vec![0.5; rows.len() * parameter.shape[1..].iter().product::<usize>()])
        })
        .expect("written");
        Weights::open(&path).expect("a weights file")
    }

    #[test]
    fn a_file_that_fits_one_network_needs_no_hint() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = tiny(VggConfig::vgg11_bn());
        let weights = file(&folder, &config.architecture().expect("valid"), Naming::Timm);
        let found = weights.network(None, LoadOptions::default()).expect("one network");
        let [found, expected] =
            [found.architecture(), config.architecture()].map(|it| it.expect("valid"));
        assert_eq!(found.steps(), expected.steps());

        let wrong = weights.network(Some(&VggConfig::vgg13().into()), LoadOptions::default());
        let error = wrong.expect_err("another network").to_string();
        // At the file's own width and classes, so that only true differences are listed.
        assert!(error.contains("not the weights of vgg13") && !error.contains("4096"), "{error}");
    }

    #[test]
    fn a_hint_resolves_an_ambiguity_and_keeps_its_settings() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = tiny(VggConfig::vgg11_lrn());
        let weights = file(&folder, &config.architecture().expect("valid"), Naming::Paper);
        let error = weights.network(None, LoadOptions::default()).expect_err("two networks");
        assert!(
            error.to_string().contains("fit vgg11, vgg11_lrn; choose one with --model"),
            "{error}"
        );

        let hint: NetworkConfig = VggConfig::vgg11_lrn().with_dropout(0.25).into();
        let found = weights.network(Some(&hint), LoadOptions::default()).expect("one network");
        assert_eq!(found.table(), config.with_dropout(0.25).table());
    }

    #[test]
    fn the_convolutional_part_alone_must_be_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        // A width that the features alone determine exactly.
        let config = tiny(VggConfig::vgg16()).with_width(0.0625);
        let features = config.architecture().expect("valid").without_classifier();
        let weights = file(&folder, &features, Naming::Torchvision);
        let error = weights.network(None, LoadOptions::default()).expect_err("no classifier");
        assert!(error.to_string().contains("only the convolutional part of vgg16"), "{error}");

        let hint: NetworkConfig = VggConfig::vgg16().with_num_classes(3).into();
        let error =
            weights.network(Some(&hint), LoadOptions::default()).expect_err("no classifier");
        assert!(error.to_string().contains("classifier"), "{error}");
        let found = weights.network(Some(&hint), LoadOptions::features()).expect("vgg16");
        let found = found.architecture().expect("valid");
        assert_eq!((found.name.as_str(), found.num_classes()), ("vgg16", 3));
    }

    #[test]
    fn a_file_of_no_known_network_says_what_it_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut table = tiny(VggConfig::vgg11()).table();
        // Without the last convolution and its ReLU.
        let end = table.features.len();
        table.features.drain(end - 3..end - 1);
        let weights = file(&folder, &Architecture::new(table).expect("valid"), Naming::Torchvision);
        let error = weights.network(None, LoadOptions::default()).expect_err("unknown");
        let error = error.to_string();
        for part in [
            "7 convolutions (4, 8, 16, 16, 32, 32, 32 channels) and 3 linear layers (",
            "classifier.6.weight [7, 256]",
            "the nearest is vgg11, from which it differs: features.18.weight: missing",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
