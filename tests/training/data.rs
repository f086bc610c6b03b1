//! What training reads: lists of pictures from folders and tables, the order of an epoch, and batches
//! that are the same to the bit on any number of threads and from any point on.

use alexnet_vgg::Result;
use alexnet_vgg::backend::Cpu;
use alexnet_vgg::train::*;
use alexnet_vgg::vision::augment::{Augmentation, ColorPca, Sample, Step};
use alexnet_vgg::vision::{Preset, RgbImage, decode_file};
use burn::data::dataloader::DataLoader;
use image::{DynamicImage, Rgb};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A picture of many colors, another one for each seed.
pub fn picture(seed: u32, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([seed * 17 + 5 * x, seed * 3 + 11 * y, seed + x * y].map(|level| level as u8))
    })
}

pub fn save(picture: impl Into<DynamicImage>, path: impl AsRef<Path>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    picture.into().save(path).expect("a picture");
}

/// Classes `ant`, `bee` and `cat` of 3, 5 and 12 pictures, of several sizes and formats; some are gray.
fn insects_and_a_cat() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut seed = 0;
    for (class, count) in [("bee", 5), ("cat", 12), ("ant", 3)] {
        for index in 0..count {
            seed += 1;
            let picture = picture(seed, 8 + index % 5, 12 - index % 4);
            let path = |extension| folder.path().join(format!("{class}/{index:02}.{extension}"));
            match index % 3 {
                0 => save(picture, path("png")),
                1 => save(DynamicImage::from(picture).to_luma8(), path("PNG")),
                _ => save(picture, path("jpg")),
            }
        }
    }
    folder
}

fn small_preset() -> Preset {
    Preset { resize: 8, crop: 8, ..Preset::imagenet() }
}

fn augmented() -> Augmentation {
    Augmentation {
        name: "of a test".into(),
        steps: vec![
            Step::ScaleJitter { shortest: 8, longest: 12 },
            Step::RandomCrop { side: 8 },
            Step::HorizontalFlip { probability: 0.5 },
            Step::pca_color(),
        ],
    }
}

fn options() -> LoaderOptions {
    LoaderOptions {
        batch: 6,
        micro_batches: 2,
        seed: 3,
        workers: 2,
        ahead: 2,
        ..Default::default()
    }
}

fn loader(examples: impl Examples + 'static, options: LoaderOptions) -> Loader<Cpu> {
    Loader::new(Arc::new(examples), options, &Default::default()).expect("a loader")
}

/// Everything in a micro-batch: index of its batch, whether it is the last, share, classes, samples, values.
type Plain = (u64, bool, f64, Vec<i64>, Vec<Sample>, Vec<f32>);

fn plain(micro_batch: MicroBatch<Cpu>) -> Plain {
    let MicroBatch { batch, batch_index, is_last } = micro_batch;
    let classes = batch.classes.into_data().convert::<i64>().to_vec().expect("classes");
    let values = batch.images.into_data().to_vec().expect("values");
    (batch_index, is_last, batch.share, classes, batch.samples, values)
}

fn epoch(loader: &Loader<Cpu>, epoch: u64, from: u64) -> Vec<Plain> {
    let micro_batches = loader.epoch(epoch, from).expect("threads");
    micro_batches.map(|one| plain(one.expect("a micro-batch"))).collect()
}

#[track_caller]
pub fn expect_error<T>(result: Result<T>, parts: &[&str]) {
    let Err(error) = result else { panic!("no error, where one with {parts:?} is expected") };
    let text = error.to_string();
    parts.iter().for_each(|part| assert!(text.contains(part), "{text:?} without {part:?}"));
}

pub fn names(list: &PictureList, folder: &Path) -> Vec<String> {
    let relative = |path: std::path::PathBuf| path.strip_prefix(folder).map(Path::to_path_buf);
    list.paths().map(|path| relative(path).expect("inside").display().to_string()).collect()
}

