//! What `train` does without arguments, and what to do after a run.

use crate::{Args, cli};
use alexnet_vgg::printable;
use std::error::Error;
use std::path::{Path, PathBuf};

/// 160 handwritten digits to train on, and 40 to validate on.
const DATA: &str = "examples/data";
/// A digit that is in neither set.
const DIGIT: &str = "crates/core/samples/digits/7.png";
const OPTIONS: &str =
    "--model vgg13_bn --width 0.25 --head 1 --input 32 --resize 36 --recipe digits --batch 16";

/// The arguments of the command line, or if there are none, those of a run of half a minute into a new folder.
pub fn arguments() -> Args {
    let output = new_folder();
    let mut arguments = vec![DATA];
    arguments.extend(OPTIONS.split(' '));
    arguments.extend(["--output", &output]);
    cli::parse_or(&arguments)
}

/// `digits-run`, or the first of `digits-run-2`, `digits-run-3` and so on that does not exist.
fn new_folder() -> String {
    let (mut name, mut count) = ("digits-run".to_string(), 1);
    while Path::new(&name).exists() {
        count += 1;
        name = format!("digits-run-{count}");
    }
    name
}

pub fn say_what_is_next(run: &Path, data: &Path) -> Result<(), Box<dyn Error>> {
    let [folder, weights] =
        [run.into(), run.join("best.safetensors")].map(|path: PathBuf| path.display().to_string());
    let picture = if data == Path::new(DATA) { DIGIT } else { "PICTURE" };
    cli::print(format!(
        "In {}: curves.svg and confusion.svg to look at, metrics.csv, and the weights. To use them:\n  \
         cargo run --release --example classify -- {picture} --weights {}\n",
        printable(&folder),
        printable(&weights),
    ))
}
