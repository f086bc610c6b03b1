//! A run that is continued from its folder alone.

use alexnet_vgg::backend::{BackendName, Flex};
use alexnet_vgg::models::{Network, NetworkConfig, VggConfig};
use alexnet_vgg::train::processes::SingleProcess;
use alexnet_vgg::train::{
    Event, FolderOptions, Recipe, RunResult, StopReason, StoredRun, TrainOptions, train_folder_on,
};
use alexnet_vgg::weights::Weights;
use burn::train::Interrupter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Eight pictures in each of two classes, of all shades, so that they have principal colors.
fn draw_pictures(folder: &Path) {
    for (class, shade) in [("dark", 20), ("light", 180)] {
        std::fs::create_dir_all(folder.join(class)).expect("a folder");
        for index in 0..8u32 {
            let pixel = |x: u32, y: u32| {
                let value = |number: u32| (shade + (x * 7 + y * 13 + index * number) % 60) as u8;
                image::Rgb([value(5), value(17), value(31)])
            };
            let picture = image::RgbImage::from_fn(40, 36, pixel);
            picture.save(folder.join(format!("{class}/{index}.png"))).expect("a picture");
        }
    }
}

fn options(weights: &Path) -> FolderOptions {
    let recipe = Recipe::by_name("alexnet-2012").expect("known");
    let recipe = Recipe { batch: 4, epochs: 2, augmentation: named("alexnet"), ..recipe };
    let network = NetworkConfig::by_name("vgg11_bn").expect("known");
    let weights = Some(weights.into());
    FolderOptions {
        weights,
        input: 32,
        resize: Some(36),
        width: 0.05,
        validation_fraction: 0.25,
        ..FolderOptions::new(network, recipe)
    }
}

fn named(augmentation: &str) -> alexnet_vgg::train::RecipeAugmentation {
    alexnet_vgg::train::RecipeAugmentation::Named(augmentation.into())
}

/// One that ends after its first step, if it is `short`.
fn run(
    run: &StoredRun,
    output: &Path,
    resume: bool,
    short: bool,
) -> alexnet_vgg::Result<RunResult> {
    let interrupter = Interrupter::new();
    let stop = interrupter.clone();
    let on_event = move |event: Event| {
        if short && matches!(event, Event::Step(_)) {
            stop.stop(None);
        }
    };
    let options = TrainOptions {
        output: Some(output.into()),
        resume,
        interrupter,
        on_event: Arc::new(on_event),
        ..TrainOptions::default()
    };
    train_folder_on(BackendName::Flex, &run.data, &run.options, options)
}

/// Draws the pictures in `folder/data`, and writes the random weights that a run begins with. Returns their path.
fn begin_in(folder: &Path) -> PathBuf {
    draw_pictures(&folder.join("data"));
    let begun_with = folder.join("begun_with.safetensors");
    let config = VggConfig::vgg11_bn().with_width(0.05).with_num_classes(5);
    let network: Network<Flex> = Network::new(config, &Default::default()).expect("a network");
    network.save(&begun_with).expect("a file");
    begun_with
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("a file")
}

#[test]
fn a_folder_is_enough_to_continue_a_run_whose_files_were_moved() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let begun_with = begin_in(folder.path());
    let (whole, pieces) = (file("whole"), file("pieces"));
    let begun = StoredRun { data: file("data"), backend: None, options: options(&begun_with) };

    let result = run(&begun, &whole, false, false).expect("a run");
    assert_eq!(result.stop_reason, StopReason::Finished);
    let result = run(&begun, &pieces, false, true).expect("the beginning of a run");
    assert_eq!(result.stop_reason, StopReason::Interrupted);

    let stored = StoredRun::read(&pieces, &SingleProcess).expect("readable").expect("a run");
    let preset = stored.options.preset.clone();
    assert_eq!(preset.as_ref().map(|preset| (preset.crop, preset.resize)), Some((32, 36)));
    let mut expected = StoredRun { backend: Some(BackendName::Flex), ..begun.clone() };
    expected.options.preset = preset;
    assert_eq!(stored, expected);

    std::fs::rename(file("data"), file("moved")).expect("a new name");
    // All weights are in the checkpoint.
    std::fs::remove_file(&begun_with).expect("a file");
    let error = stored.expect_files(&pieces).expect_err("moved").to_string();
    let old = file("data").display().to_string();
    assert!(error.contains(&old) && error.contains("--resume"), "{error}");
    let mut stored = StoredRun { data: file("moved"), ..stored };
    stored.expect_files(&pieces).expect("what is needed");

    // Another run than that of the checkpoint changes nothing in its folder.
    let remembered = bytes(&pieces.join("run.toml"));
    stored.options.recipe.rate = 0.5;
    let error = run(&stored, &pieces, true, false).expect_err("another rate").to_string();
    assert!(error.contains("rate: 0.5, was 0.01") && error.contains("began with"), "{error}");
    assert_eq!(bytes(&pieces.join("run.toml")), remembered);

    stored.options.recipe.rate = 0.01;
    let result = run(&stored, &pieces, true, false).expect("the rest of the run");
    assert_eq!(result.stop_reason, StopReason::Finished);
    for name in ["last.safetensors", "best.safetensors"] {
        let [a, b] = [&whole, &pieces].map(|of| Weights::open(of.join(name)).expect("weights"));
        // The number of batches is an integer, and always 0.
        let is_weight = |name: &&str| !name.ends_with("num_batches_tracked");
        for name in a.tensors().map(|tensor| tensor.name).filter(is_weight) {
            assert_eq!(a.values(name).expect("values"), b.values(name).expect("values"), "{name}");
        }
    }
    let stored = StoredRun::read(&pieces, &SingleProcess).expect("readable").expect("a run");
    assert_eq!(stored.data, file("moved"));
}

#[test]
fn a_classifier_that_is_trained_alone_needs_the_weights_that_it_began_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let begun_with = begin_in(folder.path());
    let mut recipe = Recipe::by_name("finetune").expect("known");
    recipe.epochs = 0;
    let head = recipe.head.as_mut().expect("a head");
    (head.epochs, head.batch) = (2, 4);
    let options = FolderOptions { recipe, ..options(&begun_with) };
    let begun = StoredRun { data: file("data"), backend: None, options };
    run(&begun, &file("run"), false, true).expect("the beginning of a run");

    let stored = StoredRun::read(file("run"), &SingleProcess).expect("readable").expect("a run");
    std::fs::rename(&begun_with, file("moved.safetensors")).expect("a new name");
    let error = stored.expect_files(file("run")).expect_err("moved").to_string();
    assert!(error.contains("begun_with") && error.contains("--weights FILE"), "{error}");
    let options = FolderOptions { weights: Some(file("moved.safetensors")), ..stored.options };
    let stored = StoredRun { options, ..stored };
    stored.expect_files(file("run")).expect("what is needed");
    let result = run(&stored, &file("run"), true, false).expect("the rest of the run");
    assert_eq!((result.stop_reason, result.history.epochs.len()), (StopReason::Finished, 2));
}