#[test]
fn a_folder_of_classes_is_read_in_torchvisions_order() {
    let folder = tempfile::tempdir().expect("a folder");
    // `ImageFolder(folder).imgs` of torchvision 0.29, for these files.
    let torchvision = [
        "a/2.png",
        "b/10.png",
        "b/9.png",
        "b/a/x.bmp",
        "b/a-b/y.jpeg",
        "b/a.b/1.png",
        "b/a/c/z.webp",
    ];
    for file in torchvision {
        save(picture(1, 4, 4), folder.path().join(file));
    }
    for passed_over in [
        "a/notes.txt",
        "a/IMG_1.HEIC",
        "a/._2.png",
        "b/.ipynb_checkpoints/x.png",
        "b/Thumbs.db",
        "__MACOSX/a/x.png",
        ".git/x.png",
        "c.png",
    ] {
        save(picture(1, 4, 4), folder.path().join(passed_over).with_extension("png"));
        let path = folder.path().join(passed_over);
        fs::rename(path.with_extension("png"), path).expect("a file");
    }
    let list = PictureList::folder(folder.path()).expect("a list");
    assert_eq!(list.labels(), ["a", "b"]);
    assert_eq!(list.classes(), [0, 1, 1, 1, 1, 1, 1]);
    assert_eq!(list.per_class(), [1, 6]);
    assert_eq!(names(&list, folder.path()), torchvision);
    let [note] = list.notes() else { panic!("{:?}", list.notes()) };
    assert!(note.contains("left out 1 .heic (convert them to JPEG), 1 .txt; supported:"), "{note}");
}

#[test]
fn folders_named_by_numbers_are_sorted_as_text_as_by_torchvision() {
    let folder = tempfile::tempdir().expect("a folder");
    for class in ["2", "10", "0"] {
        save(picture(1, 4, 4), folder.path().join(class).join("1.png"));
    }
    fs::rename(folder.path().join("0/1.png"), folder.path().join("0/1.jpe")).expect("a file");
    let list = PictureList::folder(folder.path()).expect("a list");
    assert_eq!((list.labels(), list.notes().len()), (&["0", "10", "2"].map(String::from)[..], 0));
}

#[test]
fn a_table_is_read_with_and_without_a_header() {
    let folder = insects_and_a_cat();
    let lines = "bee/00.png,bee\ncat/01.PNG, cat\n\"ant/02.jpg\",ant\nbee/03.png,bee\n";
    let table = folder.path().join("table.csv");
    for header in ["", "path,label\n", "\u{feff}File,Class\r\n"] {
        fs::write(&table, format!("{header}{lines}")).expect("a file");
        let list = PictureList::csv(&table).expect("a list");
        assert_eq!(list.labels(), ["ant", "bee", "cat"]);
        assert_eq!(list.classes(), [1, 2, 0, 1]);
        let paths = ["bee/00.png", "cat/01.PNG", "ant/02.jpg", "bee/03.png"];
        assert_eq!(names(&list, folder.path()), paths);
        assert_eq!(PictureList::open(&table).expect("a list"), (list, None));
    }
    // A picture may have that name.
    save(picture(1, 4, 4), folder.path().join("path.png"));
    fs::rename(folder.path().join("path.png"), folder.path().join("path")).expect("a file");
    fs::write(&table, format!("path,label\n{lines}")).expect("a file");
    assert_eq!(PictureList::csv(&table).expect("a list").len(), 5);
}

