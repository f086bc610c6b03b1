//! Finds the published weights for a network, and checks that they fit it before half a gigabyte is
//! downloaded.

use super::published::Published;
use crate::architecture::{Architecture, NetworkConfig, Section};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

impl Published {
    /// The published weights for all of this network.
    ///
    /// # Errors
    /// As for [`features_of`](Self::features_of), and [`Error::PublishedMismatch`] if the classifier of the
    /// network, such as its number of classes, differs from the published one.
    pub fn of(architecture: &Architecture) -> Result<&'static Published> {
        let row = Self::features_of(architecture)?;
        let original = NetworkConfig::by_name(&row.name)?.architecture()?;
        let [expected, found] = [original.num_classes(), architecture.num_classes()];
        if expected != found {
            return Err(Error::PublishedMismatch {
                network: row.name.to_string(),
                place: "classes".into(),
                expected: format!(
                    "{expected}, as published (`LoadOptions::features()` loads the published features \
                     into a network with any number of classes)"
                ),
                found: found.to_string(),
            });
        }
        check_same_tensors(Section::Classifier, architecture, &original)?;
        Ok(row)
    }

    /// The published weights for the features of this network, which may have any classifier, or none.
    ///
    /// # Errors
    /// [`Error::NotPublished`] if there are none, [`Error::PublishedMismatch`] if the features of the network
    /// have another width or another number of input channels than the published ones.
    pub fn features_of(architecture: &Architecture) -> Result<&'static Published> {
        let row = Self::by_name(&architecture.name)?;
        let original = NetworkConfig::by_name(&row.name)?.architecture()?;
        check_same_tensors(Section::Features, architecture, &original)?;
        Ok(row)
    }
}

/// Checks that both networks have the same tensors in this section.
fn check_same_tensors(
    section: Section,
    architecture: &Architecture,
    original: &Architecture,
) -> Result<()> {
    let prefix = format!("{section}.");
    let shapes = |table: &Architecture| -> BTreeMap<String, Vec<usize>> {
        let all = table.parameters().map(|p| (p.key.clone(), p.shape.clone()));
        all.filter(|(key, _)| key.starts_with(&prefix)).collect()
    };
    let network = original.name.clone();
    let [ours, published] = [shapes(architecture), shapes(original)];
    let Some(key) =
        published.keys().chain(ours.keys()).find(|key| ours.get(*key) != published.get(*key))
    else {
        return Ok(());
    };
    let shape = |found: Option<&Vec<usize>>| found.map_or("none".into(), |it| format!("{it:?}"));
    Err(Error::PublishedMismatch {
        network,
        place: key.clone(),
        expected: format!("{}, as published", shape(published.get(key))),
        found: shape(ours.get(key)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{AlexNetConfig, VggConfig};

    #[test]
    fn other_networks_are_refused_before_any_download() {
        let error =
            |table: Architecture| Published::of(&table).expect_err("no such file").to_string();
        let unknown = error(VggConfig::vgg16_c().architecture().expect("valid"));
        assert!(
            unknown.contains("vgg16_c") && unknown.contains("alexnet, vgg11, vgg11_bn"),
            "{unknown}"
        );
        assert!(error(AlexNetConfig::paper().architecture().expect("valid")).contains("vgg19_bn"));
        let ten = VggConfig::vgg16().with_num_classes(10).architecture().expect("valid");
        assert!(error(ten.clone()).contains("LoadOptions::features"));
        Published::features_of(&ten).expect("any classifier");
        Published::features_of(&ten.without_classifier()).expect("none either");
        let gray = VggConfig::vgg16().with_in_channels(1).architecture().expect("valid");
        let gray = Published::features_of(&gray).expect_err("other features").to_string();
        assert!(
            gray.contains("vgg16, pretrained: features.0.weight") && gray.contains("[64, 1, 3, 3]"),
            "{gray}"
        );
        let narrow = error(VggConfig::vgg16().with_width(0.5).architecture().expect("valid"));
        assert!(narrow.contains("[64], as published"), "{narrow}");
    }
}
