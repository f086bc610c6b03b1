//! A compiled network from a weights file alone.

use super::{CompileOptions, Compiled};
use crate::error::Result;
use crate::weights::{LoadOptions, Weights};
use std::path::Path;

impl Compiled {
    /// Compiles the network that a weights file is for. The file itself tells which network that
    /// is, its number of classes, its width and its [metadata](Self::metadata), so none of them has
    /// to be given.
    ///
    /// ```no_run
    /// use alexnet_vgg_core::engine::{CompileOptions, Compiled};
    /// use alexnet_vgg_core::predict::Classifier;
    ///
    /// let model = Compiled::open("best.safetensors", CompileOptions::default())?;
    /// let classifier = Classifier::builder(model).build()?;
    /// println!("{}", classifier.classify_file("photo.jpg")?.predictions[0].label);
    /// # Ok::<(), alexnet_vgg_core::Error>(())
    /// ```
    ///
    /// For a file that fits more than one network, choose one with [`Weights::network`] and load it
    /// with [`from_weights`](Self::from_weights).
    ///
    /// # Errors
    /// As for [`Weights::open`], [`Weights::network`] and [`from_weights`](Self::from_weights).
    pub fn open(path: impl AsRef<Path>, options: impl Into<CompileOptions>) -> Result<Self> {
        Self::open_weights(&Weights::open(path)?, options)
    }

    /// As [`open`](Self::open), for a weights file that is open already.
    ///
    /// # Errors
    /// As for [`Weights::network`] and [`from_weights`](Self::from_weights).
    pub fn open_weights(weights: &Weights, options: impl Into<CompileOptions>) -> Result<Self> {
        let load = LoadOptions::default();
        Self::from_weights(weights.network(None, load)?, weights, load, options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::VggConfig;
    use crate::metadata::Metadata;
    use crate::vision::{Labels, Preset};
    use crate::weights::{SaveOptions, save};

    #[test]
    fn a_file_needs_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("vgg.safetensors");
        let config = VggConfig::vgg11_lrn().with_width(0.05).with_num_classes(3);
        let metadata = Metadata::from(Preset::caffe()).with_labels(Labels::new(["a", "b", "c"]));
        let architecture = config.architecture().expect("valid");
        save(&architecture, &metadata, &path, &SaveOptions::default(), |parameter, rows| {
            Ok(vec![0.01; rows.len() * parameter.shape[1..].iter().product::<usize>()])
        })
        .expect("written");
        let compiled = Compiled::open(&path, CompileOptions::default()).expect("a network");
        assert_eq!(compiled.architecture().name, "vgg11_lrn");
        assert_eq!(compiled.architecture().num_classes(), 3);
        assert_eq!(compiled.metadata(), &metadata);
    }
}
