//! The examples on burn as a user runs them, on good and on bad input: later versions keep what they promise on
//! the command line, and a mistake is one message, never a panic. This program needs no burn itself.

#[path = "../../crates/core/tests/formula/mod.rs"]
mod formula;
#[path = "../../crates/core/tests/examples/program.rs"]
mod program;

use alexnet_vgg_core::architecture::VggConfig;
use alexnet_vgg_core::engine::CompileOptions;
use alexnet_vgg_core::vision;
use program::{bytes, example, fails, run, succeeds, text, write_named, write_weights};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::path::{Path, PathBuf};

/// The root of the workspace.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const SHAPE: [usize; 4] = [2, 3, 64, 80];

fn write_input(path: &Path, name: &str, values: &[f32]) {
    let bytes = bytes(values);
    let view = TensorView::new(Dtype::F32, SHAPE.to_vec(), &bytes).expect("a tensor");
    safetensors::serialize_to_file([(name, view)], None, path).expect("a writable folder");
}

#[test]
fn logits_writes_the_outputs_of_the_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    // At full width VGG11 would be 500 MB; without a classifier it is 37.
    let vgg11 = VggConfig::vgg11().architecture().expect("valid").without_classifier();
    let (weights, input, output) = (file("weights"), file("input"), file("output"));
    write_weights(&vgg11, &weights);
    let pixels = formula::images(SHAPE);
    write_input(&input, "input", &pixels);
    let base = ["--model", "vgg11", "--features-only", "--weights", text(&weights)];
    let with = |more: &[&'static str], input: &Path, output: &Path| -> Vec<String> {
        let files = ["--input", text(input), "--output", text(output)];
        base.iter().chain(more).chain(&files).map(|argument| argument.to_string()).collect()
    };
    let call = |arguments: Vec<String>, says: Option<&str>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match says {
            Some(says) => fails("logits", &arguments, says),
            None => drop(succeeds("logits", &arguments)),
        }
    };

    let taps = ["--tap", "features.3", "--tap", "pool5"];
    call(with(&taps, &input, &output), None);
    let written = std::fs::read(&output).expect("the output");
    let written = SafeTensors::deserialize(&written).expect("safetensors");
    let network = formula::compiled(vgg11, CompileOptions::default());
    let ours = network.taps(&pixels, SHAPE, &["features.3", "pool5"]).expect("taps");
    assert_eq!(written.len(), 2);
    for (name, tap) in ["features.3", "pool5"].into_iter().zip(ours) {
        let tensor = written.tensor(name).expect(name);
        assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, &tap.shape[..]));
        let theirs = tensor.data().as_chunks().0.iter().map(|&value| f32::from_le_bytes(value));
        let largest = tap.values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let mut pairs = tap.values.iter().zip(theirs);
        assert!(pairs.all(|(a, b)| (a - b).abs() <= 1e-5 * largest), "{name}");
    }

    // A link stays a link, and an input is not overwritten.
    #[cfg(unix)]
    {
        let link = file("link");
        std::os::unix::fs::symlink(&output, &link).expect("a link");
        call(with(&taps, &input, &link), None);
        assert!(link.is_symlink());
    }
    call(with(&taps, &input, &input), Some("overwrite"));
    call(with(&taps, &input, &weights), Some("overwrite"));

    call(with(&["--tap", "conv9_1"], &input, &output), Some("conv5_2"));
    // What was there stays, and nothing half done is left where nothing was.
    assert!(std::fs::metadata(&output).is_ok_and(|info| info.len() > 0));
    call(with(&["--tap", "conv9_1"], &input, &file("new")), Some("conv5_2"));
    assert!(!file("new").exists());
    call(with(&taps, &file("missing"), &output), Some("missing"));
    call(with(&taps, &weights, &output), Some("only features.0.bias"));
    call(with(&taps, &input, &file("no/such/folder")), Some("no/such/folder"));
    call(with(&taps, Path::new("Cargo.toml"), &output), Some("safetensors"));
    let nan = [&pixels[..7], &[f32::NAN], &pixels[8..]].concat();
    write_input(&file("nan"), "input", &nan);
    call(with(&taps, &file("nan"), &output), Some("index 7"));
    // All of the network was asked for, and the file has no classifier.
    let arguments = ["--model", "vgg11", "--weights", text(&weights), "--input", text(&input)];
    let arguments = [&arguments[..], &["--output", text(&output)]].concat();
    fails("logits", &arguments, "classifier.6.bias: missing");
}

