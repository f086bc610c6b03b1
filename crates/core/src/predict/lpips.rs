//! LPIPS' files of learned channel weights.

use super::perceptual::PerceptualDistance;
use crate::error::{Error, Result};
use crate::weights::Weights;
use std::path::Path;

impl PerceptualDistance {
    /// LPIPS with its learned weights, from a file of its authors' package (`weights/v0.1/vgg.pth` or
    /// `alex.pth`), or any other with the tensors `lin0.model.1.weight` to `lin4.model.1.weight`, each `[1, C, 1,
    /// 1]`. Their sizes tell whether they are for VGG16 or AlexNet.
    ///
    /// The distance is that of the package if the network has torchvision's weights and the images are preprocessed
    /// by [`Preset::imagenet`](crate::vision::Preset::imagenet). (Version 0.0 of LPIPS takes images from -1
    /// to 1, which is a mean and a standard deviation of 0.5.)
    ///
    /// # Errors
    /// As for [`Weights::open`]; [`Error::Setting`] if the file has other tensors, such as the seven of
    /// SqueezeNet.
    pub fn lpips(path: impl AsRef<Path>) -> Result<Self> {
        Self::lpips_from_weights(&Weights::open(path)?)
    }

    /// [`lpips`](Self::lpips) from a file that is open.
    ///
    /// # Errors
    /// As for [`lpips`](Self::lpips).
    pub fn lpips_from_weights(file: &Weights) -> Result<Self> {
        let shape = |name: &str| {
            file.tensors().find(|tensor| tensor.name == name).map(|tensor| tensor.shape.to_vec())
        };
        let names = (0..).map(|layer| format!("lin{layer}.model.1.weight"));
        let found: Vec<(String, Vec<usize>)> =
            names.map_while(|name| Some((name.clone(), shape(&name)?))).collect();
        let channels = found.iter().map_while(|(_, shape)| match shape[..] {
            [1, channels, 1, 1] => Some(channels),
            _ => None,
        });
        let distance = match channels.collect::<Vec<_>>()[..] {
            [first, second, _, _, _] if second == 2 * first => Self::vgg16(),
            [first, second, _, _, _] if second == 3 * first => Self::alexnet(),
            _ => {
                let shapes = found.iter().map(|(name, shape)| format!("{name} {shape:?}"));
                let shapes = shapes.collect::<Vec<_>>().join(", ");
                return Err(Error::Setting {
                    place: "LPIPS".into(),
                    expected: "lin0.model.1.weight to lin4.model.1.weight, for VGG16 or AlexNet"
                        .into(),
                    found: if shapes.is_empty() { "none of them".into() } else { shapes },
                });
            }
        };
        let weights = found.iter().map(|(name, _)| file.values(name)).collect::<Result<_>>()?;
        file.verify()?;
        Ok(distance.with_weights(Some(weights)))
    }
}
