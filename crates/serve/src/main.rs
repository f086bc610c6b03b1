//! Says what is in pictures, over HTTP: see docs/serving/README.md.
//!
//! A request goes through these files: `connections` (limits of time and number), `router`, `upload` (the body, within
//! limits), `pictures_of_body` (one or several), `classify` (decoded on a few threads by `preparation`, computed in
//! batches by the network's `Batcher`), `answer`. What goes wrong on the way is a `problem`.

mod answer;
mod check;
mod classify;
mod classify_query;
mod connections;
mod heat_map_png;
mod log;
mod metrics;
mod network;
mod network_source;
mod networks;
mod observation;
mod options;
mod page;
mod pictures_of_body;
mod preparation;
mod problem;
mod prometheus;
mod reload;
mod router;
mod service;
mod shipped_networks;
mod signals;
mod upload;

use clap::Parser;
use log::Log;
use networks::Networks;
use options::Options;
use service::Service;
use std::process::ExitCode;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(url) = &options.check {
        return match check::is_ready(url) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn run(options: Options) -> Result<(), String> {
    options.validate()?;
    let log = Log::new(options.log);
    let networks = Networks::load(&options, log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("threads could not be started: {error}"))?;
    let service = Arc::new(Service::new(options, networks, log));
    let result = runtime.block_on(connections::serve(service));
    // A picture that is still being decoded for a client that is gone is not waited for.
    runtime.shutdown_background();
    result
}
