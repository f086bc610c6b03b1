//! The programs that run the other runtimes: a Python that has them, and one of our own for those in Rust.

use crate::comparison::Case;
use crate::harness::Outcome;
use crate::harness::peer::Peer;
use crate::runtimes::{Class, Runtime};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");

/// The modules of all the packages in requirements.txt.
const IMPORTS: &str = "import cv2, MNN, ncnn, nncf, onnx, onnxruntime, openvino, pnnx, torch";

/// Those that the selected runtimes need.
pub struct Programs {
    python: PathBuf,
    rust: PathBuf,
}

/// The files that all runtimes read.
pub struct Files {
    pub onnx: PathBuf,
    pub weights: PathBuf,
    pub images: PathBuf,
    /// For what the runtimes make of the network.
    pub folder: PathBuf,
}

impl Programs {
    /// Installs and builds what is missing, in the folder.
    pub fn new(runtimes: &[Runtime], python: Option<&Path>, folder: &Path) -> Outcome<Self> {
        let mut programs = Self { python: PathBuf::new(), rust: PathBuf::new() };
        if let Some(runtime) = runtimes.iter().find(|runtime| runtime.class != Class::Rust) {
            let python = python.ok_or_else(|| {
                format!("{} needs a Python: expected `--peer PYTHON`, found none", runtime.name)
            })?;
            programs.python = python_with_runtimes(python, folder)?;
        }
        if runtimes.iter().any(|runtime| runtime.class == Class::Rust) {
            programs.rust = rust_runtimes(folder)?;
        }
        Ok(programs)
    }

    /// The process of a runtime.
    pub fn start(&self, runtime: Runtime, case: &Case, files: &Files) -> Outcome<Peer> {
        let mut command;
        if runtime.class == Class::Rust {
            command = Command::new(&self.rust);
            command.args([runtime.name, case.network]).args([&files.onnx, &files.weights]);
        } else {
            command = Peer::python(&self.python, include_str!("peers.py"));
            command.args([runtime.name.as_ref(), files.folder.as_os_str()]).arg(&files.onnx);
        }
        command.arg(&files.images).args(case.numbers());
        // burn and candle ask rayon for the number of threads, and several others OpenMP.
        let [_, threads] = case.numbers();
        Peer::start(command.env("RAYON_NUM_THREADS", &threads).env("OMP_NUM_THREADS", &threads))
    }
}

/// `python` itself if it has the runtimes, or else an environment of it in the folder, into which they
/// are installed.
fn python_with_runtimes(python: &Path, folder: &Path) -> Outcome<PathBuf> {
    let has_runtimes = Command::new(python)
        .args(["-c", IMPORTS])
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
    let requirements = Path::new(SOURCES).join("requirements.txt");
    run(Command::new(&own).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements))?;
    Ok(own)
}

/// The program of the folder `rust_runtimes`, built for this machine's processor, as candle advises.
fn rust_runtimes(folder: &Path) -> Outcome<PathBuf> {
    let target = folder.join("rust");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(Path::new(SOURCES).join("rust_runtimes/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTFLAGS", "-C target-cpu=native"))?;
    Ok(target.join("release/alexnet-vgg-rust-runtimes"))
}

fn run(command: &mut Command) -> Outcome<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
