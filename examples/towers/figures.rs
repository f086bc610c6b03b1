//! What crosses, beside what data parallelism would move, and what each device has to do and to hold.

use alexnet_vgg::models::{Architecture, Divided, Division, Exchange, Step};
use alexnet_vgg::summary::Summary;
use std::fmt;

const F32: u64 = size_of::<f32>() as u64;
const MB: f64 = 1e6;

pub struct Figures {
    batch: u64,
    exchanges: Vec<Exchange>,
    /// Trained, of the whole network.
    parameters: u64,
    /// Multiplications of which one factor came from the other device, for an image.
    crossing: u64,
    /// Of an image.
    multiply_adds: u64,
    devices: [Load; 2],
    whole: Load,
}

/// What a device has to do and to hold for the batch.
struct Load {
    multiply_adds: u64,
    weight_bytes: u64,
    /// All layers' outputs, and what came from the other device: what training keeps.
    activation_bytes: u64,
}

impl Figures {
    pub fn new(
        table: &Architecture,
        division: &Division,
        batch: usize,
        input: [usize; 2],
    ) -> alexnet_vgg::Result<Self> {
        let summary = Summary::new(table, batch, input)?;
        let whole = Load {
            multiply_adds: summary.multiply_adds,
            weight_bytes: summary.weight_bytes,
            activation_bytes: summary.activation_bytes,
        };
        let batch = batch as u64;
        Ok(Self {
            batch,
            exchanges: division.exchanges(),
            parameters: summary.parameters,
            crossing: division.layers.iter().map(crossing).sum(),
            multiply_adds: division.layers.iter().map(|layer| layer.whole.multiply_adds).sum(),
            devices: [0, 1].map(|side| Load::of(division, side, batch)),
            whole,
        })
    }

    /// Bytes for an image, forward and backward.
    fn bytes_of_an_image(&self) -> u64 {
        2 * F32 * self.exchanges.iter().flat_map(|exchange| exchange.values).sum::<u64>()
    }

    /// Both devices together send so much when each has the whole network and half of the batch: of k
    /// devices each sends 2 (k - 1) / k of the gradients.
    fn bytes_of_data_parallelism(&self) -> u64 {
        2 * self.parameters * F32
    }
}

impl Load {
    fn of(division: &Division, side: usize, batch: u64) -> Self {
        let halves = || division.layers.iter().map(move |layer| &layer.halves[side]);
        let weights = |half: &Step| half.parameters.iter().map(|it| it.elements()).sum::<u64>();
        let outputs: u64 = halves().map(|half| half.output.elements()).sum();
        let received: u64 = division.layers.iter().map(|layer| layer.handed_over[1 - side]).sum();
        Self {
            multiply_adds: batch * halves().map(|half| half.multiply_adds).sum::<u64>(),
            weight_bytes: F32 * halves().map(weights).sum::<u64>(),
            activation_bytes: F32 * batch * (outputs + received),
        }
    }
}

/// Of a layer that sees both halves, the multiplications of what was handed over.
fn crossing(layer: &Divided) -> u64 {
    let both: u64 = layer.handed_over.iter().sum();
    let of_side = |side: usize| {
        let share = layer.handed_over[1 - side] as f64 / both.max(1) as f64;
        (layer.halves[side].multiply_adds as f64 * share).round() as u64
    };
    of_side(0) + of_side(1)
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / MB;
        writeln!(
            f,
            "what crosses for a batch of {}, MB in both directions together\n",
            self.batch
        )?;
        writeln!(f, "{:<10} {:>10} {:>10}", "before", "forward", "backward")?;
        let mut sum = 0;
        for exchange in &self.exchanges {
            let bytes = exchange.values.iter().sum::<u64>() * self.batch * F32;
            sum += bytes;
            writeln!(f, "{:<10} {:>10.3} {:>10.3}", exchange.layer, mb(bytes), mb(bytes))?;
        }
        writeln!(f, "{:<10} {:>10.3} {:>10.3}", "all", mb(sum), mb(sum))?;
        let (ours, theirs) = (2 * sum, self.bytes_of_data_parallelism());
        writeln!(
            f,
            "\nData parallelism (each device the whole network and half of the batch) moves the gradients: \
             {:.3} MB for\nany batch. These halves move {:.3} MB, {:.2} times as much; both move the same at \
             a batch of {}.",
            mb(theirs),
            mb(ours),
            ours as f64 / theirs as f64,
            theirs.div_ceil(self.bytes_of_an_image().max(1)),
        )?;
        writeln!(
            f,
            "\n{:.1} % of the connections cross between the devices.\n",
            100.0 * self.crossing as f64 / self.multiply_adds.max(1) as f64
        )?;
        writeln!(
            f,
            "{:<12} {:>16} {:>12} {:>16}",
            "batch of it", "G multiply-adds", "weights, MB", "activations, MB"
        )?;
        for (name, load) in ["device 0", "device 1", "one device"]
            .iter()
            .zip(self.devices.iter().chain([&self.whole]))
        {
            writeln!(
                f,
                "{name:<12} {:>16.3} {:>12.1} {:>16.1}",
                load.multiply_adds as f64 / 1e9,
                mb(load.weight_bytes),
                mb(load.activation_bytes)
            )?;
        }
        writeln!(
            f,
            "\nThe paper (section 3.5) on this scheme: it \"reduces our top-1 and top-5 error rates by 1.7% and \
             1.2%,\nrespectively, as compared with a net with half as many kernels in each convolutional layer \
             trained on one GPU.\"\n"
        )
    }
}
