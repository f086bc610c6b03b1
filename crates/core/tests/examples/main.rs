//! The examples of this package as a user runs them, on good and on bad input: later versions keep what they
//! promise on the command line, and a mistake is one message, never a panic.

#[path = "../formula/mod.rs"]
mod formula;
mod program;

use alexnet_vgg_core::architecture::{NetworkConfig, VggConfig};
use alexnet_vgg_core::vision;
use program::{example, fails, run, succeeds, text, write_named, write_weights};
use std::path::PathBuf;
use std::process::Stdio;

/// The root of the workspace.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A file in the root of the workspace.
fn root(path: &str) -> PathBuf {
    PathBuf::from(ROOT).join(path)
}

#[test]
fn shapes_reads_tables_and_refuses_impossible_ones() {
    let all = succeeds("shapes", &["--no-forward"]);
    for config in NetworkConfig::all() {
        assert!(all.contains(&format!("{}  input", config.table().name)), "{all}");
    }
    let json = succeeds("shapes", &["--model", "vgg16", "--no-forward", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["parameters"], 138_357_544);
    let said = succeeds("shapes", &["--model", "alexnet", "--input", "64,80", "--batch", "2"]);
    assert!(said.contains("logits of a forward pass: [2, 1000]"), "{said}");
    assert!(succeeds("shapes", &["--kernels", "--model", "vgg16"]).contains("7x7"));
    for (arguments, says) in [
        (["--model", "vgg17"], "vgg11_lrn_bn"),
        (["--batch", "1000000000"], "batch"),
        (["--batch", "0"], "batch"),
        (["--input", "10000000,10000000"], "expected sizes"),
        (["--input", "31,31"], "at least"),
        (["--input", "31"], "224,224"),
        (["--num-classes", "10000000000"], "memory"),
        (["--num-classes", "0"], "at least 1 output feature"),
        (["--format", "xml"], "json"),
    ] {
        fails("shapes", &arguments, says);
    }
}

#[test]
fn without_arguments_there_is_something_to_see_or_a_line_says_what_is_needed() {
    let said = succeeds("classify", &[]);
    for part in ["  4b.png ", "\n12 of 12 are right.", "--features hub", "PHOTO --weights FILE"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = succeeds("inspect", &[]);
    for part in
        ["vgg13_bn, 10 classes", "10 labels: 0, 1, 2, 3, 4, ...", "\n    rate = ", "accuracy = "]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (name, example) in [
        ("convert", "vgg16-397923af.pth vgg16.safetensors"),
        ("export_onnx", "--output digits.onnx"),
        ("augment", "examples/photos/cat.jpg --output"),
    ] {
        let output = run(name, &[]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(example) && said.starts_with(name), "{said}");
    }
}

/// As a user's own: by its path.
#[test]
fn the_digits_network_needs_no_other_option() {
    let weights = ["--weights", "crates/core/samples/digits.safetensors"];
    for (digit, more) in [("3", &[][..]), ("7", &["--precision", "fast"])] {
        let file = format!("crates/core/samples/digits/{digit}.png");
        let said = succeeds("classify", &[&[&file[..]][..], &weights, more].concat());
        let first = said.lines().nth(1).expect("a line");
        assert!(first.trim_end().ends_with(&format!("%  {digit}")), "{said}");
    }
}

/// As in `shapes | head -1`.
#[test]
fn output_may_be_closed_early() {
    let arguments = ["--no-forward", "--format", "json"];
    let mut child = example("shapes").args(arguments).stdout(Stdio::piped()).spawn().expect("runs");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn classify_ranks_the_classes_of_each_photo_or_says_why_not() {
    let said = succeeds(
        "classify",
        &["examples/photos/cat.jpg", "--model", "alexnet", "--num-classes", "3", "--top-k", "2"],
    );
    assert!(said.contains("untrained") && said.contains("cat.jpg"), "{said}");
    assert_eq!(said.matches("%  class ").count(), 2, "{said}");
    // A folder: a line for each photo, as JSON; the broken one does not stop the others.
    let folder = tempfile::tempdir().expect("a folder");
    for (name, copy) in [("cat.jpg", "cat.jfif"), ("rocket.jpg", "rocket.jpg")] {
        std::fs::copy(root("examples/photos").join(name), folder.path().join(copy))
            .expect("copied");
    }
    for name in ["broken.png", "1.HEIC", "2.heic", "notes.txt", ".DS_Store", "._cat.jpg"] {
        std::fs::write(folder.path().join(name), "no picture").expect("written");
    }
    let base = ["--model", "alexnet", "--num-classes", "3"];
    let of_folder = [&[text(folder.path())], &base[..], &["--views", "flips", "--json"]].concat();
    let output = run("classify", &of_folder);
    assert!(!output.status.success());
    let lines = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0]["error"].is_string() && lines[0]["photo"].to_string().contains("broken"));
    assert_eq!(lines[2]["views"].as_array().map(Vec::len), Some(5));
    assert_eq!(lines[2]["predictions"].as_array().map(Vec::len), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("1 of 3 photos could not be classified"), "{said}");
    assert!(said.contains("left out 2 .heic (convert them to JPEG), 1 .txt;"), "{said}");

    let map = folder.path().join("map.png");
    let dense = ["examples/photos/cat.jpg", "--views", "dense", "--heatmap", text(&map)];
    let said = succeeds("classify", &[&dense[..], &base].concat());
    assert!(said.contains("2 views"), "{said}");
    let drawn = image::open(&map).expect("a picture");
    assert_eq!((drawn.width(), drawn.height()), (451, 300));

    let labels = folder.path().join("labels.txt");
    std::fs::write(&labels, "\u{feff}tulip\nrose\n").expect("written");
    for (arguments, says) in [
        (&["Cargo.toml"][..], "a complete image"),
        (&["no such photo.jpg"], "no such photo.jpg"),
        (&["examples/photos/cat.jpg", "--weights", "Cargo.toml"], "safetensors"),
        (&["examples/photos/cat.jpg", "--preset", "torch"], "imagenet, caffe"),
        (&["examples/photos/cat.jpg", "--labels", "Cargo.toml"], "nothing in line"),
        (&["examples/photos/cat.jpg", "--labels", text(&labels)], "labels: expected 1000"),
        (&["src/models"], "no photos found"),
        (&["no/such/*.jpg"], "no photos found"),
        (&["examples/photos/cat.jpg", "--views", "nine-crop"], "ten-crop"),
        (&["examples/photos/cat.jpg", "--scales", "100"], "at least the preset's crop, 224"),
        (&["examples/photos", "--heatmap", "map.png"], "takes one photo, found 2"),
        (
            &["examples/photos/cat.jpg", "--ensemble", "Cargo.toml"],
            "expected the first network as --weights",
        ),
        (&["examples/photos/cat.jpg", "--weights", "a", "--pretrained"], "cannot be used with"),
        (&[], "PHOTOS"),
    ] {
        fails("classify", &[&["--model", "alexnet"], arguments].concat(), says);
    }
}

#[test]
fn weights_files_name_their_classes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let (own, other, half) =
        (file("own.safetensors"), file("other.safetensors"), file("half.safetensors"));
    write_named(&own, &["cat", "rocket", "a\u{1b}[31m"]);
    write_named(&other, &["rocket", "cat", "dog"]);
    let base = ["examples/photos/cat.jpg", "--weights", text(&own)];
    let said = succeeds("classify", &base);
    assert_eq!(said.matches("%  ").count(), 3, "{said}");
    assert!(["cat", "rocket", "a\\u{1b}[31m"].iter().all(|name| said.contains(name)), "{said}");
    succeeds("classify", &[&base[..], &["--ensemble", text(&own)]].concat());
    for (arguments, says) in [
        (["--ensemble", text(&other)], "different classes"),
        (["--num-classes", "4"], "labels: expected 4"),
        (["--model", "vgg13"], "not the weights of vgg13"),
        (["--preset", "caffe"], "expected \"small\", which the weights were trained with"),
    ] {
        fails("classify", &[&base[..], &arguments].concat(), says);
    }

    succeeds("convert", &[text(&own), text(&half), "--dtype", "f16"]);
    let said = succeeds("inspect", &[text(&half)]);
    assert!(said.contains("3 labels: cat, rocket, a\\u{1b}[31m\n"), "{said}");
    std::fs::write(file("names.txt"), "1\n2\n3\n").expect("written");
    let named = [text(&own), text(&half), "--labels", text(&file("names.txt"))].map(str::to_string);
    fails("convert", &named.each_ref().map(String::as_str), "labels differ");
}

