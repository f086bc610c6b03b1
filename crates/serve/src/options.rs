//! The command line.

use crate::log::LogLevel;
use crate::network_source::NetworkSource;
use alexnet_vgg_core::architecture::NetworkConfig;
use alexnet_vgg_core::engine::{CompileOptions, Precision, Threads};
use alexnet_vgg_core::predict::BatchOptions;
use alexnet_vgg_core::vision::Preset;
use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A web service that says what is in pictures, with AlexNet and VGG.
///
/// It has a page to try it, at http://127.0.0.1:8080 by default, and an interface for programs, such as
///
///     curl -F picture=@cat.jpg http://127.0.0.1:8080/v1/classify
///
/// Requests that come at the same time are computed together. SIGTERM and Ctrl-C end it when all accepted requests are
/// answered; SIGHUP reads the weights files again.
#[derive(Parser, Debug)]
#[command(version, verbatim_doc_comment)]
pub struct Options {
    /// A weights file, and the name to serve it under (default: the file's name). Several are served side by side; the
    /// first one is the default. Safetensors, PyTorch's (.pth), Caffe's (.caffemodel) or ONNX.
    #[arg(long, value_name = "[NAME=]FILE", num_args = 1.., value_parser = NetworkSource::parse)]
    pub weights: Vec<NetworkSource>,
    /// The network that the weights files are for, if they could be for several.
    #[arg(long, value_parser = NetworkConfig::by_name)]
    pub model: Option<NetworkConfig>,
    /// The preprocessing that the weights were trained with: a name or a JSON file. Default: as stated in the weights
    /// file, or imagenet.
    #[arg(long, value_name = "NAME|FILE.json", value_parser = Preset::by_name_or_file)]
    pub preset: Option<Preset>,
    /// A file with the names of the classes, for weights files that state none: one on each line, or JSON.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// How precise the networks are: f32, int16-convolutions, int8-linear, or fast.
    #[arg(long, default_value_t)]
    pub precision: Precision,
    /// Threads that compute. Default: one for each core.
    #[arg(long)]
    pub threads: Option<usize>,

    /// The address to listen on. By default, only this machine can connect: there is no TLS and no login, so put a proxy
    /// in front of anything more.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub addr: SocketAddr,

    /// The most images that are computed together.
    #[arg(long, default_value_t = 8, value_name = "IMAGES")]
    pub max_batch: usize,
    /// How long an idle network waits for further requests to compute together.
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS")]
    pub max_wait: u64,
    /// The most images that wait for a network. Beyond that, requests are refused: 503, try again.
    #[arg(long, default_value_t = 256, value_name = "IMAGES")]
    pub queue: usize,
    /// How long after its upload a request may wait to be computed. After that, it is refused: 504.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub deadline: f64,

    /// The largest request.
    #[arg(long, default_value_t = 32, value_name = "MIB")]
    pub max_body: usize,
    /// The most pictures in a request.
    #[arg(long, default_value_t = 32, value_name = "PICTURES")]
    pub max_pictures: usize,
    /// The largest picture.
    #[arg(long, default_value_t = 64, value_name = "MEGAPIXELS")]
    pub max_pixels: u64,
    /// The most views of a picture that a request may ask for.
    #[arg(long, default_value_t = 20, value_name = "VIEWS")]
    pub max_views: usize,
    /// The most pictures that are decoded at the same time. Default: one for each core.
    #[arg(long, value_name = "PICTURES")]
    pub max_decodes: Option<usize>,
    /// The most memory for uploads that are not decoded yet. Beyond that, requests are refused: 503, try again.
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    pub max_uploads: usize,
    /// The most connections. Further ones wait to be accepted.
    #[arg(long, default_value_t = 1024, value_name = "CONNECTIONS")]
    pub max_connections: usize,
    /// How long a client may take to send the head of a request, or leave a connection unused.
    #[arg(long, default_value_t = 15.0, value_name = "SECONDS")]
    pub header_timeout: f64,
    /// How long a client may take to send a request's body.
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    pub upload_timeout: f64,
    /// How long accepted requests may take to be answered after SIGTERM or Ctrl-C.
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    pub drain_timeout: f64,

    /// What is logged, a line each, to standard error: requests (and events), events (start, reload, end), or nothing.
    #[arg(long, value_enum, default_value_t = LogLevel::Requests)]
    pub log: LogLevel,
    /// Instead of serving, ask the service at this address whether it is ready; the exit code is the answer.
    #[arg(long, value_name = "URL")]
    pub check: Option<String>,
}

impl Options {
    /// Checks the ranges.
    pub fn validate(&self) -> Result<(), String> {
        let counts = [
            ("--max-body", self.max_body as u64),
            ("--max-pictures", self.max_pictures as u64),
            ("--max-views", self.max_views as u64),
            ("--max-decodes", self.max_decodes() as u64),
            ("--max-uploads", self.max_uploads as u64),
            ("--max-connections", self.max_connections as u64),
            ("--max-pixels", self.max_pixels),
        ];
        if let Some((name, count)) =
            counts.into_iter().find(|(_, count)| !(1..=1 << 20).contains(count))
        {
            return Err(format!("{name}: expected 1 to {}, found {count}", 1 << 20));
        }
        if self.max_uploads < self.max_body {
            return Err(format!(
                "--max-uploads: expected at least --max-body, {} MiB, found {} MiB",
                self.max_body, self.max_uploads
            ));
        }
        let times = [
            ("--deadline", self.deadline),
            ("--header-timeout", self.header_timeout),
            ("--upload-timeout", self.upload_timeout),
            ("--drain-timeout", self.drain_timeout),
        ];
        match times.into_iter().find(|(_, seconds)| !(*seconds > 0.0 && *seconds <= 86_400.0)) {
            Some((name, seconds)) => {
                Err(format!("{name}: expected above 0 and at most 86400 seconds, found {seconds}"))
            }
            None => self.batches().validate().map_err(|error| error.to_string()),
        }
    }

    pub fn batches(&self) -> BatchOptions {
        BatchOptions {
            max_batch: self.max_batch,
            max_wait: Duration::from_millis(self.max_wait),
            queue: self.queue,
        }
    }

    pub fn engine(&self) -> CompileOptions {
        let threads = self.threads.map_or_else(Threads::default, Threads::Dedicated);
        CompileOptions { threads, ..CompileOptions::from(self.precision) }
    }

    pub fn max_decodes(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.max_decodes.unwrap_or_else(cores)
    }

    /// In bytes.
    pub fn max_body_bytes(&self) -> usize {
        self.max_body << 20
    }

    /// In pixels.
    pub fn max_pixels(&self) -> u64 {
        self.max_pixels * 1_000_000
    }

    pub fn deadline(&self) -> Duration {
        Duration::from_secs_f64(self.deadline)
    }
}
