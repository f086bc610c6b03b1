//! CSV files of pictures and labels as people have them.

use crate::data::{expect_error, names, picture, save};
use alexnet_vgg::Result;
use alexnet_vgg::train::{CsvOptions, PictureList};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const LABELS: [&str; 2] = ["cat", "dog"];
const COUNT: usize = 8;

/// Eight pictures, `images/0100.png` and so on, and no list of them.
fn pictures() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    (0..COUNT).for_each(|index| save(picture(1, 4, 4), folder.path().join(path(index))));
    folder
}

fn path(index: usize) -> String {
    format!("images/{}.png", 100 + index)
}

/// A list with a line for each picture.
fn lines(line: impl Fn(String, &str) -> String) -> String {
    (0..COUNT).map(|index| line(path(index), LABELS[index % 2]) + "\n").collect()
}

fn open(folder: &TempDir, text: impl AsRef<[u8]>, options: &CsvOptions) -> Result<PictureList> {
    let file = folder.path().join("list.csv");
    fs::write(&file, text).expect("a file");
    PictureList::open_with(file, options).map(|(all, _)| all)
}

/// Whether the list has all pictures and their classes. Its first note is returned.
#[track_caller]
fn expect_all(folder: &TempDir, text: impl AsRef<[u8]>, options: &CsvOptions) -> String {
    let list = open(folder, text, options).expect("a list");
    assert_eq!(list.labels(), LABELS);
    assert_eq!(list.classes(), [0, 1, 0, 1, 0, 1, 0, 1]);
    assert_eq!(names(&list, folder.path()), (0..COUNT).map(path).collect::<Vec<_>>());
    list.notes()[0].clone()
}

fn by_label(label: &str) -> CsvOptions {
    CsvOptions { label_column: Some(label.into()), ..CsvOptions::default() }
}

fn by_path(path: &str) -> CsvOptions {
    CsvOptions { path_column: Some(path.into()), ..CsvOptions::default() }
}

#[test]
fn the_columns_are_found_whatever_their_names_and_order() {
    let folder = pictures();
    let options = CsvOptions::default();
    let plain = lines(|path, label| format!("{path},{label}"));
    let headers = [
        "filename,label_name",
        "id,breed",
        "img,label",
        "image_id,label",
        "file_name,category",
        "filepath,labels",
        // There is a folder of this name.
        "images,class",
    ];
    for header in headers {
        let note = expect_all(&folder, format!("{header}\n{plain}"), &options);
        let (path, label) = header.split_once(',').expect("two columns");
        assert!(note.contains(&format!("column 1 `{path}`")), "{note}");
        assert!(note.contains(&format!("column 2 `{label}`")), "{note}");
    }
    let note = expect_all(&folder, &plain, &options);
    assert!(note.contains("8 pictures in columns separated by commas; no header"), "{note}");
    let swapped = lines(|path, label| format!("{label},{path}"));
    expect_all(&folder, &swapped, &options);
    expect_all(&folder, format!("label,path\n{swapped}"), &options);
}

#[test]
fn separators_quotes_line_ends_and_marks_are_those_of_any_program() {
    let folder = pictures();
    let options = CsvOptions::default();
    let plain = lines(|path, label| format!("{path},{label}"));
    for (text, separated_by) in [
        (lines(|path, label| format!("{path};{label}")), "semicolons"),
        (lines(|path, label| format!("{path}\t{label}")), "tabs"),
        (lines(|path, label| format!("\"{path}\", \"{label}\"\n,")), "commas"),
        (format!("\u{feff}{plain}"), "commas"),
        (format!("\u{feff}path,label\r\n{}", plain.replace('\n', "\r\n\r\n")), "commas"),
        (plain.replace('\n', "\r"), "commas"),
        (lines(|path, label| format!("{},{label}", path.replace('/', "\\"))), "commas"),
        (lines(|path, label| format!("./{path},{label}")), "commas"),
    ] {
        let list = open(&folder, &text, &options).expect(&text);
        assert_eq!((list.len(), list.labels()), (COUNT, &LABELS.map(String::from)[..]));
        assert!(list.notes()[0].contains(separated_by), "{:?}", list.notes());
        if !text.starts_with('.') {
            expect_all(&folder, &text, &options);
        }
    }
    let absolute = lines(|path, label| format!("{},{label}", folder.path().join(path).display()));
    expect_all(&folder, absolute, &options);
    // A comma in a path, and one in a label.
    save(picture(1, 4, 4), folder.path().join("a, b.png"));
    let list = open(&folder, format!("\"a, b.png\",\"c, d\"\n{plain}"), &options).expect("a list");
    assert_eq!((list.len(), &list.labels()[0][..]), (9, "c, d"));
}