/// Errors that are reported before anything is downloaded.
#[test]
fn classify_checks_before_it_downloads() {
    let classify = |more: &[&str], says| {
        let arguments = ["examples/photos/cat.jpg", "--pretrained"];
        fails("classify", &[&arguments, more].concat(), says);
    };
    if cfg!(not(feature = "hub")) {
        return classify(&[], "feature `hub`");
    }
    classify(&["--model", "vgg16_c"], "alexnet, vgg11, vgg11_bn");
    classify(&["--num-classes", "10"], "classes: expected 1000");
    classify(&["--preset", "caffe"], "expected \"imagenet\", which the weights were trained with");
}

#[test]
fn export_onnx_writes_a_model_and_keeps_the_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let (model, weights) = (file("model.onnx"), file("weights"));
    let base = ["--model", "alexnet", "--num-classes", "3"];
    let to = |output| [&base[..], &["--output", output]].concat();
    let said = succeeds("export_onnx", &to(text(&model)));
    let bytes = model.metadata().expect("the model").len();
    for part in ["untrained", "19 nodes of opset 17", &format!("{bytes} bytes")] {
        assert!(said.contains(part), "{said}");
    }

    let network = NetworkConfig::by_name("alexnet").expect("known").with_num_classes(3);
    write_weights(&network.architecture().expect("valid"), &weights);
    let weighed = [&to(text(&weights))[..], &["--weights", text(&weights)]].concat();
    fails("export_onnx", &weighed, "overwrite");
    // With --weights, --model may be left out.
    let named = ["--weights", text(&weights), "--output", text(&model)];
    let said = succeeds("export_onnx", &named);
    assert!(said.contains("alexnet, 19 nodes") && !said.contains("untrained"), "{said}");
    // Only the model goes to stdout.
    #[cfg(target_os = "linux")]
    {
        let output = run(
            "export_onnx",
            &[&to("/dev/stdout")[..], &["--weights", text(&weights), "--fixed-batch", "4"]]
                .concat(),
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains("19 nodes"), "{said}");
        assert!(said.contains(&format!("{} bytes", output.stdout.len())), "{said}");
    }
    for (arguments, says) in [
        (["--input", "62,63"], "at least"),
        (["--input", "63"], "224,224"),
        (["--fixed-batch", "0"], "batch"),
        (["--num-classes", "130000"], "2147483647"),
        (["--output", "no/such/folder.onnx"], "no/such/folder.onnx"),
        (["--preset", "torch"], "imagenet, caffe"),
        (["--weights", "Cargo.toml"], "not a valid"),
    ] {
        let base = match arguments[0] {
            "--num-classes" => vec!["--model", "alexnet", "--output", text(&model)],
            "--output" => base.to_vec(),
            _ => to(text(&model)),
        };
        fails("export_onnx", &[&base[..], &arguments].concat(), says);
    }
}

