//! A Python that has the other runtimes.

use crate::harness::Outcome;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/requirements.txt");

/// `python` itself if it has the runtimes, or else an environment of it in the folder, into which they
/// are installed.
pub fn with_runtimes(python: &Path, folder: &Path) -> Outcome<PathBuf> {
    let has_runtimes = Command::new(python)
        .args(["-c", "import MNN, ncnn, onnxruntime, openvino, pnnx, torch"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("{} does not start: {error}", python.display()))?;
    if has_runtimes.success() {
        return Ok(python.into());
    }
    let environment = folder.join("python");
    let own = environment.join("bin/python");
    if !own.exists() {
        run(Command::new(python).args(["-m", "venv"]).arg(&environment))?;
    }
    run(Command::new(&own).args(["-m", "pip", "install", "--quiet", "-r", REQUIREMENTS]))?;
    Ok(own)
}

fn run(command: &mut Command) -> Outcome<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
