//! Random initial weights have the published distributions.

use alexnet_vgg_core::architecture::*;

/// The standard deviation of a parameter's values, and their largest magnitude in standard deviations.
fn spread(architecture: &Architecture, key: &str) -> (f64, f64) {
    let parameter = architecture.parameters().find(|own| own.key == key).expect("a parameter");
    let values = FreshWeights::new(7).rows(parameter, 0..parameter.shape[0]);
    assert_eq!(values.len() as u64, parameter.elements());
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum();
    let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let deviation = (squares / values.len() as f64).sqrt();
    (deviation, f64::from(largest) / deviation)
}

fn expect_close(ours: f64, theirs: f64) {
    assert!((ours / theirs - 1.0).abs() < 0.02, "{ours} is not {theirs}");
}

#[test]
fn fresh_weights_have_the_published_spread() {
    // conv3_2 of VGG16 at 1/4 width: 64 channels in and out.
    let vgg = |init| {
        let config = VggConfig::vgg16().with_width(0.25).with_initialization(init);
        config.architecture().expect("valid")
    };
    let alexnet = |config: AlexNetConfig| config.with_width(0.25).architecture().expect("valid");
    for (architecture, key, deviation) in [
        (vgg(VggInit::Torchvision), "features.12.weight", (2.0 / (64.0 * 9.0f64)).sqrt()),
        (vgg(VggInit::Paper), "features.12.weight", 0.1),
        (alexnet(AlexNetConfig::paper()), "features.8.weight", 0.01),
    ] {
        let (ours, tail) = spread(&architecture, key);
        expect_close(ours, deviation);
        assert!(tail > 3.5, "a normal distribution has tails: {tail}");
    }
    let (ours, tail) = spread(&alexnet(AlexNetConfig::torchvision()), "features.6.weight");
    expect_close(ours, 1.0 / (48.0 * 9.0f64).sqrt() / 3f64.sqrt());
    expect_close(tail, 3f64.sqrt());
}

#[test]
fn rows_do_not_depend_on_how_they_are_asked_for() {
    let vgg = VggConfig::vgg11().with_width(0.05).architecture().expect("valid");
    for parameter in vgg.parameters() {
        let rows = parameter.shape[0];
        let all = FreshWeights::new(1).rows(parameter, 0..rows);
        let parts: Vec<f32> =
            (0..rows).flat_map(|row| FreshWeights::new(1).rows(parameter, row..row + 1)).collect();
        assert_eq!(all, parts, "{}", parameter.key);
        let is_random = !matches!(parameter.fill, Fill::Constant(_));
        assert_eq!(all != FreshWeights::new(2).rows(parameter, 0..rows), is_random);
    }
}