#[test]
fn inspect_and_convert_say_what_they_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let golden = |name: &str| format!("tests/golden/weights/{name}");
    let said = succeeds("inspect", &[&golden("legacy.pth"), "--verify"]);
    for part in ["legacy PyTorch", "vgg11_bn, 3 classes, width 0.004", "names as in torchvision"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("features.0.weight") && said.contains("[2, 3, 3, 3]"), "{said}");
    let said = succeeds("inspect", &[&golden("module.pth")]);
    assert!(said.contains("a whole module of class"), "{said}");
    fails("inspect", &["Cargo.toml", &golden("zip.pth")], "1 of 2 files");
    fails("inspect", &[&golden("refused/calls_os_system.pth")], "os.system");

    let (timm, back) = (file("timm.safetensors"), file("back.pth"));
    let arguments = [&golden("legacy.pth"), text(&timm), "--to", "timm", "--preset", "imagenet"];
    let said = succeeds("convert", &arguments);
    assert!(
        said.contains("vgg11_bn, legacy PyTorch") && said.contains("names as in timm"),
        "{said}"
    );
    let said = succeeds("inspect", &[text(&timm)]);
    assert!(said.contains("pre_logits.fc1.weight") && said.contains("preset = imagenet"), "{said}");
    succeeds("convert", &[text(&timm), text(&back), "--dtype", "bf16"]);
    let said = succeeds("inspect", &[text(&back)]);
    assert!(said.contains("BF16") && said.contains("classifier.6.weight"), "{said}");

    let good = golden("zip.pth");
    for (arguments, says) in [
        (vec![good.as_str(), "out.bin"], ".safetensors"),
        (vec![&good, "no/such/folder.pth"], "no/such/folder.pth"),
        (vec![&good, text(&back), "--model", "vgg16"], "not the weights of vgg16"),
        (vec![&good, text(&back), "--to", "keras"], "torchvision, timm, paper"),
        (
            vec![text(&timm), text(&back), "--preset", "caffe"],
            "expected \"imagenet\", which the weights were trained with",
        ),
        (vec!["Cargo.toml", text(&back)], "not a valid"),
        (vec!["examples", text(&back)], "a folder"),
    ] {
        fails("convert", &arguments, says);
    }
}