#[test]
fn two_gpu_shows_what_crosses_between_the_devices() {
    let said = succeeds("two_gpu", &["--no-forward", "--batch", "128"]);
    assert!(said.contains("--- 21632 values ---"), "before conv3: {said}");
    assert!(said.contains("the same at a batch of 997"), "{said}");
    let run = ["--model", "vgg11", "--width", "0.1", "--input", "64,48", "--batch", "2"];
    let said = succeeds("two_gpu", &run);
    assert!(said.contains("forward: one device"), "{said}");
    for (arguments, says) in [
        (["--devices", "cpu"], "gpu:0,gpu:1"),
        (["--devices", "gpu:x,gpu"], "gpu:0,gpu:1"),
        (["--batch", "0"], "batch"),
        (["--batch", "100000000"], "memory"),
        (["--width", "nan"], "at least 1 output channel"),
        (["--input", "10,10"], "too small"),
    ] {
        fails("two_gpu", &arguments, says);
    }
}

/// Built with the feature `train` alone.
#[test]
fn evaluate_counts_correct_predictions() {
    if cfg!(not(feature = "train")) {
        return eprintln!("skipped: it needs the feature `train`");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let (weights, unnamed) = (file("named.safetensors"), file("unnamed.safetensors"));
    write_named(&weights, &["cat", "cow", "rocket"]);
    let three = VggConfig::vgg11_bn().with_width(0.05).with_num_classes(3);
    write_weights(&three.architecture().expect("valid"), &unnamed);
    for name in ["cat", "rocket"] {
        let class = file("data/test").join(name);
        std::fs::create_dir_all(&class).expect("a folder");
        let photo = format!("{name}.jpg");
        std::fs::copy(format!("examples/photos/{photo}"), class.join(photo)).expect("copied");
    }
    std::fs::write(file("data/test/cat/broken.png"), "no picture").expect("written");

    let (data, report) = (file("data"), file("report"));
    let base = [text(&data), "--weights", text(&weights)];
    let output = run("evaluate", &[&base[..], &["--output", text(&report)]].concat());
    let [said, warned] =
        [output.stdout, output.stderr].map(|it| String::from_utf8(it).expect("text"));
    assert!(output.status.success(), "{warned}");
    for part in ["vgg11_bn, preset small", "of 2)", "could not be classified: 1", "cow", "recall"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for part in ["broken.png", "no pictures of cow", "data/test"] {
        assert!(warned.contains(part), "{part}: {warned}");
    }
    let mistakes = std::fs::read_to_string(report.join("mistakes.html")).expect("a page");
    assert!(mistakes.contains("<!DOCTYPE html>"), "{mistakes}");
    expect_svg(&report.join("confusion.svg"));
    let lines =
        |name: &str| std::fs::read_to_string(report.join(name)).expect(name).lines().count();
    assert_eq!((lines("classes.csv"), lines("predictions.csv")), (1 + 3, 1 + 2));
    let said = succeeds("evaluate", &[&base[..], &["--json", "--views", "flips"]].concat());
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&said["pictures"], said["broken"].as_array().map(Vec::len)), (&2.into(), Some(1)));

    let empty = file("data/test/cat");
    for (arguments, says) in [
        (vec![text(&data), "--weights", text(&unnamed)], "has 2 folders"),
        (vec!["examples", "--weights", text(&weights)], "pictures of this class"),
        (vec![text(&empty), "--weights", text(&weights)], "a folder of pictures for each class"),
        (vec!["no such folder", "--weights", text(&weights)], "no such folder"),
        (vec![text(&data), "--weights", "Cargo.toml"], "not a valid"),
        (vec![text(&data)], "--weights"),
    ] {
        fails("evaluate", &arguments, says);
    }
    std::fs::create_dir(file("data/test/dog")).expect("a folder");
    std::fs::copy("examples/photos/cat.jpg", file("data/test/dog/dog.jpg")).expect("copied");
    fails("evaluate", &base, "no class dog; its classes are cat, cow, rocket");
    let said = succeeds("evaluate", &[text(&data), "--weights", text(&unnamed)]);
    assert!(said.contains("dog"), "{said}");
}