#[test]
fn what_is_wrong_with_a_list_is_said() {
    let folder = insects_and_a_cat();
    let write = |text: &[u8]| {
        let table = folder.path().join("table.csv");
        fs::write(&table, text).expect("a file");
        table
    };
    expect_error(PictureList::csv(write(b"bee/00.png,bee\ncat/01.PNG\n")), &["line 2", "cat/01"]);
    expect_error(PictureList::csv(write(b"bee/00.png,bee\n,cat\n")), &["line 2"]);
    expect_error(PictureList::csv(write(b"bee/00.png,b\xe9e\n")), &["table.csv", "UTF-8"]);
    expect_error(PictureList::csv(write(b"bee/00.png,bee\nbee/77.png,cat\n")), &["bee/77.png"]);
    expect_error(PictureList::csv(write(b"path,label\n")), &["table.csv", "`path`", "no file"]);
    expect_error(PictureList::csv(write(b"\n \r\n")), &["table.csv", "no picture"]);
    expect_error(PictureList::open(write(b"bee/00.png,bee\n")), &["table.csv", "`bee`", "two"]);
    expect_error(PictureList::open(folder.path().join("nowhere")), &["nowhere"]);
    expect_error(PictureList::open(folder.path().join("bee/00.png")), &["00.png", "UTF-8"]);
    expect_error(PictureList::folder(folder.path().join("ant")), &["ant", "no folder"]);
    let one = tempfile::tempdir().expect("a folder");
    save(picture(1, 4, 4), one.path().join("dog/1.png"));
    expect_error(PictureList::folder(one.path()), &["two classes", "`dog`"]);
    fs::create_dir_all(one.path().join("eel/deeper")).expect("a folder");
    expect_error(PictureList::folder(one.path()), &["eel", "no file with the extension"]);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_and_links_to_nowhere_are_said() {
    use std::os::unix::{ffi::OsStrExt, fs::symlink};
    let folder = insects_and_a_cat();
    let link = folder.path().join("cat/link.png");
    symlink("gone.png", &link).expect("a link");
    expect_error(PictureList::folder(folder.path()), &["cat/link.png"]);
    fs::remove_file(link).expect("a link");
    // A folder that contains itself.
    symlink("..", folder.path().join("cat/up")).expect("a link");
    expect_error(PictureList::folder(folder.path()), &["cat/up", "loop"]);
    fs::remove_file(folder.path().join("cat/up")).expect("a link");

    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.png");
    fs::rename(folder.path().join("cat/00.png"), folder.path().join("cat").join(name))
        .expect("one");
    expect_error(PictureList::folder(folder.path()), &["UTF-8", "caf"]);
}

#[test]
fn training_and_validation_have_the_same_classes() {
    let root = tempfile::tempdir().expect("a folder");
    for (part, class) in [("train", "a"), ("train", "b"), ("train", "c"), ("valid", "c")] {
        save(picture(1, 4, 4), root.path().join(part).join(class).join("1.png"));
    }
    let open = || PictureList::open(root.path());
    let (train, valid) = open().expect("two lists");
    let valid = valid.expect("a validation set");
    assert_eq!((train.labels(), train.classes()), (valid.labels(), &[0, 1, 2][..]));
    assert_eq!(valid.classes(), [2]);
    save(picture(1, 4, 4), root.path().join("valid/zebra/1.png"));
    expect_error(open(), &["valid", "`zebra`", "`a`, `b`, `c`"]);
    // A table in a folder's place, and `val` comes before `valid`.
    fs::write(root.path().join("val.csv"), "valid/c/1.png,b\n").expect("a file");
    assert_eq!(open().expect("two lists").1.expect("a validation set").classes(), [1]);

    // Any case, and the other usual names.
    let root = tempfile::tempdir().expect("a folder");
    for (part, class) in [("Training", "a"), ("Training", "b"), ("Testing", "a"), ("__MACOSX", "c")]
    {
        save(picture(1, 4, 4), root.path().join(part).join(class).join("1.png"));
    }
    let (_, valid) = PictureList::open(root.path()).expect("two lists");
    assert_eq!(valid.expect("a validation set").labels(), ["a", "b"]);
    fs::remove_dir_all(root.path().join("Testing")).expect("removed");
    save(picture(1, 4, 4), root.path().join("more/a/1.png"));
    expect_error(PictureList::open(root.path()), &["only", "Training", "looks like"]);
    // Pictures of trains.
    let root = tempfile::tempdir().expect("a folder");
    for class in ["bus", "train"] {
        save(picture(1, 4, 4), root.path().join(class).join("1.png"));
    }
    let (all, none) = PictureList::open(root.path()).expect("a list");
    assert_eq!((all.labels(), none), (&["bus".to_string(), "train".into()][..], None));

    let labels = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    train.expect_labels(&labels(&["a", "b", "c"])).expect("the same");
    expect_error(train.expect_labels(&labels(&["a", "c", "b"])), &["another order"]);
    expect_error(train.expect_labels(&labels(&["a", "b", "d"])), &["no `d`, but `c`"]);
    expect_error(train.expect_labels(&labels(&["a", "b", "c", "d"])), &["found no `d`"]);
    let turned = train.with_labels(&labels(&["d", "c", "b", "a"])).expect("known classes");
    assert_eq!(turned.classes(), [3, 2, 1]);
}

#[test]
fn a_split_has_its_share_of_every_class() {
    let folder = insects_and_a_cat();
    let list = PictureList::folder(folder.path()).expect("a list");
    let (first, second) = list.split(0.25, 5).expect("two lists");
    assert_eq!((first.per_class(), second.per_class()), (vec![2, 4, 9], vec![1, 1, 3]));
    let both: HashSet<_> = first.paths().chain(second.paths()).collect();
    assert_eq!(both, list.paths().collect());
    assert_eq!(list.split(0.25, 5).expect("two lists"), (first.clone(), second));
    assert_ne!(list.split(0.25, 6).expect("two lists").0, first);
    // However small the share is, there is something to validate with, and to learn from.
    assert_eq!(list.split(0.001, 5).expect("two lists").1.per_class(), [1, 1, 1]);
    assert_eq!(list.split(0.999, 5).expect("two lists").0.per_class(), [1, 1, 1]);

    let few = list.limit_per_class(2, 1).expect("a list");
    assert_eq!(few.per_class(), [2, 2, 2]);
    let more: HashSet<_> = list.limit_per_class(3, 1).expect("a list").paths().collect();
    assert!(few.paths().all(|path| more.contains(&path)));
    expect_error(list.limit_per_class(4, 1), &["`ant`", "at least 4", "found 3"]);
    expect_error(list.limit_per_class(0, 1), &["at least 1"]);
    expect_error(
        few.limit_per_class(1, 0).expect("a list").split(0.5, 0),
        &["`ant`", "two pictures"],
    );
    for share in [0.0, 1.0, f64::NAN, -1.0] {
        expect_error(list.split(share, 0), &["fraction"]);
    }
}

#[test]
fn the_colors_of_a_list_are_those_of_its_pictures() {
    let folder = insects_and_a_cat();
    let list = PictureList::folder(folder.path()).expect("a list");
    let one_by_one = ColorPca::from_photos(list.paths().map(decode_file)).expect("colors");
    assert_eq!(list.principal_colors(BrokenPicture::Stop).expect("colors"), one_by_one);
    let whole = list.limit_per_class(2, 0).expect("a list");
    let broken = whole.path(3);
    fs::write(&broken, "no picture").expect("a file");
    expect_error(whole.principal_colors(BrokenPicture::Stop), &[&broken.display().to_string()]);
    assert_ne!(whole.principal_colors(BrokenPicture::Skip).expect("colors"), one_by_one);
}

/// The values of a batch are what `vision` makes of each picture, whatever its size and colors.
#[test]
fn batches_are_what_vision_shows_of_the_pictures() {
    let folder = insects_and_a_cat();
    let list = PictureList::folder(folder.path()).expect("a list");
    let preset = small_preset();
    for augmentation in [None, Some(augmented())] {
        let pictures = Pictures::new(list.clone(), augmentation.clone(), preset.clone());
        let loader = loader(pictures.expect("valid"), options());
        assert_eq!(loader.batches(), 4);
        let mut seen = Vec::new();
        for (number, is_last, _, classes, samples, values) in epoch(&loader, 7, 0) {
            assert_eq!(values.len(), samples.len() * 3 * 8 * 8);
            assert_eq!(is_last, seen.len() + samples.len() == 20.min(6 * (number as usize + 1)));
            for ((sample, class), values) in
                samples.into_iter().zip(classes).zip(values.chunks(3 * 8 * 8))
            {
                let index = sample.index as usize;
                assert_eq!(sample, Sample { seed: 3, epoch: 7, index: index as u64 });
                assert_eq!(class, list.classes()[index] as i64);
                let photo = decode_file(list.path(index)).expect("a picture");
                let mut expected = Vec::new();
                match &augmentation {
                    Some(augmentation) => augmentation
                        .values(&photo, sample, &preset, &mut expected)
                        .expect("a large enough photo"),
                    None => {
                        expected = preset.batch(&[photo]).expect("one").values;
                    }
                }
                assert_eq!(values, expected);
                seen.push(index);
            }
        }
        assert!(!seen.is_sorted(), "shuffled");
        seen.sort();
        assert!(seen.into_iter().eq(0..20), "each once");
    }
}

#[test]
fn batches_are_the_same_for_all_threads_and_from_any_point_on() {
    let folder = insects_and_a_cat();
    let list = PictureList::folder(folder.path()).expect("a list");
    let pictures = Pictures::new(list, Some(augmented()), small_preset()).expect("valid");
    for order in [Order::InOrder, Order::Shuffled, Order::Balanced] {
        let with = |workers, ahead| {
            loader(pictures.clone(), LoaderOptions { workers, ahead, order, ..options() })
        };
        let all = epoch(&with(1, 0), 1, 0);
        assert_eq!(all.len(), 8, "two micro-batches of four batches");
        for (workers, ahead) in [(2, 1), (5, 3), (1, 100)] {
            assert!(epoch(&with(workers, ahead), 1, 0) == all, "{workers} workers");
        }
        for from in [1, 3, 4, 5, u64::MAX] {
            let tail: Vec<_> = all.iter().filter(|one| one.0 >= from).cloned().collect();
            assert!(epoch(&with(2, 2), 1, from) == tail, "from {from}");
        }
        assert!(epoch(&with(2, 2), 2, 0) != all, "{order:?}: another epoch");
    }
}

#[test]
fn shares_of_a_batch_are_1_together() {
    let folder = insects_and_a_cat();
    let list = PictureList::folder(folder.path()).expect("a list");
    let pictures = Pictures::new(list, None, small_preset()).expect("valid");
    for (batch, micro_batches) in [(6, 4), (20, 3), (7, 7), (64, 9), (1, 1), (9, 5)] {
        let options = LoaderOptions { batch, micro_batches, ..options() };
        let loader = loader(pictures.clone(), options);
        let mut batches: BTreeMap<u64, Vec<Plain>> = BTreeMap::new();
        for one in epoch(&loader, 0, 0) {
            batches.entry(one.0).or_default().push(one);
        }
        assert_eq!(batches.len() as u64, loader.batches());
        for (number, given) in batches {
            let sizes: Vec<_> = given.iter().map(|one| one.3.len()).collect();
            let examples: usize = sizes.iter().sum();
            assert_eq!(examples, batch.min(20 - number as usize * batch));
            assert_eq!(given.len(), micro_batches.min(examples));
            let (least, most) = (sizes.iter().min(), sizes.iter().max());
            assert!(most <= least.map(|least| least + 1).as_ref(), "{sizes:?}");
            let shares: f64 = given.iter().map(|one| one.2).sum();
            assert!((shares - 1.0).abs() < 1e-12, "{shares}");
            let last: Vec<_> = given.iter().map(|one| one.1).collect();
            assert_eq!(last.iter().position(|&last| last), Some(given.len() - 1));
        }
    }
}

#[test]
fn broken_pictures_stop_an_epoch_or_are_skipped() {
    let folder = insects_and_a_cat();
    let list = PictureList::folder(folder.path()).expect("a list");
    let broken: Vec<_> = [2, 9].map(|index| list.path(index)).into();
    // A JPEG without its second half, and a text.
    let jpeg = fs::read(&broken[0]).expect("a file");
    assert!(broken[0].extension().is_some_and(|extension| extension == "jpg"));
    fs::write(&broken[0], &jpeg[..jpeg.len() / 2]).expect("a file");
    fs::write(&broken[1], "no picture").expect("a file");
    let pictures = Pictures::new(list, Some(augmented()), small_preset()).expect("valid");
    let in_order = LoaderOptions { order: Order::InOrder, ..options() };

    let stops = loader(pictures.clone(), in_order);
    let mut micro_batches = stops.epoch(0, 0).expect("threads");
    let error = micro_batches.next().expect("an error");
    expect_error(error, &[&broken[0].display().to_string(), "JPEG"]);
    assert!(micro_batches.next().is_none(), "nothing follows an error");

    let skips = |options| {
        loader(pictures.clone(), LoaderOptions { broken: BrokenPicture::Skip, ..options })
    };
    let loader = skips(in_order);
    for _ in 0..2 {
        let micro_batches = epoch(&loader, 0, 0);
        let sizes: Vec<_> = micro_batches.iter().map(|one| (one.0, one.3.len(), one.2)).collect();
        let of_5 = |number| [(number, 3, 3.0 / 5.0), (number, 2, 2.0 / 5.0)];
        let whole = [(2, 3, 0.5), (2, 3, 0.5), (3, 1, 0.5), (3, 1, 0.5)];
        assert_eq!(sizes, [&of_5(0)[..], &of_5(1), &whole].concat());
        assert!(micro_batches.iter().flat_map(|one| &one.4).all(|s| ![2, 9].contains(&s.index)));
        let named: Vec<_> = loader.skipped().into_iter().map(|(name, _)| name).collect();
        assert_eq!(named, [broken[0].display().to_string(), broken[1].display().to_string()]);
        assert!(loader.skipped()[0].1.contains("JPEG"), "{:?}", loader.skipped());
    }
    // Of a batch of one nothing is left.
    let ones = skips(LoaderOptions { batch: 1, micro_batches: 1, ..in_order });
    let numbers: Vec<_> = epoch(&ones, 0, 0).iter().map(|one| one.0).collect();
    assert!(numbers.into_iter().eq((0..20).filter(|number| ![2, 9].contains(number))));
}

#[test]
fn an_epoch_of_broken_pictures_alone_is_an_error() {
    let folder = insects_and_a_cat();
    let list = PictureList::folder(folder.path()).expect("a list");
    list.paths().for_each(|path| fs::write(path, "no picture").expect("a file"));
    let pictures = Pictures::new(list, None, small_preset()).expect("valid");
    let loader = loader(pictures, LoaderOptions { broken: BrokenPicture::Skip, ..options() });
    let results: Vec<_> = loader.epoch(0, 0).expect("threads").collect();
    assert_eq!(results.len(), 1);
    expect_error(results.into_iter().next().expect("one"), &["at least one that can be read"]);
    assert_eq!(loader.skipped().len(), 20);
}

#[test]
fn a_picture_that_is_too_small_is_named() {
    let folder = insects_and_a_cat();
    let list = PictureList::folder(folder.path()).expect("a list");
    let crop = Augmentation { name: "crop".into(), steps: vec![Step::RandomCrop { side: 64 }] };
    let name = list.path(0).display().to_string();
    let loader = loader(Pictures::new(list, Some(crop), small_preset()).expect("valid"), {
        LoaderOptions { order: Order::InOrder, ..options() }
    });
    expect_error(loader.epoch(0, 0).expect("threads").next().expect("an error"), &[&name, "64x64"]);
}

#[test]
fn balanced_draws_every_class_and_every_picture_of_it_alike() {
    let classes: Vec<usize> = [vec![0; 10], vec![1; 100], vec![3; 890]].concat();
    const EPOCHS: u64 = 100;
    let (mut of_class, mut of_picture) = ([0u32; 4], vec![0u32; 1000]);
    for epoch in 0..EPOCHS {
        let visits = Order::Balanced.visits(&classes, 11, epoch);
        assert_eq!(visits.len(), 1000);
        assert_eq!(visits.iter().collect::<HashSet<_>>().len(), 1000, "each visit is a new one");
        let mut times = vec![0; 1000];
        for visit in visits {
            let index = (visit % 1000) as usize;
            assert_eq!(visit / 1000, times[index], "the visits to a picture count up");
            times[index] += 1;
            of_class[classes[index]] += 1;
            of_picture[index] += 1;
        }
    }
    // Binomial: four standard deviations, which a right program exceeds once in 16,000 seeds.
    let near = |count: u32, probability: f64| {
        let draws = 1000.0 * EPOCHS as f64;
        let deviation = (draws * probability * (1.0 - probability)).sqrt();
        (f64::from(count) - draws * probability).abs() < 4.0 * deviation
    };
    assert_eq!(of_class[2], 0, "no pictures");
    assert!([0, 1, 3].into_iter().all(|class| near(of_class[class], 1.0 / 3.0)), "{of_class:?}");
    let of_small = &of_picture[..10];
    assert!(of_small.iter().all(|&count| near(count, 1.0 / 30.0)), "{of_small:?}");
}

/// A run that was begun with one version of this crate, or of rand, goes on with the next.
#[test]
fn orders_stay_what_they_are() {
    let classes = [0, 0, 0, 0, 1, 1, 2, 2];
    assert_eq!(Order::InOrder.visits(&classes, 1, 2), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(Order::Shuffled.visits(&classes, 1, 2), [3, 0, 5, 2, 1, 4, 6, 7]);
    assert_eq!(Order::Balanced.visits(&classes, 1, 2), [5, 6, 7, 13, 1, 4, 21, 12]);
    assert_eq!(serde_json::to_string(&Order::InOrder).expect("a name"), r#""in_order""#);
}

/// Examples of one value, which is their index.
struct Counted {
    classes: Vec<usize>,
    labels: Vec<String>,
    read: Arc<Mutex<Vec<usize>>>,
    each: Duration,
    panics_at: Option<usize>,
}

impl Counted {
    fn new(count: usize) -> (Self, Arc<Mutex<Vec<usize>>>) {
        let read: Arc<Mutex<Vec<usize>>> = Arc::default();
        let (classes, labels) = (vec![0; count], vec!["number".into()]);
        let each = Duration::ZERO;
        (Self { classes, labels, read: read.clone(), each, panics_at: None }, read)
    }
}

impl Examples for Counted {
    fn labels(&self) -> &[String] {
        &self.labels
    }
    fn classes(&self) -> &[usize] {
        &self.classes
    }
    fn shape(&self) -> [usize; 3] {
        [1, 1, 1]
    }
    fn read(&self, index: usize, _: Sample, out: &mut Vec<f32>) -> Result<()> {
        std::thread::sleep(self.each);
        assert!(self.panics_at != Some(index), "unlucky number");
        self.read.lock().expect("no panic here").push(index);
        out.push(index as f32);
        Ok(())
    }
    fn name(&self, index: usize) -> String {
        format!("number {index}")
    }
    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

fn fours() -> LoaderOptions {
    LoaderOptions { batch: 4, micro_batches: 1, order: Order::InOrder, workers: 3, ..options() }
}

#[test]
fn no_more_is_read_than_the_batches_ahead() {
    let (examples, read) = Counted::new(1000);
    let loader = loader(examples, fours());
    let mut micro_batches = loader.epoch(0, 3).expect("threads");
    for consumed in 1..5 {
        micro_batches.next().expect("a micro-batch").expect("numbers");
        // From batch 3 on, two ahead.
        let expected = 12..12 + 4 * (consumed + 2);
        let asked = Instant::now();
        while read.lock().expect("no panic").len() < expected.len() {
            assert!(asked.elapsed() < Duration::from_secs(60), "they do not read ahead");
            std::thread::yield_now();
        }
        // For what they should not read.
        std::thread::sleep(Duration::from_millis(20));
        let mut read = read.lock().expect("no panic").clone();
        read.sort();
        assert!(read.into_iter().eq(expected));
    }
}

#[test]
fn threads_end_when_nobody_listens() {
    let (mut examples, read) = Counted::new(100_000);
    examples.each = Duration::from_millis(20);
    let examples: Arc<dyn Examples> = Arc::new(examples);
    let options = LoaderOptions { ahead: 20_000, ..fours() };
    let loader = Loader::<Cpu>::new(examples.clone(), options, &Default::default());
    let loader = loader.expect("a loader");
    let mut micro_batches = loader.epoch(0, 0).expect("threads");
    let first = micro_batches.next().expect("a micro-batch").expect("numbers");
    assert_eq!(first.batch.samples.len(), 4);
    let waited = micro_batches.waited();
    assert!(waited >= Duration::from_millis(20), "{waited:?}");
    let dropped = Instant::now();
    drop((micro_batches, loader));
    assert!(dropped.elapsed() < Duration::from_secs(5), "of half an hour of work");
    assert_eq!(Arc::strong_count(&examples), 1, "no thread is left that has them");
    assert!(read.lock().expect("no panic").len() < 1000);
}

#[test]
fn a_panic_of_a_reader_is_an_error() {
    for broken in [BrokenPicture::Stop, BrokenPicture::Skip] {
        let (mut examples, _) = Counted::new(100);
        examples.panics_at = Some(9);
        let loader = loader(examples, LoaderOptions { broken, ..fours() });
        let results: Vec<_> = loader.epoch(0, 0).expect("threads").collect();
        assert_eq!(results.len(), 3);
        expect_error(
            results.into_iter().next_back().expect("an error"),
            &["number 9", "unlucky number"],
        );
    }
}

#[test]
fn burns_own_loops_can_read_it() {
    let (examples, _) = Counted::new(10);
    let loader = loader(examples, LoaderOptions { order: Order::Shuffled, ..fours() });
    let items = |loader: &dyn DataLoader<Cpu, Batch<Cpu>>| {
        let mut iterator = loader.iter();
        let mut all = Vec::new();
        while let Some(batch) = iterator.next() {
            all.extend(batch.images.into_data().to_vec::<f32>().expect("values"));
            let progress = iterator.progress();
            assert_eq!(progress.items_processed, all.len());
            assert_eq!(progress.items_total, loader.num_items());
        }
        all
    };
    let (first, second) = (items(&loader), items(&loader));
    assert_ne!(first, second, "the next epoch");
    let there = loader.to_device(&Default::default());
    let third: Vec<_> = epoch(&loader, 2, 0).into_iter().flat_map(|one| one.5).collect();
    assert_eq!(items(&*there), third);
    let part = loader.slice(7, 10);
    let sorted = |mut values: Vec<f32>| {
        values.sort_by(f32::total_cmp);
        values
    };
    assert_eq!((part.num_items(), sorted(items(&*part))), (3, vec![7.0, 8.0, 9.0]));
    assert!(items(&*loader.slice(0, 0)).is_empty());
    assert_eq!(items(&*part.slice(1, 2)), [8.0]);
}

#[test]
fn options_out_of_range_are_reported() {
    let new = |count, options| {
        Loader::<Cpu>::new(Arc::new(Counted::new(count).0), options, &Default::default())
    };
    expect_error(new(3, LoaderOptions { batch: 0, ..fours() }), &["batch", "at least 1"]);
    expect_error(
        new(3, LoaderOptions { micro_batches: 0, ..fours() }),
        &["micro-batches", "1 to 4"],
    );
    let five = LoaderOptions { micro_batches: 5, ..fours() };
    expect_error(new(3, five), &["micro-batches", "1 to 4", "5"]);
    expect_error(new(3, LoaderOptions { workers: 0, ..fours() }), &["workers"]);
    expect_error(new(0, fours()), &["examples"]);
    let all = new(3, LoaderOptions { batch: usize::MAX, ahead: usize::MAX, ..fours() });
    assert_eq!(epoch(&all.expect("a loader"), 0, 0).len(), 1);
}

#[test]
fn identity_says_in_what_two_sets_differ() {
    let folder = insects_and_a_cat();
    let list = || PictureList::folder(folder.path()).expect("a list");
    let identity = |list, augmentation| {
        Pictures::new(list, augmentation, small_preset()).expect("valid").identity()
    };
    let first = identity(list(), Some(augmented()));
    assert_eq!(first, identity(list(), Some(augmented())));
    let differing = |other: Vec<(String, String)>| -> Vec<String> {
        let pairs = first.iter().zip(other);
        pairs.filter(|(a, b)| *a != b).map(|(a, _)| a.0.clone()).collect()
    };
    assert_eq!(differing(identity(list(), None)), ["augmentation"]);
    assert_eq!(differing(identity(list().limit_per_class(2, 0).expect("some"), None)).len(), 3);
    save(picture(99, 40, 40), folder.path().join("cat/00.png"));
    assert_eq!(differing(identity(list(), Some(augmented()))), ["files"]);
}

/// `cargo test --features train --test training -- --ignored --nocapture data`
#[test]
#[ignore = "a measurement"]
fn pictures_per_second() {
    let folder = tempfile::tempdir().expect("a folder");
    for (index, class) in (0..400).zip(["a", "b"].into_iter().cycle()) {
        let path = folder.path().join(format!("{class}/{index}.jpg"));
        save(picture(index, 500, 375), path);
    }
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/digits/train");
    let digit = Preset { resize: 32, crop: 32, ..Preset::imagenet() };
    let shift =
        vec![Step::ScaleJitter { shortest: 32, longest: 36 }, Step::RandomCrop { side: 32 }];
    let shifted = Augmentation { name: "shifted".into(), steps: shift };
    let sets = [
        ("digits of 28x28", digits, digit, shifted),
        ("JPEGs of 500x375", folder.path().into(), Preset::imagenet(), Augmentation::alexnet()),
    ];
    for (name, path, preset, augmentation) in sets {
        let Ok(list) = PictureList::folder(&path) else {
            eprintln!("skipped: no pictures at {}", path.display());
            continue;
        };
        for (how, augmentation) in [("augmented", Some(augmentation)), ("center", None)] {
            for workers in [1, 2] {
                let pictures = Pictures::new(list.clone(), augmentation.clone(), preset.clone());
                let options = LoaderOptions { batch: 64, workers, ..Default::default() };
                let loader = loader(pictures.expect("valid"), options);
                let start = Instant::now();
                let read: usize = (loader.epoch(0, 0).expect("threads"))
                    .map(|one| one.expect("pictures").batch.samples.len())
                    .sum();
                let rate = read as f64 / start.elapsed().as_secs_f64();
                println!("{name}, {how}, {workers} workers: {rate:.0} pictures per second");
            }
        }
    }
}
