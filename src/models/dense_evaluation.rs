//! Dense evaluation (VGG paper, section 3.2): the classifier at every position of a picture of any size.

use super::batch_plan::join;
use super::network::{Network, nan_marker};
use crate::Result;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::module::adaptive_avg_pool2d;
use std::ops::Range;

impl<B: Backend> Network<B> {
    /// Dense evaluation (VGG paper, section 3.2): the class scores at every position, `[N, C, H, W]` to
    /// `[N, num_classes, rows, columns]`, of the size that
    /// [`Architecture::score_map`](super::Architecture::score_map) gives. The first linear layer becomes a
    /// convolution with a window as large as [`Table::pool`](super::Table::pool), the others 1×1
    /// convolutions, with the same weights and without a copy of them. Averaged over its positions, a map
    /// is the logits of the whole picture. Up to the size that the network was designed for there is one
    /// position, whose scores are those of [`try_forward`](Self::try_forward).
    ///
    /// # Errors
    /// As for [`try_forward`](Self::try_forward).
    pub fn score_maps(&self, images: Tensor<B, 4>) -> Result<Tensor<B, 4>> {
        let [batch, _, height, width] = images.dims();
        let plan = self.plan(images.dims(), &images.device())?;
        let [rows, columns] = self.architecture().score_map([height, width])?;
        let classes = self.architecture().num_classes();
        let elements = [batch, classes, rows, columns].iter().map(|&dim| dim as u64).product();
        plan.capacity.expect_tensor("score maps", elements)?;
        let parts = plan.split(images).map(|part| self.scores(part, [rows, columns]));
        Ok(join(parts.collect()))
    }

    fn scores(&self, images: Tensor<B, 4>, [rows, columns]: [usize; 2]) -> Tensor<B, 4> {
        /// Values of the windows that are in memory at once, 32 MiB. They overlap, so all of them would
        /// be many times the size of the map.
        const AT_ONCE: usize = 8 << 20;
        let nan_marker = nan_marker(&images).unsqueeze_dims(&[2, 3]);
        let maps = self.features.iter().fold(images, |x, layer| layer.forward(x));
        let [batch, channels, height, width] = maps.dims();
        let [window_height, window_width] = self.architecture().pool;
        let size = [height.max(window_height), width.max(window_width)];
        let maps = if [height, width] == size { maps } else { adaptive_avg_pool2d(maps, size) };
        let of_a_row = batch * columns * channels * window_height * window_width;
        let at_once = (AT_ONCE / of_a_row.max(1)).clamp(1, rows);
        let bands = (0..rows).step_by(at_once).map(|first| {
            let count = at_once.min(rows - first);
            let shifted = (0..window_height).flat_map(|i| (0..window_width).map(move |j| (i, j)));
            let shifted = shifted.map(|(i, j)| {
                let (top, left) = (first + i, j);
                maps.clone().slice([0..batch, 0..channels, top..top + count, left..left + columns])
            });
            // [N, C, window, rows, columns]
            let windows: Tensor<B, 5> = Tensor::stack(shifted.collect(), 2);
            let positions = batch * count * columns;
            let vectors = windows.permute([0, 3, 4, 1, 2]).reshape([positions as i64, -1]);
            let scores = self.classifier.iter().fold(vectors, |x, layer| layer.forward(x));
            let shape = [batch as i64, count as i64, columns as i64, -1];
            scores.reshape(shape).permute([0, 3, 1, 2])
        });
        Tensor::cat(bands.collect(), 2) + nan_marker
    }

    /// Runs layers of the classifier, by their indices in forward order. NaN stays NaN.
    pub(crate) fn classifier_layers(
        &self,
        layers: Range<usize>,
        vectors: Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        let nan_marker = (vectors.clone().detach() * 0.0).sum_dim(1);
        let first = self.features.len() + 1;
        let layers = self.classifier.iter().skip(layers.start - first).take(layers.len());
        layers.fold(vectors, |x, layer| layer.forward(x)) + nan_marker
    }
}
