//! The examples as a user runs them, on good and on bad input: what they promise on the command line
//! is kept by later versions, and a mistake is one message, never a panic.

mod formula;

use alexnet_vgg::backend::Cpu;
use alexnet_vgg::models::*;
use alexnet_vgg::vision::{self, Labels, Preset};
use burn::tensor::{Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const SHAPE: [usize; 4] = [2, 3, 64, 80];

/// `cargo test` builds the examples beside the tests.
fn example(name: &str) -> Command {
    let this = std::env::current_exe().expect("this test");
    let folder = this.ancestors().nth(2).expect("target/PROFILE");
    let program = folder.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "{} is built by `cargo test` or `cargo build --examples`",
        program.display()
    );
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn run(name: &str, arguments: &[&str]) -> Output {
    example(name).args(arguments).output().expect("the example runs")
}

fn succeeds(name: &str, arguments: &[&str]) -> String {
    let output = run(name, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn fails(name: &str, arguments: &[&str], says: &str) {
    let output = run(name, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{name} {arguments:?}: {said}");
    assert!(said.contains(says) && !said.contains("panicked"), "{name} {arguments:?}: {said}");
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// torchvision's VGG11 at full width would be 500 MB; without a classifier it is 37.
fn write_weights(table: &Architecture, path: &Path) {
    let tensors: Vec<_> = (table.parameters().expect("valid").into_iter())
        .map(|p| (bytes(&formula::fill(&p.key, &p.shape, 0..p.shape[0])), p))
        .collect();
    let views = tensors.iter().map(|(bytes, p)| {
        (p.key.as_str(), TensorView::new(Dtype::F32, p.shape.clone(), bytes).expect("a tensor"))
    });
    safetensors::serialize_to_file(views, None, path).expect("a writable folder");
}

fn write_input(path: &Path, name: &str, values: &[f32]) {
    let bytes = bytes(values);
    let view = TensorView::new(Dtype::F32, SHAPE.to_vec(), &bytes).expect("a tensor");
    safetensors::serialize_to_file([(name, view)], None, path).expect("a writable folder");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

#[test]
fn logits_writes_what_the_network_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let table = VggConfig::vgg11().architecture().without_classifier();
    let (weights, input, output) = (file("weights"), file("input"), file("output"));
    write_weights(&table, &weights);
    let pixels = formula::fill("input", &SHAPE, 0..2);
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
    let network: Network<Cpu> = formula::network(table, &Default::default());
    let images = Tensor::from_data(TensorData::new(pixels.clone(), SHAPE), &Default::default());
    let ours = network.taps(images, &["features.3", "pool5"]).expect("taps");
    assert_eq!(written.len(), 2);
    for (name, tap) in ["features.3", "pool5"].into_iter().zip(ours) {
        let tensor = written.tensor(name).expect(name);
        assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, &tap.dims()[..]));
        let values: Vec<f32> = tap.into_data().expect("a CPU").iter::<f32>().collect();
        let theirs = tensor.data().as_chunks().0.iter().map(|&value| f32::from_le_bytes(value));
        let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        // The example may run on another backend than this test.
        assert!(values.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 1e-5 * largest), "{name}");
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
fn towers_shows_who_talks_where() {
    let said = succeeds("towers", &["--no-forward", "--batch", "128"]);
    assert!(said.contains("--- 21632 values ---"), "before conv3: {said}");
    assert!(said.contains("the same at a batch of 997"), "{said}");
    let run = ["--model", "vgg11", "--width", "0.1", "--input", "64,48", "--batch", "2"];
    let said = succeeds("towers", &run);
    assert!(said.contains("forward: one device"), "{said}");
    for (arguments, says) in [
        (["--devices", "cpu"], "gpu:0,gpu:1"),
        (["--devices", "gpu:x,gpu"], "gpu:0,gpu:1"),
        (["--batch", "0"], "batch"),
        (["--batch", "100000000"], "memory"),
        (["--width", "nan"], "at least 1 output channel"),
        (["--input", "10,10"], "too small"),
    ] {
        fails("towers", &arguments, says);
    }
}

#[test]
fn shapes_reads_tables_and_refuses_what_nobody_has() {
    let all = succeeds("shapes", &["--no-forward"]);
    for config in NetworkConfig::all() {
        assert!(all.contains(&format!("{}  input", config.architecture().name)), "{all}");
    }
    let json = succeeds("shapes", &["--model", "vgg16", "--no-forward", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["parameters"], 138_357_544);
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
        (["--backend", "cuda"], "ndarray, flex, wgpu"),
        (["--format", "xml"], "json"),
    ] {
        fails("shapes", &arguments, says);
    }
}

/// As in `shapes | head -1`.
#[test]
fn nobody_has_to_read_on() {
    let arguments = ["--no-forward", "--format", "json"];
    let mut child = example("shapes").args(arguments).stdout(Stdio::piped()).spawn().expect("runs");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn classify_answers_for_each_photo_or_says_why_not() {
    let said = succeeds(
        "classify",
        &["examples/photos/cat.jpg", "--model", "alexnet", "--num-classes", "3", "--top-k", "2"],
    );
    assert!(said.contains("untrained") && said.contains("cat.jpg"), "{said}");
    assert_eq!(said.matches(" %  class ").count(), 2, "{said}");
    // A folder: a line for each photo, as JSON, and the broken one is no reason to stop.
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["cat.jpg", "rocket.jpg"] {
        std::fs::copy(format!("examples/photos/{name}"), folder.path().join(name)).expect("copied");
    }
    std::fs::write(folder.path().join("broken.png"), "no picture").expect("written");
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
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("1 of 3 photos could not be classified")
    );

    let map = folder.path().join("map.png");
    let dense = ["examples/photos/cat.jpg", "--views", "dense", "--heatmap", text(&map)];
    let said = succeeds("classify", &[&dense[..], &base].concat());
    assert!(said.contains("2 views"), "{said}");
    let drawn = image::open(&map).expect("a picture");
    assert!(drawn.width() >= 451 && drawn.height() > 300, "{:?}", drawn.width());

    for (arguments, says) in [
        (&["Cargo.toml"][..], "expected a whole picture"),
        (&["no such photo.jpg"], "no such photo.jpg"),
        (&["examples/photos/cat.jpg", "--weights", "Cargo.toml"], "safetensors"),
        (&["examples/photos/cat.jpg", "--preset", "torch"], "imagenet, caffe"),
        (&["examples/photos/cat.jpg", "--labels", "Cargo.toml"], "labels: expected 1000"),
        (&["src/engine"], "no photos there"),
        (&["no/such/*.jpg"], "no photos there"),
        (&["examples/photos/cat.jpg", "--views", "nine-crop"], "ten-crop"),
        (&["examples/photos/cat.jpg", "--scales", "100"], "at least the crop, 224"),
        (&["examples/photos", "--heatmap", "map.png"], "takes one photo, found 2"),
        (&["examples/photos/cat.jpg", "--ensemble", "Cargo.toml"], "Cargo.toml"),
        (&["examples/photos/cat.jpg", "--weights", "a", "--pretrained"], "cannot be used with"),
        (&[], "PHOTOS"),
    ] {
        fails("classify", &[&["--model", "alexnet"], arguments].concat(), says);
    }
}

/// A narrow network that says itself which it is, what its classes are called and what it wants.
fn write_named(path: &Path, names: &[&str]) {
    let config = VggConfig::vgg11_bn().with_width(0.05).with_num_classes(names.len());
    let preset = Preset { name: "small".into(), resize: 72, crop: 64, ..Preset::imagenet() };
    let network: Network<Cpu> = Network::new(config, &Default::default()).expect("a network");
    let network = network.with_preset(preset).with_labels(Labels::new(names.iter().copied()));
    network.save(path).expect("a writable folder");
}

#[test]
fn weights_say_what_their_classes_are_called() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let (own, other, half) =
        (file("own.safetensors"), file("other.safetensors"), file("half.safetensors"));
    write_named(&own, &["cat", "rocket", "a\u{1b}[31m"]);
    write_named(&other, &["rocket", "cat", "dog"]);
    let base = ["examples/photos/cat.jpg", "--weights", text(&own)];
    let said = succeeds("classify", &base);
    assert_eq!(said.matches(" %  ").count(), 3, "{said}");
    assert!(["cat", "rocket", "a\\u{1b}[31m"].iter().all(|name| said.contains(name)), "{said}");
    succeeds("classify", &[&base[..], &["--ensemble", text(&own)]].concat());
    for (arguments, says) in [
        (["--ensemble", text(&other)], "different classes"),
        (["--num-classes", "4"], "labels: expected 4"),
        (["--model", "vgg13"], "not the weights of vgg13"),
        (["--preset", "caffe"], "trained with preset small"),
    ] {
        fails("classify", &[&base[..], &arguments].concat(), says);
    }

    succeeds("convert", &[text(&own), text(&half), "--dtype", "f16"]);
    let said = succeeds("inspect", &[text(&half)]);
    assert!(said.contains("3 labels: cat, rocket, a\\u{1b}[31m\n"), "{said}");
    std::fs::write(file("names.txt"), "1\n2\n3\n").expect("written");
    let named = [text(&own), text(&half), "--labels", text(&file("names.txt"))].map(str::to_string);
    fails("convert", &named.each_ref().map(String::as_str), "other labels");
}

/// Built with the feature `train` alone.
#[test]
fn evaluate_counts_what_is_right() {
    if cfg!(not(feature = "train")) {
        return eprintln!("skipped: it needs the feature `train`");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let (weights, unnamed) = (file("named.safetensors"), file("unnamed.safetensors"));
    write_named(&weights, &["cat", "cow", "rocket"]);
    let three = VggConfig::vgg11_bn().with_width(0.05).with_num_classes(3);
    write_weights(&three.architecture(), &unnamed);
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
    for name in ["confusion.png", "mistakes.png"] {
        vision::decode_file(report.join(name)).expect("a picture");
    }
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
    let model =
        ["--model", "vgg11_bn", "--width", "0.05", "--input", "32", "--valid-share", "0.25"];
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
    for name in ["curves.png", "confusion.png"] {
        vision::decode_file(run_folder.join(name)).expect("a picture");
    }
    let lines = std::fs::read_to_string(run_folder.join("metrics.csv")).expect("metrics");
    assert_eq!(lines.lines().count(), 1 + 3);
    let best = run_folder.join("best.safetensors");
    let cat = "examples/photos/cat.jpg";
    let said = succeeds("classify", &[cat, "--weights", text(&best)]);
    assert!(said.contains("dark") && said.contains("light"), "{said}");
    let said = succeeds("evaluate", &[text(&data), "--weights", text(&best)]);
    assert!(said.contains("of 16)"), "{said}");

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
    refused(&[], &data.join("run"), "not within the data");
    let new = file("new");
    refused(&["--freeze", "feautres"], &new, "no layer `feautres`");
    refused(&["--batch", "0"], &new, "batch");
    refused(&["--rate", "nan"], &new, "learning rate");
    refused(&["--input", "8"], &new, "too small");
    refused(&["--weights", "Cargo.toml"], &new, "not a valid");
    refused(&["--valid-share", "2"], &new, "share");
    std::fs::write(data.join("dark/broken.jpg"), "no picture").expect("written");
    refused(&["--valid-share", "0.4"], &file("stopped"), "broken.jpg");
    let [said, warned] = train(&["--skip-broken", "--epochs", "1"], &file("skipped"));
    assert!(
        said.starts_with("done") && warned.contains("1 pictures could not be read"),
        "{warned}"
    );
    let resume = [text(&data), "--resume", text(&new)];
    fails("train", &[&resume[..], &model].concat(), "the checkpoint of a run");
    fails("train", &[text(&data), "--recipe", "alexnet-2013"], "alexnet-2012, vgg-2014");
}

/// What is said before anything is fetched.
#[test]
fn classify_fetches_published_weights_or_says_why_not() {
    let classify = |more: &[&str], says| {
        let arguments = ["examples/photos/cat.jpg", "--pretrained"];
        fails("classify", &[&arguments, more].concat(), says);
    };
    if cfg!(not(feature = "hub")) {
        return classify(&[], "feature `hub`");
    }
    classify(&["--model", "vgg16_c"], "alexnet, vgg11, vgg11_bn");
    classify(&["--num-classes", "10"], "1000 classes");
    classify(&["--preset", "caffe"], "trained with preset imagenet");
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
    write_weights(&network.architecture(), &weights);
    let weighed = [&to(text(&weights))[..], &["--weights", text(&weights)]].concat();
    fails("export_onnx", &weighed, "overwrite");
    // What goes to stdout is the model alone.
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
        (vec![text(&timm), text(&back), "--preset", "caffe"], "preset imagenet"),
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
        (vec!["Cargo.toml", "--output", text(&sheet)], "a whole picture"),
        (vec![cat, "--output", "no/such/sheet.png"], "no/such/sheet.png"),
        ([&base[..], &["--count", "0"]].concat(), "--count"),
        ([&[cat, cat][..], &base, &["--count", "700", "--crop", "8"]].concat(), "too large"),
        ([&base[..], &["--crop", "0"]].concat(), "a side from 1 to 4096"),
        ([&base[..], &["--augmentation", "vgg17"]].concat(), "alexnet, vgg, torchvision"),
        ([&base[..], &["--augmentation", text(&broken)]].concat(), "a crop at its end"),
        ([&base[..], &["--augmentation", "no such.json"]].concat(), "No such file"),
        ([&base[..], &["--pca-from", "no such folder"]].concat(), "no such folder"),
        ([&base[..], &["--pca-from", ".ci"]].concat(), "found none"),
    ] {
        fails("augment", &arguments, says);
    }
}
