//! All networks that are served. They can be loaded again while they serve.

use crate::log::Log;
use crate::network::Network;
use crate::network_source::NetworkSource;
use crate::options::Options;
use crate::shipped_networks::shipped_networks;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

pub struct Networks {
    current: RwLock<Arc<Vec<Arc<Network>>>>,
    /// Held while weights are read: one reload after the other.
    reloading: Mutex<()>,
}

/// A network whose file could not be loaded, and why.
pub struct Failed {
    pub name: String,
    pub error: String,
}

impl Networks {
    /// Reads all weights files.
    pub fn load(options: &Options, log: Log) -> Result<Self, String> {
        for (index, source) in options.weights.iter().enumerate() {
            if options.weights[..index].iter().any(|other| other.name == source.name) {
                let name = &source.name;
                return Err(format!(
                    "--weights: two networks are named {name}; give one of them another name: NAME=FILE"
                ));
            }
        }
        let mut all = Vec::new();
        if options.weights.is_empty() {
            for (name, loaded) in shipped_networks(options)? {
                let network = Network::new(name, loaded, None, options);
                all.push(Arc::new(network.map_err(|error| error.to_string())?));
            }
        }
        for source in &options.weights {
            all.push(Arc::new(load(source, None, options, log)?));
        }
        Ok(Self { current: RwLock::new(Arc::new(all)), reloading: Mutex::new(()) })
    }

    /// The networks as they are now; the first one is the default.
    pub fn all(&self) -> Arc<Vec<Arc<Network>>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The network of this name, or the default one.
    pub fn find(&self, name: Option<&str>) -> Option<Arc<Network>> {
        let all = self.all();
        match name {
            Some(name) => all.iter().find(|network| network.name == name).cloned(),
            None => all.first().cloned(),
        }
    }

    /// Reads the weights files again. Requests that were accepted before are computed by the networks of before. A network
    /// whose file cannot be loaded stays as it is. Returns the names of those that are new.
    pub fn reload(&self, options: &Options, log: Log) -> (Vec<String>, Vec<Failed>) {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut reloaded, mut failed) = (Vec::new(), Vec::new());
        for source in &options.weights {
            let former = self.find(Some(&source.name));
            match load(source, former.as_deref(), options, log) {
                Ok(network) => {
                    self.replace(network);
                    reloaded.push(source.name.clone());
                }
                Err(error) => {
                    log.event("reload_failed", &[("network", &source.name), ("error", &error)]);
                    failed.push(Failed { name: source.name.clone(), error });
                }
            }
        }
        (reloaded, failed)
    }

    fn replace(&self, network: Network) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let network = Arc::new(network);
        let replaced = current.iter().map(|former| {
            if former.name == network.name { network.clone() } else { former.clone() }
        });
        *current = Arc::new(replaced.collect());
    }

    /// Waits until all networks have computed what was accepted.
    pub fn drain(&self) {
        self.all().iter().for_each(|network| network.batcher.drain());
    }
}

/// Reads a weights file. Its batcher goes on with the statistics of a former one.
fn load(
    source: &NetworkSource,
    former: Option<&Network>,
    options: &Options,
    log: Log,
) -> Result<Network, String> {
    let start = Instant::now();
    let network = Network::new(source.name.clone(), source.load(options)?, former, options);
    let network = network.map_err(|error| format!("{}: {error}", source.file.display()))?;
    log.event(
        "loaded",
        &[
            ("network", &network.name),
            ("architecture", &network.loaded.compiled.architecture().name),
            ("classes", &network.classifier.labels().count()),
            ("seconds", &format_args!("{:.2}", start.elapsed().as_secs_f64())),
        ],
    );
    Ok(network)
}
