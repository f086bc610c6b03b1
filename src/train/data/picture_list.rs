//! Lists of picture files and their classes.

use super::broken_picture::BrokenPicture;
use super::{class_folders, csv_list, split_folders};
use crate::train::hex_digest::hex_digest;
use crate::vision::augment::{ColorPca, ColorStatistics};
use crate::vision::decode_file;
use crate::{Error, Result};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Picture files and their classes. No file is read before it is needed.
///
/// ```no_run
/// use alexnet_vgg::train::PictureList;
///
/// let (train, valid) = match PictureList::open("flowers")? {
///     (train, Some(valid)) => (train, valid),
///     (all, None) => all.split(0.1, 0)?,
/// };
/// println!("{} pictures of {:?}, {} to validate", train.len(), train.labels(), valid.len());
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureList {
    /// The folder or file that the list was read from, for messages.
    pub(super) source: PathBuf,
    /// The folder that the file names are relative to.
    pub(super) folder: PathBuf,
    pub(super) labels: Vec<String>,
    pub(super) files: Vec<File>,
    /// The class of each file, an index into `labels`.
    pub(super) classes: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// With slashes, whatever the system.
    name: String,
    bytes: u64,
}

impl PictureList {
    /// The training set at `path`, and the validation set if there is one.
    ///
    /// - A folder with `train` or `training`, and with `val`, `valid`, `validation`, `test` or `testing` (the first
    ///   that exists), in any case, has both. Each is a [folder of classes](Self::folder) or, with the extension
    ///   `.csv`, a [CSV file](Self::csv). Both lists have the classes of the training set.
    /// - Otherwise `path` is one folder of classes or CSV file, without a validation set: see
    ///   [`split`](Self::split).
    ///
    /// # Errors
    /// As for [`folder`](Self::folder) and [`csv`](Self::csv), and [`Error::Setting`] for a class that only the
    /// validation set has, and for a folder in which a training set or a validation set seems to be missing.
    pub fn open(path: impl AsRef<Path>) -> Result<(Self, Option<Self>)> {
        let path = path.as_ref();
        match split_folders::parts(path)? {
            Some((train, valid)) => {
                let train = Self::read(&train)?.expect_two_classes()?;
                let valid = Self::read(&valid)?.with_labels(train.labels())?;
                Ok((train, Some(valid)))
            }
            None => Ok((Self::read(path)?.expect_two_classes()?, None)),
        }
    }

    /// A folder with one folder per class, as torchvision's `ImageFolder` reads it. The classes are the names of
    /// the folders, sorted. The pictures of a class are all files in its folder, at any depth, whose extension
    /// is of a format that [`decode_file`] supports. Names that begin with a dot are ignored.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read, [`Error::Setting`] for fewer than two classes, a class without
    /// pictures, or a file name that is not UTF-8.
    pub fn folder(path: impl AsRef<Path>) -> Result<Self> {
        Self::read_folder(path.as_ref())?.expect_two_classes()
    }

    /// A CSV file of two columns: the path of a picture, relative to the folder of the CSV file, and the name of
    /// its class. The classes are sorted by name.
    ///
    /// The first line is a header if its columns are `path`, `file`, `filename` or `image`, and `label` or
    /// `class`, in any case, unless there is a picture with that name.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read or a listed picture does not exist, [`Error::Setting`] for other
    /// columns or fewer than two classes.
    pub fn csv(path: impl AsRef<Path>) -> Result<Self> {
        Self::read_csv(path.as_ref())?.expect_two_classes()
    }

    /// A list of `(path, label)`: files, relative to `folder`, and the names of their classes, which are sorted.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that does not exist, [`Error::Setting`] if there are no files.
    pub fn new(
        folder: impl Into<PathBuf>,
        pictures: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let folder = folder.into();
        let (names, of): (Vec<String>, Vec<String>) = pictures.into_iter().unzip();
        if names.is_empty() {
            return Err(wrong(folder.display(), "pictures", "none"));
        }
        let mut labels: Vec<_> = of.iter().collect();
        labels.sort();
        labels.dedup();
        // The search always succeeds.
        let class = |label| labels.binary_search(&label).unwrap_or_default();
        let classes = of.iter().map(class).collect();
        let labels = labels.into_iter().cloned().collect();
        let file = |name: String| {
            let path = folder.join(&name);
            let bytes = path.metadata().map_err(Error::io(&path))?.len();
            Ok(File { name, bytes })
        };
        let files = names.into_iter().map(file).collect::<Result<_>>()?;
        Ok(Self { source: folder.clone(), folder, labels, files, classes })
    }

    fn read(path: &Path) -> Result<Self> {
        if path.is_dir() { Self::read_folder(path) } else { Self::read_csv(path) }
    }

