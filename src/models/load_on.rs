//! Networks on a backend that is chosen at run time, without a type parameter: compiled here, once for
//! each backend, and not again in every program that lets its user choose.

use super::{Architecture, IntoArchitecture, Network, grad_cam};
use crate::Result;
use crate::backend::{BackendName, Job};
use crate::weights::{LoadOptions, Weights};
use alexnet_vgg_core::predict::{HeatMap, Model};
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// A network on some backend: a [`Model`] that can also compute what needs gradients.
pub trait BackendModel: Model {
    /// Checks that the network takes a batch of `shape`, `[N, C, H, W]`: see [`Network::check`].
    ///
    /// # Errors
    /// As for [`Network::check`].
    fn check(&self, shape: [usize; 4]) -> Result<()>;

    /// Where in one image, `[1, C, H, W]`, flat, the network sees `class` or, by default, the class
    /// that it predicts: see [`grad_cam`].
    ///
    /// # Errors
    /// As for [`grad_cam`].
    fn grad_cam(
        &self,
        image: &[f32],
        shape: [usize; 4],
        layer: Option<&str>,
        class: Option<usize>,
    ) -> Result<(HeatMap, usize)>;
}

impl<B: Backend> BackendModel for Network<B> {
    fn check(&self, shape: [usize; 4]) -> Result<()> {
        self.check(shape, &self.device())
    }

    fn grad_cam(
        &self,
        image: &[f32],
        shape: [usize; 4],
        layer: Option<&str>,
        class: Option<usize>,
    ) -> Result<(HeatMap, usize)> {
        self.expect_values(image, shape)?;
        let network = self.with_gradients();
        let image = TensorData::new(image.to_vec(), shape);
        let image = Tensor::<Autodiff<B>, 4>::from_data(image, &network.device());
        grad_cam(&network, image, layer, class)
    }
}

/// A network with the weights of a file, on the default device of a backend.
///
/// ```no_run
/// use alexnet_vgg::backend::BackendName;
/// use alexnet_vgg::models::{VggConfig, load_on};
/// use alexnet_vgg::predict::Classifier;
/// use alexnet_vgg::weights::{LoadOptions, Weights};
///
/// let weights = Weights::open("vgg16.pth")?;
/// let backend: BackendName = "wgpu".parse()?;
/// let vgg = load_on(backend, VggConfig::vgg16(), &weights, LoadOptions::default())?;
/// let classifier = Classifier::builder(vgg).build()?;
/// println!("{}", classifier.classify_file("photo.jpg")?.predictions[0].label);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
///
/// # Errors
/// [`Error::Backend`](crate::Error::Backend) if the backend is not compiled in or has no device on this
/// machine, and as for [`Network::from_weights`].
pub fn load_on(
    backend: BackendName,
    architecture: impl IntoArchitecture,
    weights: &Weights,
    options: LoadOptions,
) -> Result<Box<dyn BackendModel>> {
    load(backend, architecture.into_architecture()?, weights, options)
}

// Not generic, so that it is compiled with this library, not again in every program.
fn load(
    backend: BackendName,
    architecture: Architecture,
    weights: &Weights,
    options: LoadOptions,
) -> Result<Box<dyn BackendModel>> {
    struct Load<'a>(Architecture, &'a Weights, LoadOptions);
    impl Job for Load<'_> {
        type Output = Box<dyn BackendModel>;

        fn run<B: Backend>(self, device: &B::Device) -> Result<Self::Output> {
            let Self(architecture, weights, options) = self;
            let network = Network::<B>::from_weights(architecture, weights, options, device)?;
            Ok(Box::new(network))
        }
    }
    backend.run(Load(architecture, weights, options))
}

/// A fresh network with random weights, on the default device of a backend.
///
/// ```
/// use alexnet_vgg::backend::BackendName;
/// use alexnet_vgg::models::{VggConfig, init_on};
///
/// let vgg = init_on(BackendName::preferred(), VggConfig::vgg11().with_width(0.05), 0)?;
/// assert_eq!(vgg.logits(&[0.5; 3 * 32 * 32], [1, 3, 32, 32])?.len(), 1000);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
///
/// # Errors
/// As for [`load_on`] and [`Network::new`].
pub fn init_on(
    backend: BackendName,
    architecture: impl IntoArchitecture,
    seed: u64,
) -> Result<Box<dyn BackendModel>> {
    init(backend, architecture.into_architecture()?, seed)
}

fn init(
    backend: BackendName,
    architecture: Architecture,
    seed: u64,
) -> Result<Box<dyn BackendModel>> {
    struct Init(Architecture, u64);
    impl Job for Init {
        type Output = Box<dyn BackendModel>;

        fn run<B: Backend>(self, device: &B::Device) -> Result<Self::Output> {
            B::seed(device, self.1);
            Ok(Box::new(Network::<B>::new(self.0, device)?))
        }
    }
    backend.run(Init(architecture, seed))
}
