//! The query of `/v1/classify`: which network, how many classes, which views, and whether with heat maps.

use crate::network::Network;
use crate::networks::Networks;
use crate::problem::{BAD_QUERY, NO_SUCH_MODEL, Problem};
use alexnet_vgg_core::predict::Classifier;
use alexnet_vgg_core::vision::Views;
use serde::Deserialize;
use std::sync::Arc;

/// As it is written in the address.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifyQuery {
    model: Option<String>,
    top_k: Option<usize>,
    views: Option<String>,
    heatmap: Option<bool>,
}

/// What is asked of each picture.
#[derive(Clone)]
pub struct Question {
    pub network: Arc<Network>,
    /// With the views and the number of classes that were asked for.
    pub classifier: Arc<Classifier>,
    pub wants_heat_map: bool,
}

const DEFAULT_TOP_K: usize = 5;

impl ClassifyQuery {
    /// Finds the network and checks the rest.
    pub fn question(self, networks: &Networks, max_views: usize) -> Result<Question, Problem> {
        let Some(network) = networks.find(self.model.as_deref()) else {
            let name = self.model.unwrap_or_default();
            let all = networks.all();
            let known: Vec<&str> = all.iter().map(|network| network.name.as_str()).collect();
            let detail = format!("expected model={}, found {name:?}", known.join(" or model="));
            return Err(Problem::new(NO_SUCH_MODEL, detail).with("models", known));
        };
        let views = match self.views.as_deref() {
            None => Views::center(),
            Some(names) => views(names, &network)?,
        };
        let count = views.as_slice().len();
        if count > max_views {
            let detail = format!(
                "views: expected at most {max_views} views of a picture, found {count}; ask for fewer, or start \
                 the service with a larger --max-views"
            );
            return Err(Problem::new(BAD_QUERY, detail).with("limit_views", max_views));
        }
        let top_k = self.top_k.unwrap_or(DEFAULT_TOP_K);
        let classifier = Arc::new(network.classifier(views, top_k)?);
        Ok(Question { network, classifier, wants_heat_map: self.heatmap.unwrap_or(false) })
    }
}

/// Views by name, joined with `+`. A space is a `+` that was not escaped.
fn views(names: &str, network: &Network) -> Result<Views, Problem> {
    let mut views: Option<Views> = None;
    for name in names.split(['+', ' ']).map(str::trim).filter(|name| !name.is_empty()) {
        let named = match name {
            "paper" => Views::paper(network.loaded.compiled.architecture()),
            name => name.parse()?,
        };
        views = Some(match views {
            Some(views) => views.joined_with(named),
            None => named,
        });
    }
    Ok(views.unwrap_or_else(Views::center))
}
