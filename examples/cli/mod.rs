//! How the examples read sizes, speak and end: an error is one message on stderr and exit code 1,
//! never a panic.

// Every example takes what it needs.
#![allow(dead_code)]

pub mod trained;
pub mod views;

use alexnet_vgg::engine::{CompileOptions, Isa, Precision, Threads};
use alexnet_vgg::models::NetworkConfig;
use clap::Args;
use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// The help for an option that names a network.
pub fn networks(what: &str) -> String {
    let names: Vec<String> =
        NetworkConfig::all().iter().map(|config| config.architecture().name).collect();
    format!("{what}: {}", names.join(", "))
}

/// How the compiled engine computes.
#[derive(Args)]
pub struct EngineArgs {
    /// f32, or bf16 for the linear layers' weights (compiled engine).
    #[arg(long, default_value_t)]
    pub precision: Precision,
    /// Threads; default: all of the machine's (compiled engine).
    #[arg(long)]
    pub threads: Option<usize>,
    /// avx512, avx2 or portable; default: the machine's best (compiled engine).
    #[arg(long)]
    pub isa: Option<Isa>,
}

impl EngineArgs {
    pub fn options(&self) -> CompileOptions {
        let threads = self.threads.map_or_else(Threads::default, Threads::Own);
        CompileOptions { precision: self.precision, threads, isa: self.isa }
    }

    pub fn are_given(&self) -> bool {
        self.precision != Precision::default() || self.threads.is_some() || self.isa.is_some()
    }
}

/// Height and width, as `224,224`.
pub fn size(text: &str) -> Result<[usize; 2], String> {
    let sides: Option<Vec<usize>> = text.split(',').map(|side| side.trim().parse().ok()).collect();
    match sides.as_deref() {
        Some(&[height, width]) => Ok([height, width]),
        _ => Err(format!("expected height,width such as 224,224, found {text}")),
    }
}

/// Prints to stdout. `println!` would panic where nobody reads any more, as in `shapes | head -1`.
pub fn print(text: impl Display) -> Result<(), Box<dyn Error>> {
    Ok(write!(io::stdout(), "{text}")?)
}

pub fn finish(result: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let unread = |error: &io::Error| error.kind() == ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(unread) {
        return ExitCode::SUCCESS;
    }
    complain(format!("error: {error}\n"));
    ExitCode::FAILURE
}

/// Prints to stderr. Where nobody listens, nothing can be done about it.
pub fn complain(text: impl Display) {
    let _ = write!(io::stderr(), "{text}");
}
