//! A network that is served.

use crate::options::Options;
use alexnet_vgg_core::engine::Compiled;
use alexnet_vgg_core::predict::{Batcher, Classifier};
use alexnet_vgg_core::samples::Sample;
use alexnet_vgg_core::vision::{Preset, Views};

/// A network in memory, with what is known about it.
pub struct Loaded {
    /// With a preset in its metadata.
    pub compiled: Compiled,
    /// Pictures that ship with it.
    pub samples: &'static [Sample],
}

/// A network with its batcher.
pub struct Network {
    pub name: String,
    pub loaded: Loaded,
    pub batcher: Batcher,
    /// A classifier of the center crop: for the preset and the labels.
    pub classifier: Classifier,
}

impl Network {
    /// With a batcher that goes on with the statistics of a former one.
    pub fn new(
        name: String,
        loaded: Loaded,
        former: Option<&Self>,
        options: &Options,
    ) -> alexnet_vgg_core::Result<Self> {
        let classifier = Classifier::builder(loaded.compiled.clone()).build()?;
        warm_up(&loaded.compiled, classifier.preset(), options.max_batch)?;
        let batcher = match former {
            Some(former) => former.batcher.successor(loaded.compiled.clone(), options.batches()),
            None => Batcher::new(loaded.compiled.clone(), options.batches()),
        }?;
        Ok(Self { name, loaded, batcher, classifier })
    }

    /// A classifier for a request.
    pub fn classifier(&self, views: Views, top_k: usize) -> alexnet_vgg_core::Result<Classifier> {
        let builder = Classifier::builder(self.loaded.compiled.clone());
        let labels = self.classifier.labels().clone();
        builder.views(views).top_k(top_k).labels(labels).build()
    }
}

/// Plans the batches that will come and allocates their memory, so that the first requests need not wait for it: see
/// [`Batcher`] for their sizes.
fn warm_up(compiled: &Compiled, preset: &Preset, max_batch: usize) -> alexnet_vgg_core::Result<()> {
    let (channels, side) = (preset.channels.count(), preset.crop as usize);
    let classes = compiled.architecture().num_classes();
    let mut size = 1;
    while size <= max_batch {
        let images = vec![0.0; size * channels * side * side];
        compiled.run(&images, [size, channels, side, side], &mut vec![0.0; size * classes])?;
        size *= 2;
    }
    Ok(())
}
