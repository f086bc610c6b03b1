//! Labeled pictures, and which of the network's classes they are of.

use crate::cli;
use alexnet_vgg::printable;
use alexnet_vgg::train::PictureList;
use alexnet_vgg::vision::Labels;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Where pictures that were not trained on are by custom.
const PARTS: [&str; 4] = ["test", "val", "valid", "validation"];
/// Names in a message.
const MOST_NAMES: usize = 10;

/// Pictures and their classes.
pub struct Pictures {
    /// The names of the classes.
    pub labels: Labels,
    pub files: Vec<PathBuf>,
    /// Of each file.
    pub classes: Vec<usize>,
}

impl Pictures {
    /// Of a folder with one folder for each class, of the part of it that is for tests, or of a CSV file.
    pub fn find(data: &Path) -> alexnet_vgg::Result<Self> {
        // A `test` whose pictures lie side by side has no classes to tell.
        let parts = PARTS.iter().map(|part| data.join(part)).filter(|part| part.is_dir());
        let mut lists = parts.filter_map(|part| Some((PictureList::folder(&part).ok()?, part)));
        let list = match lists.next() {
            Some((list, part)) => {
                cli::complain(format!("evaluating on {}\n", part.display()));
                list
            }
            None => {
                let (list, valid) = PictureList::open(data)?;
                valid.unwrap_or(list)
            }
        };
        let (labels, classes) = (Labels::new(list.labels().to_vec()), list.classes().to_vec());
        Ok(Self { labels, files: list.paths().collect(), classes })
    }

    /// The same with the network's classes: those of the folders' names, or, if nobody knows what the
    /// network calls its classes, in the order of the folders.
    pub fn of_network(self, stated: Option<Labels>, count: usize) -> Result<Self, Box<dyn Error>> {
        let Some(labels) = stated else { return self.in_order(count) };
        labels.expect_classes(count)?;
        let place = |name: &String| labels.names().iter().position(|label| label == name);
        let places: Vec<Option<usize>> = self.labels.names().iter().map(place).collect();
        let names = |names: Vec<&String>| {
            let shown: Vec<String> =
                names.iter().take(MOST_NAMES).map(|it| printable(it)).collect();
            let more = if names.len() > MOST_NAMES { ", ..." } else { "" };
            shown.join(", ") + more
        };
        let unknown = self.labels.names().iter().zip(&places).filter(|(_, place)| place.is_none());
        let unknown: Vec<&String> = unknown.map(|(name, _)| name).collect();
        if !unknown.is_empty() {
            let known = names(labels.names().iter().collect());
            let unknown = names(unknown);
            return Err(
                format!("the network has no class {unknown}; its classes are {known}").into()
            );
        }
        let is_missing = |name: &&String| !self.labels.names().contains(name);
        let missing: Vec<&String> = labels.names().iter().filter(is_missing).collect();
        if !missing.is_empty() {
            cli::complain(format!("no pictures of {}\n", names(missing)));
        }
        let classes = self.classes.iter().filter_map(|&folder| places[folder]).collect();
        Ok(Self { labels, classes, ..self })
    }

    fn in_order(self, count: usize) -> Result<Self, Box<dyn Error>> {
        match self.labels.count() == count {
            true => {
                cli::complain(
                    "the weights do not name their classes; taken for them, in order, are the folders\n",
                );
                Ok(self)
            }
            false => Err(format!(
                "the weights have {count} classes and do not name them, the data has {} folders; --labels \
                FILE says which are which",
                self.labels.count()
            )
            .into()),
        }
    }
}
