//! The published weights, as a table: torchvision's, one row each.

use crate::error::{Error, Result};
use crate::vision::Preset;
use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

/// A published file of weights: its address, its checksum, and the network that it is for.
///
/// [`PUBLISHED`] has torchvision's files. You can describe files on your own server in the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The name of the network: see [`by_name`](crate::architecture::NetworkConfig::by_name).
    pub name: Cow<'static, str>,
    /// The address of the folder that has the file. A [mirror](super::HubOptions::mirror) replaces it.
    pub base: Cow<'static, str>,
    /// The name of the file, both there and in the cache.
    pub file: Cow<'static, str>,
    /// The size of the file.
    pub size: Size,
    /// The file's SHA-256 in hexadecimal, or as much of its beginning as is published: 8 to 64 digits. Eight
    /// digits detect damage and wrong files, but not forgery; only the connection (https) protects against
    /// that.
    pub sha256: Cow<'static, str>,
    /// The name of the [`Preset`] that the weights were trained with.
    pub preset: Cow<'static, str>,
    /// The top-1 accuracy on ImageNet's validation set with a center crop, in percent.
    pub top1: f64,
    /// The top-5 accuracy, likewise.
    pub top5: f64,
    /// A note on the terms of use.
    pub license: Cow<'static, str>,
}

/// The size of a published file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// In MiB, rounded to three decimals, so up to 524 bytes more or less.
    Mib(f64),
    /// In bytes, exactly.
    Bytes(u64),
}

impl Size {
    /// The sizes in bytes that the file may have.
    pub fn range(self) -> RangeInclusive<u64> {
        const MIB: f64 = 1048576.0;
        match self {
            Size::Mib(mib) => {
                ((mib - 0.0005) * MIB).ceil() as u64..=((mib + 0.0005) * MIB).floor() as u64
            }
            Size::Bytes(bytes) => bytes..=bytes,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Size::Mib(mib) => write!(formatter, "{mib:.3} MiB"),
            Size::Bytes(bytes) => write!(formatter, "{bytes} bytes"),
        }
    }
}

/// torchvision's weights, as described in torchvision 0.29.
#[rustfmt::skip]
pub static PUBLISHED: [Published; 9] = [
    row("alexnet",  "alexnet-owt-7be5be79.pth", 233.087, "7be5be79", 56.522, 79.066),
    row("vgg11",    "vgg11-8a719046.pth",       506.840, "8a719046", 69.020, 88.628),
    row("vgg11_bn", "vgg11_bn-6002323d.pth",    506.881, "6002323d", 70.370, 89.810),
    row("vgg13",    "vgg13-19584684.pth",       507.545, "19584684", 69.928, 89.246),
    row("vgg13_bn", "vgg13_bn-abd245e5.pth",    507.590, "abd245e5", 71.586, 90.374),
    row("vgg16",    "vgg16-397923af.pth",       527.796, "397923af", 71.592, 90.382),
    row("vgg16_bn", "vgg16_bn-6c64b313.pth",    527.866, "6c64b313", 73.360, 91.516),
    row("vgg19",    "vgg19-dcbb9e9d.pth",       548.051, "dcbb9e9d", 72.376, 90.876),
    row("vgg19_bn", "vgg19_bn-c79401a0.pth",    548.143, "c79401a0", 74.218, 91.842),
];

const fn row(
    name: &'static str,
    file: &'static str,
    mib: f64,
    sha256: &'static str,
    top1: f64,
    top5: f64,
) -> Published {
    Published {
        name: Cow::Borrowed(name),
        base: Cow::Borrowed("https://download.pytorch.org/models"),
        file: Cow::Borrowed(file),
        size: Size::Mib(mib),
        sha256: Cow::Borrowed(sha256),
        preset: Cow::Borrowed("imagenet"),
        top1,
        top5,
        license: Cow::Borrowed(
            "torchvision's code is BSD-3-Clause; it grants no license for the weights, which may be \
             subject to the terms of the data they were trained on, ImageNet",
        ),
    }
}

impl Published {
    /// The published weights of the network of that name.
    ///
    /// # Errors
    /// [`Error::NotPublished`], which lists the networks that have some.
    pub fn by_name(name: &str) -> Result<&'static Published> {
        let names = || PUBLISHED.iter().map(|row| &*row.name).collect::<Vec<_>>().join(", ");
        PUBLISHED
            .iter()
            .find(|row| row.name == name)
            .ok_or_else(|| Error::NotPublished { network: name.into(), known: names() })
    }

    /// The preset that the weights were trained with.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there is no preset of that name.
    pub fn preset(&self) -> Result<Preset> {
        Preset::by_name(&self.preset)
    }

    /// Checks that the file's name cannot lead out of the cache folder, and that the checksum has enough
    /// digits.
    pub(super) fn validate(&self) -> Result<()> {
        let error = |what: &str, expected: &str, found: &str| {
            let place = format!("published weights {}: {what}", self.name);
            Err(Error::Setting { place, expected: expected.into(), found: found.into() })
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !self.file.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !self.file.chars().all(plain)
        {
            return error(
                "file",
                "a name of letters, digits and `._-` that begins with a letter or digit",
                &self.file,
            );
        }
        let digits = self.sha256.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        if !digits || !(8..=64).contains(&self.sha256.len()) {
            return error("sha256", "8 to 64 hexadecimal digits in lower case", &self.sha256);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::NetworkConfig;

    #[test]
    fn every_row_is_a_network_and_a_preset_of_this_crate() {
        let known: Vec<String> =
            NetworkConfig::all().iter().map(|config| config.table().name).collect();
        for row in &PUBLISHED {
            assert!(known.contains(&row.name.to_string()), "{}", row.name);
            row.preset().expect("a preset");
            row.validate().expect("a valid row");
            let network = NetworkConfig::by_name(&row.name).expect("a network").architecture();
            let network = network.expect("a valid table");
            assert_eq!(Published::of(&network).expect("its row"), row);
            // torchvision's file names end with the hash, and a .pth has little more than the values.
            assert!(row.file.ends_with(&format!("-{}.pth", row.sha256)), "{}", row.file);
            let values: u64 = network.parameters().map(|p| p.elements()).sum();
            let spare = row.size.range().start() - 4 * values;
            assert!(spare < 40_000, "{}: {spare} bytes more than its values", row.name);
        }
    }

    #[test]
    fn a_rounded_size_is_a_range() {
        assert_eq!(Size::Mib(1.0).range(), 1_048_052..=1_049_100);
        assert_eq!(Size::Bytes(7).range(), 7..=7);
    }

    #[test]
    fn rows_that_would_leave_the_cache_or_accept_anything_are_refused() {
        let row = PUBLISHED[0].clone();
        for file in ["", "../a", "a/b", "a\\b", ".hidden", "a?b"] {
            assert!(Published { file: file.into(), ..row.clone() }.validate().is_err(), "{file}");
        }
        for sha256 in ["", "7be5be7", "7BE5BE79", "7be5be7g"] {
            assert!(Published { sha256: sha256.into(), ..row.clone() }.validate().is_err());
        }
    }
}
