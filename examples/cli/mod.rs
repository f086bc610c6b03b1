//! How the examples end: an error is one message on stderr and exit code 1, never a panic.

use std::error::Error;
use std::process::ExitCode;

pub fn finish(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
