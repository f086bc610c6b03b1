//! What the command lines of the examples share. An error is one message on stderr and exit code 1, never a
//! panic.

// No example uses all of it.
#![allow(dead_code)]

pub mod preset;
pub mod progress;
pub mod views;

use alexnet_vgg_core::architecture::{Architecture, FreshWeights, NetworkConfig};
use alexnet_vgg_core::engine::{CompileOptions, Compiled, Isa, LinearWeights, Precision, Threads};
use alexnet_vgg_core::printable;
use alexnet_vgg_core::weights::{Naming, Weights};
use clap::{Args, Parser};
use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

/// The weights file of the digits network that comes with the library, from the root of the repository.
pub const DIGITS: &str = "crates/core/samples/digits.safetensors";

/// The arguments of the command line, or if there are none, `otherwise`, after a line that says so. Its first argument is
/// a file of the repository.
pub fn parse_or<A: Parser>(otherwise: &[&str]) -> A {
    if std::env::args_os().len() > 1 {
        return A::parse();
    }
    if !Path::new(otherwise[0]).exists() {
        return parse_needing(&otherwise.join(" "));
    }
    warn(format!("Without arguments, the same as with: {}\n\n", otherwise.join(" ")));
    A::parse_from([env!("CARGO_BIN_NAME")].iter().chain(otherwise))
}

/// The arguments of the command line. If there are none, the program ends with a line that says what it needs.
pub fn parse_needing<A: Parser>(example: &str) -> A {
    if std::env::args_os().len() > 1 {
        return A::parse();
    }
    let name = env!("CARGO_BIN_NAME");
    warn(format!("{name} needs arguments, such as: {example}  (--help lists all of them)\n"));
    std::process::exit(2)
}

/// Help for an option that names a network.
pub fn networks(what: &str) -> String {
    let names: Vec<String> =
        NetworkConfig::all().iter().map(|config| config.table().name).collect();
    format!("{what}: {}", names.join(", "))
}

/// Whose names the tensors of a file have.
pub fn names(naming: Option<Naming>) -> String {
    naming.map_or("matched by the order of its layers".into(), |naming| {
        format!("names as in {naming}")
    })
}

/// Options of the compiled engine.
#[derive(Args)]
pub struct EngineArgs {
    /// How precise the compiled engine is: f32, int16-convolutions, int8-linear, or fast, which combines the last two.
    #[arg(long, default_value_t)]
    pub precision: Precision,
    /// How the compiled engine stores the weights of linear layers: int24, int20, int16, or int8. Default: as --precision
    /// says.
    #[arg(long)]
    pub linear_weights: Option<LinearWeights>,
    /// Threads of the compiled engine. Default: one for each core.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Instruction set of the compiled engine: avx512, avx2 or portable. Default: the best that
    /// this CPU has.
    #[arg(long)]
    pub isa: Option<Isa>,
}

impl EngineArgs {
    pub fn options(&self) -> CompileOptions {
        let threads = self.threads.map_or_else(Threads::default, Threads::Dedicated);
        let options = CompileOptions::from(self.precision);
        CompileOptions {
            linear_weights: self.linear_weights.unwrap_or(options.linear_weights),
            threads,
            isa: self.isa,
            ..options
        }
    }

    /// The precision, and the weights of linear layers if they have one of their own.
    pub fn precision_name(&self) -> String {
        match self.linear_weights {
            Some(weights) => format!("{}, {weights} linear weights", self.precision),
            None => self.precision.to_string(),
        }
    }

    pub fn are_given(&self) -> bool {
        self.precision != Precision::default()
            || self.linear_weights.is_some()
            || self.threads.is_some()
            || self.isa.is_some()
    }
}

/// Chooses a network in a weights file.
#[derive(Args)]
pub struct KeyArgs {
    /// Which network, if the weights file has several: a path of keys in a checkpoint, such as model_ema or
    /// ema.state_dict, or the beginning of tensors' names, such as teacher.
    #[arg(long)]
    pub key: Option<String>,
}

impl KeyArgs {
    /// Opens a weights file, and prints what in it is not used.
    pub fn open(&self, path: &Path) -> alexnet_vgg_core::Result<Weights> {
        let weights = match &self.key {
            Some(key) => Weights::open_at(path, key)?,
            None => Weights::open(path)?,
        };
        weights.notices().iter().for_each(|notice| warn(format!("note: {}\n", printable(notice))));
        Ok(weights)
    }
}

/// An untrained network: its weights are random.
pub fn untrained(
    architecture: &Architecture,
    seed: u64,
    options: CompileOptions,
) -> alexnet_vgg_core::Result<Compiled> {
    let fresh = FreshWeights::new(seed);
    let values = |parameter: &_, rows| Ok(fresh.rows(parameter, rows));
    Compiled::from_values(architecture, options, values)
}

/// `Ok` unless the weights are far too large for the machine, before any memory is used for them.
pub fn expect_memory(architecture: &Architecture) -> Result<(), Box<dyn Error>> {
    let bytes: u64 = architecture.parameters().map(|parameter| 4 * parameter.elements()).sum();
    if Vec::<u8>::new().try_reserve_exact(usize::try_from(bytes)?).is_err() {
        let name = &architecture.name;
        return Err(format!("{name}: its weights, {bytes} bytes, do not fit in memory").into());
    }
    Ok(())
}

/// Parses a height and a width, such as `224,224`.
pub fn size(text: &str) -> Result<[usize; 2], String> {
    let sides: Option<Vec<usize>> = text.split(',').map(|side| side.trim().parse().ok()).collect();
    match sides.as_deref() {
        Some(&[height, width]) => Ok([height, width]),
        _ => Err(format!("expected height,width such as 224,224, found {text}")),
    }
}

/// Refuses to write to a file that is also read.
pub fn expect_no_input(output: &Path, inputs: &[&Path]) -> Result<(), String> {
    let Ok(output_file) = output.canonicalize() else { return Ok(()) };
    let is_output = |input: &&Path| input.canonicalize().is_ok_and(|input| input == output_file);
    match inputs.iter().copied().find(is_output) {
        Some(input) => Err(format!(
            "{}: --output would overwrite the input {}",
            output.display(),
            input.display()
        )),
        None => Ok(()),
    }
}

/// The message of an error about a file, with the file's path in it exactly once.
pub fn with_path(path: &Path, error: &alexnet_vgg_core::Error) -> String {
    let (path, error) = (printable(&path.display().to_string()), error.to_string());
    if error.starts_with(&path) { error } else { format!("{path}: {error}") }
}

/// Prints to stdout. Unlike `println!` it does not panic if the reader is gone, as in `shapes | head -1`.
pub fn print(text: impl Display) -> Result<(), Box<dyn Error>> {
    Ok(write!(io::stdout(), "{text}")?)
}

/// Prints to stderr. If that fails, there is no other place to report it.
pub fn warn(text: impl Display) {
    let _ = write!(io::stderr(), "{text}");
}

/// The exit code of a program, after printing its error. A reader that is gone is not an error.
pub fn finish(result: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let is_broken_pipe = |error: &io::Error| error.kind() == ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    warn(format!("error: {error}\n"));
    ExitCode::FAILURE
}
