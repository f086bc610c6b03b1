//! Values out of a network are those that went in, in any rows.

use crate::formula;
use alexnet_vgg::Error;
use alexnet_vgg::backend::Cpu as B;
use alexnet_vgg::models::*;
use burn::tensor::{Tensor, TensorData};

fn logits(network: &Network<B>) -> Vec<f32> {
    let shape = [2, 3, 70, 63];
    let images = TensorData::new(formula::fill("input", &shape, 0..2), shape);
    let logits = network.forward(Tensor::from_data(images, &Default::default()));
    logits.into_data().iter::<f32>().collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_network_from_anothers_values_is_that_network() {
    let device = Default::default();
    let tables = [
        VggConfig::vgg13_bn().with_width(0.1).with_num_classes(7).architecture().expect("valid"),
        AlexNetConfig::paper().with_width(0.1).architecture().expect("valid"),
        AlexNetConfig::torchvision()
            .with_width(0.1)
            .architecture()
            .expect("valid")
            .without_classifier(),
    ];
    for table in tables {
        let network: Network<B> = formula::network(table.clone(), &device);
        for p in table.parameters() {
            let all = formula::fill(&p.key, &p.shape, 0..p.shape[0]);
            let read = network.values(p, 0..p.shape[0]).expect("its own parameter");
            assert_eq!(bits(&all), bits(&read), "{}", p.key);
        }
        let copy = Network::from_values(&table, &device, |p, rows| network.values(p, rows));
        assert_eq!(bits(&logits(&network)), bits(&logits(&copy.expect("a copy"))));
    }
}

/// One linear layer of 137 MiB, kept in two chunks.
#[test]
fn rows_may_begin_and_end_anywhere() {
    let last = VggConfig::vgg11().table().classifier.pop().expect("a linear layer");
    let Layer::Linear { init, .. } = last else { panic!("{last}") };
    let table = Table {
        name: "one layer".into(),
        input: [512, 7, 7],
        features: Vec::new(),
        pool: [7, 7],
        classifier: vec![Layer::Linear { out: 1430, init }],
        numbering: Numbering::Blocks,
    };
    let table = Architecture::new(table).expect("valid");
    let network: Network<B> = formula::network(table.clone(), &Default::default());
    let [weight, bias] = &table.parameters().collect::<Vec<_>>()[..] else { panic!("two") };
    assert_eq!(weight.row_chunks().collect::<Vec<_>>(), [0..715, 715..1430]);
    assert!(bias.row_chunks().eq(std::iter::once(0..1430)));
    let ranges = [0..715, 715..1430, 0..1, 1429..1430, 710..721, 714..715, 9..9, 0..1430];
    for (p, rows) in ranges.iter().flat_map(|rows| [(*weight, rows), (*bias, rows)]) {
        let wanted = formula::fill(&p.key, &p.shape, rows.clone());
        let read = network.values(p, rows.clone()).expect("its own parameter");
        assert!(wanted == read, "{} {rows:?}", p.key);
    }
}

#[test]
fn what_the_network_does_not_have_is_an_error() {
    let table = VggConfig::vgg11().with_width(0.05).architecture().expect("valid");
    let network: Network<B> = formula::network(table.clone(), &Default::default());
    let mut own = table.steps()[0].parameters[0].clone();
    let fails = |p: &Parameter, rows, says: &str| match network.values(p, rows) {
        Err(error @ Error::Setting { .. }) => {
            assert!(error.to_string().contains(says), "{error}");
        }
        other => panic!("{says}: {other:?}"),
    };
    fails(&own, 0..5, "rows within 0..4, found 0..5");
    #[allow(clippy::reversed_empty_ranges)]
    fails(&own, 3..2, "rows within 0..4, found 3..2");
    own.shape[3] = 5;
    fails(&own, 0..4, "found [4, 3, 3, 5]");
    own.key = "features.99.weight".into();
    fails(&own, 0..4, "vgg11: features.99.weight: expected a parameter of this network");
}
