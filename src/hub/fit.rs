//! Whether published weights fit a network, before half a gigabyte is fetched.

use super::registry::Published;
use crate::error::{Error, Result};
use crate::models::{Architecture, NetworkConfig, Part};
use std::collections::BTreeMap;

impl Published {
    /// The published weights that fill all of this network.
    ///
    /// # Errors
    /// As for [`features_of`](Self::features_of), and [`Error::Setting`] if it has other classes.
    pub fn of(architecture: &Architecture) -> Result<&'static Published> {
        let row = Self::features_of(architecture)?;
        let theirs = NetworkConfig::by_name(&row.name)?.architecture();
        let [expected, found] = [theirs.num_classes()?, architecture.num_classes()?];
        if expected != found {
            return Err(Error::Setting {
                place: format!("{}, pretrained", row.name),
                expected: format!(
                    "{expected} classes, as published (`pretrained_features` gives a network of \
                     any number of classes the published features and a fresh classifier)"
                ),
                found: found.to_string(),
            });
        }
        expect_same(Part::Classifier, architecture, &theirs)?;
        Ok(row)
    }

    /// The published weights that fill the features of this network. Its classifier may be any, or
    /// none.
    ///
    /// # Errors
    /// [`Error::NotPublished`] if there are none, [`Error::Setting`] if its features are not as wide
    /// as published or take other channels, and [`Error::Table`] if its table is contradictory.
    pub fn features_of(architecture: &Architecture) -> Result<&'static Published> {
        let row = Self::by_name(&architecture.name)?;
        let theirs = NetworkConfig::by_name(&row.name)?.architecture();
        expect_same(Part::Features, architecture, &theirs)?;
        Ok(row)
    }
}

/// `Ok` if both have the same tensors in this part.
fn expect_same(part: Part, ours: &Architecture, theirs: &Architecture) -> Result<()> {
    let prefix = format!("{part}.");
    let shapes = |table: &Architecture| -> Result<BTreeMap<String, Vec<usize>>> {
        let all = table.parameters()?.into_iter().map(|p| (p.key, p.shape));
        Ok(all.filter(|(key, _)| key.starts_with(&prefix)).collect())
    };
    let name = &theirs.name;
    let [ours, theirs] = [shapes(ours)?, shapes(theirs)?];
    let Some(key) = theirs.keys().chain(ours.keys()).find(|key| ours.get(*key) != theirs.get(*key))
    else {
        return Ok(());
    };
    let shape = |found: Option<&Vec<usize>>| found.map_or("none".into(), |it| format!("{it:?}"));
    Err(Error::Setting {
        place: format!("{name}, pretrained: {key}"),
        expected: format!("{}, as published", shape(theirs.get(key))),
        found: shape(ours.get(key)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{AlexNetConfig, VggConfig};

    #[test]
    fn other_networks_are_told_before_anything_is_fetched() {
        let said =
            |table: Architecture| Published::of(&table).expect_err("no such file").to_string();
        let unknown = said(VggConfig::c().architecture());
        assert!(
            unknown.contains("vgg16_c") && unknown.contains("alexnet, vgg11, vgg11_bn"),
            "{unknown}"
        );
        assert!(said(AlexNetConfig::paper().architecture()).contains("vgg19_bn"));
        let ten = VggConfig::vgg16().with_num_classes(10).architecture();
        assert!(said(ten.clone()).contains("pretrained_features"));
        Published::features_of(&ten).expect("any classifier");
        Published::features_of(&ten.without_classifier()).expect("none either");
        let gray = VggConfig::vgg16().with_in_channels(1).architecture();
        let gray = Published::features_of(&gray).expect_err("other features").to_string();
        assert!(
            gray.contains("vgg16, pretrained: features.0.weight") && gray.contains("[64, 1, 3, 3]"),
            "{gray}"
        );
        let narrow = said(VggConfig::vgg16().with_width(0.5).architecture());
        assert!(narrow.contains("[64], as published"), "{narrow}");
    }
}
