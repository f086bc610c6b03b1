//! What is served without `--weights`.

use crate::network::Loaded;
use crate::options::Options;

/// The networks that ship with the program, with their names: what is served if no weights files are given.
pub fn shipped_networks(_options: &Options) -> Result<Vec<(String, Loaded)>, String> {
    Err("no network to serve; name a weights file: --weights FILE".into())
}