#[test]
fn augment_draws_a_sheet_or_says_why_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let (sheet, own, broken) = (file("sheet.png"), file("own.json"), file("broken.json"));
    let cat = "examples/photos/cat.jpg";
    let base = [cat, "--output", text(&sheet)];
    let size = || vision::decode_file(&sheet).expect("a picture").dimensions();
    succeeds("augment", &[&base[..], &["--count", "5", "--crop", "32"]].concat());
    assert_eq!(size(), (3 * 232 + 8, 2 * 232 + 8));

    let steps = r#"[{ "Resize": { "short": 40 } }, { "RandomCrop": { "side": 32 } },
        { "ColorJitter": { "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1 } }]"#;
    std::fs::write(&own, format!(r#"{{ "name": "own", "steps": {steps} }}"#)).expect("a folder");
    std::fs::write(&broken, r#"{ "name": "broken", "steps": [] }"#).expect("a folder");
    let own = ["--augmentation", text(&own), "--stages", "--count", "2"];
    let said = succeeds("augment", &[&base[..], &own].concat());
    assert!(said.contains("crop 32x32") && said.contains("saturation"), "{said}");
    assert_eq!(size(), (7 * 232 + 8, 2 * 232 + 8));
    let pca = ["--pca-from", "examples/photos", "--count", "1", "--crop", "32"];
    let said = succeeds("augment", &[&base[..], &pca].concat());
    assert!(said.contains("principal colors of"), "{said}");

    for (arguments, says) in [
        (vec![cat, "no such.jpg", "--output", text(&sheet)], "no such.jpg"),
        (vec!["Cargo.toml", "--output", text(&sheet)], "a complete image"),
        (vec![cat, "--output", "no/such/sheet.png"], "no/such/sheet.png"),
        ([&base[..], &["--count", "0"]].concat(), "--count"),
        (
            [&[cat, cat][..], &base, &["--count", "700", "--crop", "8"]].concat(),
            "at most 89478485 pixels",
        ),
        ([&base[..], &["--crop", "0"]].concat(), "a side from 1 to 4096"),
        ([&base[..], &["--augmentation", "vgg17"]].concat(), "alexnet, vgg, torchvision"),
        ([&base[..], &["--augmentation", text(&broken)]].concat(), "a crop after the last resize"),
        ([&base[..], &["--augmentation", "no such.json"]].concat(), "No such file"),
        ([&base[..], &["--pca-from", "no such folder"]].concat(), "no such folder"),
        ([&base[..], &["--pca-from", ".ci"]].concat(), "found none"),
    ] {
        fails("augment", &arguments, says);
    }
}

#[test]
fn explain_plan_shows_every_layer() {
    let small = ["--model", "alexnet", "--input", "64,80", "--passes", "1", "--batch", "2"];
    for precision in ["f32", "int16-convolutions", "int8-linear", "fast"] {
        let more = ["--precision", precision, "--threads", "1"];
        let said = succeeds("explain_plan", &[&small[..], &more].concat());
        for part in ["alexnet, [2, 3, 64, 80]", precision, "conv1", "conv5", "fc8"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let training = ["--training", "--threads", "2"];
    let said = succeeds("explain_plan", &[&small[..], &training].concat());
    for part in ["batch 2", "conv1", "pool5", "fc8", "to the weights"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (arguments, says) in [
        (["--batch", "9"], "at most 8"),
        (["--batch", "1025"], "1..=1024"),
        (["--input", "10,10"], "too small"),
        (["--linear-weights", "int4"], "int24"),
        (["--precision", "int4"], "int8-linear"),
        (["--threads", "0"], "threads"),
    ] {
        fails("explain_plan", &arguments, says);
    }
}

#[test]
fn a_preset_may_be_a_file_and_have_another_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let [weights, preset] = ["net.safetensors", "ours.json"].map(|name| folder.path().join(name));
    let config = VggConfig::vgg11().with_width(0.05).with_num_classes(3);
    write_weights(&config.architecture().expect("valid"), &weights);
    let json = r#"{"resize": 32, "crop": 32, "mean": 0.5, "std": 0.5}"#;
    std::fs::write(&preset, json).expect("written");
    let classify = |options: &[&str]| {
        let photo = ["examples/photos/cat.jpg", "--weights", text(&weights), "--json"];
        succeeds("classify", &[&photo, options].concat())
    };
    let at_32 = classify(&["--preset", "half", "--input", "32"]);
    assert_eq!(at_32, classify(&["--preset", text(&preset)]));
    assert_ne!(at_32, classify(&["--preset", "half"]));
    assert_ne!(at_32, classify(&["--input", "32"]));
    std::fs::write(&preset, r#"{"resize": 32}"#).expect("written");
    let arguments =
        ["examples/photos/cat.jpg", "--weights", text(&weights), "--preset", text(&preset)];
    fails("classify", &arguments, "missing field `crop`");
}

/// Solid colors and stripes: without training, too, a network sees which of them are alike.
fn write_patterns(folder: &std::path::Path) {
    let solid = |x: u32, y: u32, shade: u8| [shade, 40 + ((x + y) % 3) as u8, 40];
    let striped =
        |x: u32, _: u32, shade: u8| [if (x / 8).is_multiple_of(2) { shade } else { 20 }; 3];
    for shade in [180, 200, 220] {
        for (name, pattern) in
            [("solid", &solid as &dyn Fn(u32, u32, u8) -> [u8; 3]), ("striped", &striped)]
        {
            let picture = image::RgbImage::from_fn(96, 80, |x, y| image::Rgb(pattern(x, y, shade)));
            picture.save(folder.join(format!("{name}-{shade}.png"))).expect("written");
        }
    }
}

#[test]
fn features_writes_vectors_that_similar_searches() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let (weights, others) = (file("small.safetensors"), file("others.safetensors"));
    write_named(&weights, &["a", "b", "c"]);
    let narrow = VggConfig::vgg11().with_width(0.05).with_num_classes(2);
    write_weights(&narrow.architecture().expect("valid"), &others);
    std::fs::create_dir(file("photos")).expect("a folder");
    write_patterns(&file("photos"));
    let (photos, vectors) = (file("photos"), file("vectors.safetensors"));
    let with_weights = ["--weights", text(&weights)];
    let write = |output: &std::path::Path, more: &[&str]| {
        let base = [text(&photos), "--output", text(output)];
        succeeds("features", &[&base[..], &with_weights, more].concat())
    };

    let said = write(&vectors, &[]);
    assert!(said.contains("6 vectors of 204 values, from relu7 of vgg11_bn"), "{said}");
    let bytes = std::fs::read(&vectors).expect("the vectors");
    let stored = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let stored = stored.tensor("features").expect("vectors");
    assert_eq!(stored.shape(), [6, 204]);
    let npy = file("vectors.npy");
    write(&npy, &[]);
    let array = std::fs::read(&npy).expect("the array");
    assert!(array.starts_with(b"\x93NUMPY\x01\x00"));
    let start = 10 + usize::from(u16::from_le_bytes([array[8], array[9]]));
    assert_eq!(start % 64, 0);
    let header = String::from_utf8_lossy(&array[10..start]);
    assert!(header.contains("'<f4'") && header.contains("(6, 204)"), "{header}");
    assert_eq!(&array[start..], stored.data());
    let names = std::fs::read(file("vectors.json")).expect("the names");
    let names: serde_json::Value = serde_json::from_slice(&names).expect("JSON");
    assert!(names["photos"][5].as_str().is_some_and(|name| name.ends_with("striped-220.png")));
    let said = write(&npy, &["--layer", "pool2,relu6", "--pooling", "max"]);
    assert!(said.contains("6 vectors of 210 values, from pool2 and relu6"), "{said}");

    let query = photos.join("striped-200.png");
    let sheet = file("sheet.png");
    let search = |among: &std::path::Path, more: &[&str]| {
        let base = [text(&query), text(among)];
        succeeds("similar", &[&base[..], &with_weights, more].concat())
    };
    let from_folder = search(&photos, &["--json", "--output", text(&sheet)]);
    let from_folder: serde_json::Value = serde_json::from_str(&from_folder).expect("JSON");
    let found = from_folder["similar"].as_array().expect("a list");
    assert_eq!(found.len(), 5, "all but the photo itself");
    for (rank, photo) in found.iter().enumerate() {
        let name = photo["photo"].as_str().expect("a name");
        assert_eq!(name.contains("striped"), rank < 2, "{from_folder}");
    }
    let drawn = image::open(&sheet).expect("a picture");
    assert_eq!((drawn.width(), drawn.height()), (3 * 232 + 8, 2 * 232 + 8));
    let from_file = search(&vectors, &["--count", "2"]);
    assert_eq!(from_file.lines().count(), 2);
    assert!(from_file.lines().all(|line| line.contains("striped")), "{from_file}");

    // The digits that are most like a 4 are fours.
    let digits = succeeds("similar", &[]);
    assert_eq!(digits.lines().count(), 11);
    assert!(digits.lines().all(|line| line.contains("/4/")), "{digits}");

    let query = text(&query);
    for (example, arguments, says) in [
        ("features", &[][..], "features needs arguments, such as: examples/photos"),
        ("features", &[query], "as in: features"),
        ("features", &[query, "--output", text(&npy)], "--weights vgg16.pth"),
        ("features", &[query, "--output", "out.csv", "--weights", "a"], ".safetensors or .npy"),
        (
            "features",
            &[query, "--output", text(&npy), with_weights[0], with_weights[1], "--layer", "relu9"],
            "relu9",
        ),
        ("similar", &[query], "as in: similar"),
        ("similar", &[query, text(&photos)], "--weights vgg16.pth"),
        (
            "similar",
            &[query, text(&weights), with_weights[0], with_weights[1]],
            "no names of photos",
        ),
        (
            "similar",
            &[query, text(&vectors), "--weights", text(&others), "--input", "64"],
            "other weights",
        ),
        (
            "similar",
            &[query, text(&vectors), with_weights[0], with_weights[1], "--layer", "relu6"],
            "other weights",
        ),
    ] {
        fails(example, arguments, says);
    }
    // The broken photo does not stop the others, but it is not passed over in silence.
    std::fs::write(photos.join("broken.png"), "no picture").expect("written");
    fails(
        "features",
        &[text(&photos), "--output", text(&npy), with_weights[0], with_weights[1]],
        "1 of 7 photos could not be read",
    );
}