#[test]
fn names_without_endings_are_looked_for_beside_the_list_and_in_the_only_folder_that_fits() {
    let folder = pictures();
    let id = |path: &str| Path::new(path).with_extension("").display().to_string();
    let bare = |path: &str| path.replace("images/", "");
    let options = CsvOptions::default();
    let ids = lines(|path, label| format!("{},{label}", id(&path)));
    expect_all(&folder, &ids, &options);
    expect_all(&folder, lines(|path, label| format!("{},{label}", bare(&path))), &options);
    let both = lines(|path, label| format!("{},{label}", id(&bare(&path))));
    let note = expect_all(&folder, format!("id,breed\n{both}"), &options);
    assert!(note.contains("images, without endings"), "{note}");

    // Another file of the same name, and another folder of the same files.
    save(picture(1, 4, 4), folder.path().join("images/103.jpg"));
    expect_error(open(&folder, &ids, &options), &["line 4", "images/103.jpg or images/103.png"]);
    fs::remove_file(folder.path().join("images/103.jpg")).expect("removed");
    for index in 0..COUNT {
        save(picture(1, 4, 4), folder.path().join(path(index).replace("images", "train")));
    }
    let parts = ["./images", "./train", "--picture-folder"].map(|it| it.trim_start_matches("./"));
    expect_error(open(&folder, &both, &options), &parts);
    let options = CsvOptions { folder: Some(folder.path().join("images")), ..options };
    expect_all(&folder, &both, &options);
}

#[test]
fn other_columns_are_named_and_ignored_or_asked_about() {
    let folder = pictures();
    let options = CsvOptions::default();
    let numbered = |header: &str, cells: &dyn Fn(usize, String, &str) -> String| {
        let line = |index| cells(index, path(index), LABELS[index % 2]) + "\n";
        format!("{header}\n{}", (0..COUNT).map(line).collect::<String>())
    };
    let pandas = numbered(",path,name", &|index, path, label| format!("{index},{path},{label}"));
    let note = expect_all(&folder, pandas, &options);
    assert!(note.contains("ignored: column 1"), "{note}");
    let boxes = numbered("filename,width,class,xmin", &|index, path, label| {
        format!("{path},32,{label},{}", index * index)
    });
    let note = expect_all(&folder, boxes, &options);
    assert!(note.contains("ignored: column 2 `width`, column 4 `xmin`"), "{note}");

    let unclear = numbered("path,breed,dog", &|_, path, label| format!("{path},{label},x"));
    expect_error(open(&folder, &unclear, &options), &["column 2", "column 3", "--label-column"]);
    expect_all(&folder, &unclear, &by_label("Breed"));
    expect_all(&folder, &unclear, &by_label("2"));
    expect_error(open(&folder, &unclear, &by_label("label")), &["`label`", "`breed`"]);
    expect_error(open(&folder, &unclear, &by_label("4")), &["`4`"]);
    let one_hot = numbered("path,cat,dog", &|_, path, _| format!("{path},0,1"));
    expect_error(open(&folder, &one_hot, &by_label("path")), &["two columns", "both in column 1"]);
    expect_error(open(&folder, one_hot, &options), &["one column of labels", "--label-column"]);
    let two = numbered("image,mask,label", &|_, path, label| format!("{path},{path},{label}"));
    expect_error(open(&folder, &two, &options), &["`mask`", "--path-column"]);
    expect_all(&folder, &two, &by_path("image"));
    expect_error(open(&folder, lines(|path, _| path), &options), &["at least two columns"]);
}

#[test]
fn a_column_of_splits_divides_the_list() {
    let folder = pictures();
    let write = |splits: [&str; COUNT]| {
        let line = |index| format!("{},{},{}\n", path(index), LABELS[index % 2], splits[index]);
        let text = (0..COUNT).map(line).collect::<String>();
        fs::write(folder.path().join("list.csv"), format!("path,label,set\n{text}"))
            .expect("a file");
        folder.path().join("list.csv")
    };
    let sizes = |file: &Path| {
        let (train, valid) = PictureList::open(file).expect("lists");
        (train.len(), valid.map(|valid| valid.len()), train.notes().len())
    };
    let tested = |file: &Path| {
        PictureList::open_test(file, &CsvOptions::default()).expect("a list").classes().to_vec()
    };
    let file = write(["train", "Train", "TRAINING", "train", "val", "Validation", "test", "test"]);
    assert_eq!((sizes(&file), tested(&file)), ((4, Some(2), 2), vec![0, 1]));
    let list = PictureList::csv(&file).expect("a list");
    assert!(list.len() == 8 && list.notes()[1].contains("whatever their split"));
    let file = write(["train", "train", "train", "train", "train", "train", "test", "testing"]);
    assert_eq!((sizes(&file), tested(&file).len()), ((6, Some(2), 1), 2));
    let file = write(["train"; COUNT]);
    assert_eq!((sizes(&file), tested(&file).len()), ((8, None, 1), 8));
    expect_error(PictureList::open(write(["test"; COUNT])), &["for training", "8 for testing"]);

    let only = lines(|path, _| format!("{path},train"));
    expect_error(open(&folder, only, &CsvOptions::default()), &["a column of labels", "none"]);
    let unknown = format!("path,label,split\n{}", lines(|path, label| format!("{path},{label},3")));
    expect_error(open(&folder, unknown, &CsvOptions::default()), &["line 2", "`split`", "`3`"]);
}