fn expect_svg(path: &Path) {
    let picture = std::fs::read_to_string(path).expect("a picture");
    assert!(picture.starts_with("<svg") && picture.contains("</svg>"), "{}", path.display());
}

/// Built with the feature `train` alone.
#[test]
fn train_leaves_a_network_that_names_its_classes_or_says_why_not() {
    if cfg!(not(feature = "train")) {
        return eprintln!("skipped: it needs the feature `train`");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let data = file("data");
    for (class, shade) in [("dark", 30), ("light", 220)] {
        std::fs::create_dir_all(data.join(class)).expect("a folder");
        for index in 0..8 {
            let pixel = image::Rgb([shade, shade + index, shade]);
            let picture = image::RgbImage::from_pixel(40, 36, pixel);
            picture.save(data.join(format!("{class}/{index}.png"))).expect("a picture");
        }
    }
    let run_folder = file("run");
    let model = [
        "--model",
        "vgg11_bn",
        "--width",
        "0.05",
        "--input",
        "32",
        "--validation-fraction",
        "0.25",
    ];
    let small = [&[text(&data)][..], &model, &["--recipe", "small", "--batch", "4"]].concat();
    let train = |more: &[&str], output: &Path| -> [String; 2] {
        let mut command = example("train");
        let output = command.args(&small).args(more).arg("--output").arg(output).output();
        let output = output.expect("the example runs");
        let [said, warned] =
            [output.stdout, output.stderr].map(|it| String::from_utf8(it).expect("text"));
        let status = if output.status.success() { "done" } else { "failed" };
        [format!("{status} {said}"), warned]
    };
    let refused = |more: &[&str], output: &Path, says: &str| {
        let [said, warned] = train(more, output);
        assert!(said.starts_with("failed") && warned.contains(says), "{more:?}: {warned}");
        assert!(!warned.contains("panicked"), "{more:?}: {warned}");
    };
    let [said, warned] = train(&["--epochs", "3"], &run_folder);
    assert!(said.starts_with("done"), "{warned}");
    for part in ["12 training and 4 validation pictures", "epoch 3:", "finished; best"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for name in ["curves.svg", "confusion.svg"] {
        expect_svg(&run_folder.join(name));
    }
    let lines = std::fs::read_to_string(run_folder.join("metrics.csv")).expect("metrics");
    assert_eq!(lines.lines().count(), 1 + 3);
    let best = run_folder.join("best.safetensors");
    assert!(said.contains(&format!("classify -- PICTURE --weights {}", text(&best))), "{said}");
    let said = succeeds("inspect", &[text(&best)]);
    for part in ["\n    rate = 0.02\n", "% of 4 validation pictures\n"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let cat = "examples/photos/cat.jpg";
    let said = succeeds("classify", &[cat, "--weights", text(&best)]);
    assert!(said.contains("dark") && said.contains("light"), "{said}");
    let said = succeeds("evaluate", &[text(&data), "--weights", text(&best)]);
    assert!(said.contains("of 16)"), "{said}");

    // The same pictures as a list, which does not tell what its columns are.
    let (list, mut lines) = (file("list.csv"), "id;shade;side\n".to_string());
    for (class, index) in (0..16).map(|index| (["dark", "light"][index % 2], index / 2)) {
        lines += &format!("data/{class}/{index};{class};{}\n", ["left", "right"][index % 2]);
    }
    std::fs::write(&list, lines).expect("written");
    let evaluate = [text(&list), "--weights", text(&best)];
    fails("evaluate", &evaluate, "--label-column");
    let said = succeeds("evaluate", &[&evaluate[..], &["--label-column", "shade"]].concat());
    assert!(said.contains("of 16)"), "{said}");
    let by_list = [text(&list), "--label-column", "2", "--recipe", "small", "--epochs", "1"];
    let output = file("by_list");
    let said = succeeds("train", &[&by_list[..], &model, &["--output", text(&output)]].concat());
    assert!(said.contains("ignored: column 3 `side`"), "{said}");

    // Its recipe is one to begin with, and its weights are, too.
    let recipe = run_folder.join("recipe.toml");
    let again = [text(&data), "--recipe", text(&recipe), "--weights", text(&best)];
    let (tuned, head) = (file("tuned"), file("head"));
    let again = [&again[..], &model, &["--epochs", "1", "--output", text(&tuned)]].concat();
    succeeds("train", &again);
    let head_only = [text(&data), "--recipe", "finetune", "--weights", text(&best)];
    let freeze = ["--freeze", "features", "--epochs", "2", "--output", text(&head)];
    succeeds("train", &[&head_only[..], &model, &freeze].concat());
    assert!(head.join("best.safetensors").exists());

    refused(&[], &run_folder, "no checkpoint of an earlier run");
    refused(&[], &data.join("run"), "not inside the data");
    let new = file("new");
    refused(&["--freeze", "feautres"], &new, "no layer `feautres`");
    refused(&["--batch", "0"], &new, "batch");
    refused(&["--rate", "nan"], &new, "learning rate");
    refused(&["--input", "8"], &new, "too small");
    refused(&["--weights", "Cargo.toml"], &new, "not a valid");
    refused(&["--validation-fraction", "2"], &new, "fraction");
    std::fs::write(data.join("dark/broken.jpg"), "no picture").expect("written");
    refused(&["--validation-fraction", "0.4"], &file("stopped"), "broken.jpg");
    let [said, warned] = train(&["--skip-broken", "--epochs", "1"], &file("skipped"));
    assert!(
        said.starts_with("done") && warned.contains("1 pictures could not be read"),
        "{warned}"
    );
    let resume = [text(&data), "--resume", text(&new)];
    fails("train", &[&resume[..], &model].concat(), "the checkpoint of a run");
    fails("train", &[text(&data), "--recipe", "alexnet-2013"], "alexnet-2012, vgg-2014");
}

#[test]
fn without_arguments_a_digit_is_read_or_a_line_says_what_is_needed() {
    let said = succeeds("classify_burn", &[]);
    let first = said.lines().nth(1).expect("a line");
    assert!(first.contains("%  7"), "{said}");
    if cfg!(feature = "train") {
        assert!(succeeds("evaluate", &[]).contains("of 40)"));
    }
    for (name, example) in [("logits", "--model vgg16"), ("style", "PHOTO PICTURE")] {
        let output = run(name, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.lines().count() == 1, "{said}");
        assert!(said.contains(example) && said.starts_with(name), "{said}");
    }
}

/// By Grad-CAM.
#[test]
fn classify_burn_ranks_the_classes_and_draws_where_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let (weights, map) = (file("named.safetensors"), file("map.png"));
    write_named(&weights, &["cat", "cow", "rocket"]);
    let cat = "examples/photos/cat.jpg";
    let base = [cat, "--weights", text(&weights)];
    let said = succeeds("classify_burn", &[&base[..], &["--heatmap", text(&map)]].concat());
    assert!(["cat", "cow", "rocket"].iter().all(|name| said.contains(name)), "{said}");
    let drawn = vision::decode_file(&map).expect("a picture");
    assert_eq!(drawn.dimensions(), (451, 300));
    // The compiled engine finds the same.
    let first = |said: String| said.lines().nth(1).expect("a class").to_string();
    assert_eq!(first(said), first(succeeds("classify", &base)));
    for (arguments, says) in [
        (vec!["Cargo.toml", "--weights", text(&weights)], "a complete image"),
        (vec![cat, "--weights", "Cargo.toml"], "safetensors"),
        (vec![cat, cat, "--heatmap", text(&map)], "takes one photo, found 2"),
        (vec![cat, "--backend", "cuda"], "ndarray, flex, wgpu"),
    ] {
        fails("classify_burn", &arguments, says);
    }
}