    fn read_folder(path: &Path) -> Result<Self> {
        Self::new(path, class_folders::pictures(path)?)
    }

    fn read_csv(path: &Path) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let list = Self::new(folder, csv_list::pictures(path, folder)?)?;
        Ok(Self { source: path.into(), ..list })
    }

    fn expect_two_classes(self) -> Result<Self> {
        match &self.labels[..] {
            [only] => {
                let found = format!("only `{only}`");
                Err(wrong(self.source.display(), "at least two classes", found))
            }
            _ => Ok(self),
        }
    }

    /// The number of pictures.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no picture.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The names of the classes.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The class of each picture, an index into [`labels`](Self::labels).
    pub fn classes(&self) -> &[usize] {
        &self.classes
    }

    /// The file of each picture, in order.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = PathBuf> + '_ {
        self.files.iter().map(|file| self.folder.join(&file.name))
    }

    /// The file of one picture.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn path(&self, index: usize) -> PathBuf {
        self.folder.join(&self.files[index].name)
    }

    /// The number of pictures of each class.
    pub fn per_class(&self) -> Vec<usize> {
        let mut counts = vec![0; self.labels.len()];
        self.classes.iter().for_each(|&class| counts[class] += 1);
        counts
    }

    /// The same pictures with their classes numbered as in `labels`, which may have classes without pictures: the
    /// labels of the training set for a validation set, or those of the weights for a test set.
    ///
    /// # Errors
    /// [`Error::Setting`] for a class that is not in `labels`.
    pub fn with_labels(mut self, labels: &[String]) -> Result<Self> {
        let place = |label: &String| labels.iter().position(|other| other == label);
        let places: Vec<_> = self.labels.iter().map(place).collect();
        for class in &mut self.classes {
            *class = places[*class].ok_or_else(|| {
                let expected = format!("the classes {}", few_names(labels.iter()));
                wrong(self.source.display(), &expected, format!("`{}`", self.labels[*class]))
            })?;
        }
        self.labels = labels.to_vec();
        Ok(self)
    }

    /// `Ok` if the classes are `labels`, in this order.
    ///
    /// # Errors
    /// [`Error::Setting`] with the classes that are missing or not expected.
    pub fn expect_labels(&self, labels: &[String]) -> Result<()> {
        if self.labels == labels {
            return Ok(());
        }
        let missing: Vec<_> = labels.iter().filter(|l| !self.labels.contains(l)).collect();
        let extra: Vec<_> = self.labels.iter().filter(|l| !labels.contains(l)).collect();
        let found = match (missing.is_empty(), extra.is_empty()) {
            (true, true) => format!("another order, {}", few_names(self.labels.iter())),
            (false, true) => format!("no {}", few_names(missing)),
            (true, false) => format!("also {}", few_names(extra)),
            (false, false) => format!("no {}, but {}", few_names(missing), few_names(extra)),
        };
        let expected = format!("the classes {}", few_names(labels.iter()));
        Err(wrong(self.source.display(), &expected, found))
    }

    /// The principal components of the colors of all pixels (AlexNet paper, section 4.1). Every file is read
    /// once, on rayon's threads.
    ///
    /// # Errors
    /// Those of [`decode_file`], unless broken pictures are skipped; [`Error::Setting`] if there is no pixel.
    pub fn principal_colors(&self, broken: BrokenPicture) -> Result<ColorPca> {
        let of = |file: &File| match decode_file(self.folder.join(&file.name)) {
            Ok(photo) => Ok(ColorStatistics::from_photo(&photo)),
            Err(error) if broken.skips(&error) => Ok(ColorStatistics::default()),
            Err(error) => Err(error),
        };
        let merge = |mut all: ColorStatistics, other: ColorStatistics| {
            all.merge(&other);
            Ok(all)
        };
        let all = self.files.par_iter().map(of).try_reduce(ColorStatistics::default, merge)?;
        all.pca()
    }

    /// The SHA-256 of the labels, and of each file's name, class and size.
    pub(super) fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        // Zero bytes separate names, which contain none.
        self.labels.iter().for_each(|label| hash.update(format!("{label}\0")));
        for (File { name, bytes }, class) in self.files.iter().zip(&self.classes) {
            hash.update(format!("{name}\0{class}\0{bytes}\0"));
        }
        hex_digest(hash)
    }
}

/// The first few names, as text.
fn few_names<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    const SHOWN: usize = 12;
    let mut names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        let more = names.len() - SHOWN;
        names.truncate(SHOWN);
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

pub(super) fn wrong(place: impl Display, expected: &str, found: impl Display) -> Error {
    Error::Setting { place: place.to_string(), expected: expected.into(), found: found.to_string() }
}
