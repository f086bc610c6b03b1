//! Labeled pictures, numbered by the network's classes.

use crate::cli;
use alexnet_vgg::printable;
use alexnet_vgg::train::{CsvOptions, PictureList};
use alexnet_vgg::vision::Labels;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Names listed in a message.
const MAX_NAMES: usize = 10;

/// Pictures and their classes.
pub struct Pictures {
    /// The names of the classes.
    pub labels: Labels,
    pub files: Vec<PathBuf>,
    /// The class of each file.
    pub classes: Vec<usize>,
}

impl Pictures {
    /// The pictures of a folder with a subfolder for each class, of a test folder like that inside
    /// `data`, or of a CSV file.
    pub fn find(data: &Path, csv: &CsvOptions) -> alexnet_vgg::Result<Self> {
        let list = PictureList::open_test(data, csv)?;
        list.notes().iter().for_each(|note| cli::warn(printable(note) + "\n"));
        let (labels, classes) = (Labels::new(list.labels().to_vec()), list.classes().to_vec());
        Ok(Self { labels, files: list.paths().collect(), classes })
    }

    /// The same pictures, numbered by the network's classes: the folders' names are looked up among the
    /// network's labels or, if those are unknown, the folders are taken in order.
    pub fn of_network(self, labels: Option<Labels>, count: usize) -> Result<Self, Box<dyn Error>> {
        let Some(labels) = labels else { return self.in_order(count) };
        labels.expect_classes(count)?;
        let class_of = |name: &String| labels.names().iter().position(|label| label == name);
        let class_of_folder: Vec<Option<usize>> =
            self.labels.names().iter().map(class_of).collect();
        let folders = self.labels.names().iter().zip(&class_of_folder);
        let unknown: Vec<&String> =
            folders.filter(|(_, class)| class.is_none()).map(|(name, _)| name).collect();
        if !unknown.is_empty() {
            let (unknown, known) =
                (list(&unknown), list(&labels.names().iter().collect::<Vec<_>>()));
            return Err(
                format!("the network has no class {unknown}; its classes are {known}").into()
            );
        }
        let is_missing = |name: &&String| !self.labels.names().contains(name);
        let missing: Vec<&String> = labels.names().iter().filter(is_missing).collect();
        if !missing.is_empty() {
            cli::warn(format!("no pictures of {}\n", list(&missing)));
        }
        let classes = self.classes.iter().filter_map(|&folder| class_of_folder[folder]).collect();
        Ok(Self { labels, classes, ..self })
    }

    fn in_order(self, count: usize) -> Result<Self, Box<dyn Error>> {
        let folders = self.labels.count();
        let count = Labels::for_classes(count).count();
        if folders != count {
            return Err(format!(
                "the weights file does not name its {count} classes, and the data has {folders} folders; name \
                 the classes by --labels FILE"
            )
            .into());
        }
        cli::warn(
            "the weights file does not name its classes, so the folders are taken as the classes, in order\n",
        );
        Ok(self)
    }
}

fn list(names: &[&String]) -> String {
    let shown: Vec<String> = names.iter().take(MAX_NAMES).map(|name| printable(name)).collect();
    let more = if names.len() > MAX_NAMES { ", ..." } else { "" };
    shown.join(", ") + more
}