#[test]
fn labels_that_are_numbers_are_sorted_as_numbers() {
    let folder = pictures();
    let open = |labels: [&str; COUNT]| {
        let line = |index| format!("{},{}\n", path(index), labels[index]);
        open(&folder, (0..COUNT).map(line).collect::<String>(), &CsvOptions::default())
    };
    let list = open(["10", "0", "2", "10", "1", "0", "2", "1"]).expect("a list");
    assert_eq!(list.labels(), ["0", "1", "2", "10"]);
    assert_eq!(list.classes(), [3, 0, 2, 3, 1, 0, 2, 1]);
    assert!(list.notes()[1].contains("from 0 to 10, but not 0 to 3"), "{:?}", list.notes());
    let list = open(["1.0", "0.0", "2.0", "10.0", "-1.0", "0.0", "2.0", "1.0"]).expect("a list");
    assert_eq!(list.labels(), ["-1.0", "0.0", "1.0", "2.0", "10.0"]);
    let list = open(["1", "0", "1", "0", "1", "0", "1", "0"]).expect("a list");
    assert_eq!((list.labels(), list.notes().len()), (&["0", "1"].map(String::from)[..], 1));
    let list = open(["10", "a", "9", "10", "a", "9", "10", "a"]).expect("a list");
    assert_eq!(list.labels(), ["10", "9", "a"]);
    expect_error(open(["1", "01", "1", "01", "2", "2", "2", "2"]), &["`01` and `1`"]);
}

#[test]
fn a_list_that_would_be_read_wrongly_is_refused() {
    let folder = pictures();
    let open = |text: String| open(&folder, text, &CsvOptions::default());
    let plain = lines(|path, label| format!("{path},{label}"));
    // The first line is a picture that is missing, and not a header.
    expect_error(open(format!("images/none.png,cat\n{plain}")), &["line 1", "images/none.png"]);
    expect_error(open(format!("none,cat\n{plain}")), &["line 1", "`none`"]);
    expect_error(open(format!("a/b,c\n{plain}")), &["line 1", "`a/b`", "--path-column"]);
    expect_error(open(format!("{plain}images/none.png,cat\n")), &["line 9", "images/none.png"]);
    expect_error(open(format!("{plain}images/100.png,dog\n")), &["line 9", "100.png", "line 1"]);
    expect_error(open(format!("{plain}./images/100.png,dog\n")), &["line 9", "100.png"]);
    expect_error(open(format!("{plain}images/100.png,\n")), &["line 9", "a label"]);
    expect_error(open(format!("{plain}images/100.png,cat,dog\n")), &["line 9", "2 columns"]);
    let list = open(format!("{plain}images/100.png,cat\n")).expect("a list");
    assert!(list.notes()[1].contains("in validation: 1"), "{:?}", list.notes());
    let unclosed = plain.replacen("dog", "\"dog", 1);
    expect_error(open(unclosed), &["line 2", "quote"]);
    let multiple = plain.replacen("101.png,dog", "101.png,dog cat", 1);
    expect_error(open(multiple), &["line 2", "`dog cat`", "--label-column 2"]);
    let elsewhere = plain.replace("images/", "data/images/");
    expect_error(open(elsewhere), &["`data/images/100.png`", "--picture-folder"]);
    let nowhere = CsvOptions { folder: Some("nowhere".into()), ..CsvOptions::default() };
    expect_error(self::open(&folder, &plain, &nowhere), &["nowhere", "no such folder"]);
    let utf16: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(folder.path().join("list.csv"), [&b"\xff\xfe"[..], &utf16].concat()).expect("a file");
    expect_error(PictureList::open(folder.path().join("list.csv")), &["UTF-16"]);
    // Options for a CSV file, where there is none.
    save(picture(1, 4, 4), folder.path().join("more/1.png"));
    fs::remove_file(folder.path().join("list.csv")).expect("removed");
    expect_error(
        PictureList::open_with(folder.path(), &by_label("x")),
        &["a CSV file", "a folder"],
    );
}
