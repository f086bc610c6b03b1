//! Photos per second: of the whole, of its halves, and of a Python that does the same.

use crate::harness::Outcome;
use crate::harness::peer::Peer;
use crate::harness::statistics::median;
use alexnet_vgg_core::engine::Compiled;
use alexnet_vgg_core::predict::{Classifier, Model};
use alexnet_vgg_core::vision::{NormalizedViews, Preset, Views, decode_file};
use rayon::ThreadPool;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Each round measures everything once.
const ROUNDS: usize = 5;
/// Values of one square.
const SQUARE: usize = 3 * 224 * 224;

/// A network, how it sees a photo, and on how many threads.
pub struct Case<'a> {
    pub name: &'a str,
    pub views: &'a str,
    pub threads: usize,
    pub model: &'a Compiled,
    /// The same network for the Python.
    pub onnx: &'a Path,
}

/// The columns of what [`Case::measure`] prints.
pub fn print_header() {
    println!(
        "photos per second; `ready`: files alone; `network`: alone; overlap: whole / the slower of the two\n\
         {:8} {:9} {:>7}  {:>7} {:>7} {:>7} {:>7}  peer (ours / peer)",
        "network", "views", "threads", "whole", "ready", "network", "overlap"
    );
}

impl Case<'_> {
    /// Prints the medians, and those of the ratios of each round.
    pub fn measure(&self, files: &[PathBuf], python: Option<&Path>) -> Outcome<()> {
        let views: Views = self.views.parse()?;
        // Few photos where each takes long.
        let files = match (self.name, self.views) {
            ("vgg16", "center") => &files[..16],
            ("vgg16", _) => &files[..2],
            (_, "center") => files,
            _ => &files[..16],
        };
        let classifier = Classifier::builder(self.model.clone()).views(views.clone()).build()?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build()?;
        let python = python.filter(|_| matches!(self.views, "center" | "ten-crop"));
        let mut peer = python.map(|python| self.start_peer(python, files)).transpose()?;
        let mut rates = [const { Vec::new() }; 4];
        // The first round plans and fills the caches.
        for round in 0..=ROUNDS {
            let of_round = [
                rate(files, || classify_all(&classifier, files, self.threads))?,
                rate(files, || preprocess(files, &views, &pool).map(drop))?,
                network_rate(files, &views, &pool, self.model)?,
                match &mut peer {
                    Some(peer) => files.len() as f64 / peer.seconds::<1>("")?[0],
                    None => f64::NAN,
                },
            ];
            if round > 0 {
                rates.iter_mut().zip(of_round).for_each(|(rates, rate)| rates.push(rate));
            }
        }
        self.report(rates, peer.is_some());
        Ok(())
    }

    /// A Python that classifies all files for each request.
    fn start_peer(&self, python: &Path, files: &[PathBuf]) -> Outcome<Peer> {
        let mut command = Peer::python(python, include_str!("peer.py"));
        command.arg(self.onnx).args([self.views, &self.threads.to_string()]).args(files);
        Peer::start(&mut command)
    }

    fn report(&self, rates: [Vec<f64>; 4], has_peer: bool) {
        let slower = |i: usize| f64::min(rates[1][i], rates[2][i]);
        let overlap = median((0..ROUNDS).map(|i| slower(i) / rates[0][i]).collect());
        let ratio = median((0..ROUNDS).map(|i| rates[0][i] / rates[3][i]).collect());
        let [whole, ready, network, peer] = rates.map(median);
        let Self { name, views, threads, .. } = self;
        print!(
            "{name:8} {views:9} {threads:7}  {whole:7.1} {ready:7.1} {network:7.1} {overlap:7.2}"
        );
        if has_peer {
            println!("  {peer:.1} ({ratio:.2})");
        } else {
            println!();
        }
    }
}

/// Fails where any photo does.
fn classify_all(classifier: &Classifier, files: &[PathBuf], readers: usize) -> Outcome<()> {
    let mut result = Ok(());
    classifier.classify_files(files, readers, |_, classification| {
        result = classification.map(drop);
        result.is_ok()
    })?;
    Ok(result?)
}

/// Photos per second.
fn rate(files: &[PathBuf], run: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let start = Instant::now();
    run()?;
    Ok(files.len() as f64 / start.elapsed().as_secs_f64())
}

fn preprocess(
    files: &[PathBuf],
    views: &Views,
    pool: &ThreadPool,
) -> Outcome<Vec<NormalizedViews>> {
    let preset = Preset::imagenet();
    let preprocess = |file: &PathBuf| preset.views(&decode_file(file)?, views);
    let photos: alexnet_vgg_core::Result<_> =
        pool.install(|| files.par_iter().map(preprocess).collect());
    Ok(photos?)
}

/// Photos per second through the network alone, in the batches that the classifier makes.
fn network_rate(
    files: &[PathBuf],
    views: &Views,
    pool: &ThreadPool,
    model: &Compiled,
) -> Outcome<f64> {
    let photos = preprocess(files, views, pool)?;
    let squares: Vec<f32> = photos.iter().flat_map(|photo| &photo.squares).copied().collect();
    let squares_per_photo = (squares.len() / photos.len() / SQUARE).max(1);
    let batch = (8 / squares_per_photo).max(1) * squares_per_photo;
    rate(files, || {
        for part in squares.chunks(batch * SQUARE) {
            Model::logits(model, part, [part.len() / SQUARE, 3, 224, 224])?;
        }
        for whole in photos.iter().flat_map(|photo| &photo.whole_images) {
            model.score_maps(&whole.values, [1, 3, whole.size[0], whole.size[1]])?;
        }
        Ok(())
    })
}
