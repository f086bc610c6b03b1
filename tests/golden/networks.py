"""Writes networks.safetensors: samples of every layer's output of every network, by PyTorch.

    python networks.py        (torch, torchvision, numpy, safetensors)

The weights and the input are a formula that crates/core/tests/formula/mod.rs computes too, so only outputs are
stored: of each layer its shape, its largest magnitude, its mean magnitude, and SAMPLES values spread
over the whole tensor. PyTorch runs in float64, so the fixture is the truth to float32.
"""

import pathlib

import numpy as np
import torch
import torchvision
from formula import values_of
from safetensors.numpy import save_file
from torch import nn

SAMPLES = 96


def fill(name: str, shape) -> torch.Tensor:
    return torch.from_numpy(values_of(name, shape)).double()


def alexnet_paper(padding: int = 2, lrn=None) -> nn.Module:
    """Written down from the paper; torch's LRN divides alpha by the size, the paper does not."""
    lrn = lrn or (lambda: nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0))
    net = nn.Module()
    net.features = nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4, padding=padding), nn.ReLU(), lrn(), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), lrn(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
    )
    net.avgpool = nn.AdaptiveAvgPool2d((6, 6))
    net.classifier = nn.Sequential(
        nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(),
        nn.Linear(4096, 1000),
    )
    return net


def alexnet_caffe() -> nn.Module:
    """bvlc_alexnet/deploy.prototxt; Caffe's LRN divides alpha by the size, as torch's does."""
    return alexnet_paper(0, lambda: nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0))


def caffenet() -> nn.Module:
    """bvlc_reference_caffenet/deploy.prototxt: conv, ReLU, pool, LRN."""
    net = alexnet_caffe()
    layers = list(net.features)
    layers[2], layers[3], layers[6], layers[7] = layers[3], layers[2], layers[7], layers[6]
    net.features = nn.Sequential(*layers)
    return net


def vgg(convs, lrn: bool = False, batch_norm: bool = False) -> nn.Module:
    """Configurations that torchvision does not have; `(channels, kernel)` or "M" for a pool."""
    layers, channels = [], 3
    for entry in convs:
        if entry == "M":
            layers.append(nn.MaxPool2d(2, 2))
            continue
        out, kernel = entry
        layers.append(nn.Conv2d(channels, out, kernel, padding=kernel // 2))
        if batch_norm:
            layers.append(nn.BatchNorm2d(out))
        layers.append(nn.ReLU())
        if lrn and channels == 3:
            layers.append(nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0))
        channels = out
    net = torchvision.models.vgg16(init_weights=False)
    net.features = nn.Sequential(*layers)
    return net


A = [(64, 3), "M", (128, 3), "M", *[(256, 3)] * 2, "M", *[(512, 3)] * 2, "M", *[(512, 3)] * 2, "M"]
C = [*[(64, 3)] * 2, "M", *[(128, 3)] * 2, "M", *[(256, 3)] * 2, (256, 1), "M",
     *[(512, 3)] * 2, (512, 1), "M", *[(512, 3)] * 2, (512, 1), "M"]

NETWORKS = {
    name: (lambda name=name: getattr(torchvision.models, name)(weights=None))
    for name in ["alexnet", *(f"vgg{n}{bn}" for n in (11, 13, 16, 19) for bn in ("", "_bn"))]
} | {
    "alexnet_paper": alexnet_paper,
    "alexnet_caffe": alexnet_caffe,
    "caffenet": caffenet,
    "vgg11_lrn": lambda: vgg(A, lrn=True),
    "vgg11_lrn_bn": lambda: vgg(A, lrn=True, batch_norm=True),
    "vgg16_c": lambda: vgg(C),
    "vgg16_c_bn": lambda: vgg(C, batch_norm=True),
}

# Every network at its own size, and some at sizes where the adaptive pool has work to do.
CASES = [(name, (227, 227) if "caffe" in name else (224, 224)) for name in NETWORKS] + [
    ("alexnet_paper", (227, 227)),
    ("alexnet", (256, 320)),
    ("alexnet_paper", (199, 231)),
    ("vgg11", (256, 320)),
    ("vgg16", (97, 33)),
]


def samples(tensor: torch.Tensor) -> np.ndarray:
    flat = tensor.flatten().numpy()
    index = (np.arange(SAMPLES, dtype=np.uint64) * np.uint64(2654435761)) % np.uint64(flat.size)
    return flat[index].astype(np.float32)


def run(name: str, size) -> dict[str, np.ndarray]:
    build = NETWORKS[name]
    with torch.device("meta"):
        net = build(0) if (name, size) == ("alexnet_paper", (227, 227)) else build()
    net = net.to_empty(device="cpu").double().eval()
    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                tensor.copy_(fill(key, tuple(tensor.shape)))
    outputs = {}
    x = fill("input", (1, 3, *size))
    parts = [(f"features.{i}", m) for i, m in enumerate(net.features)]
    parts += [("avgpool", net.avgpool)]
    parts += [(f"classifier.{i}", m) for i, m in enumerate(net.classifier)]
    case = f"{name}@{size[0]}x{size[1]}"
    with torch.no_grad():
        for key, module in parts:
            x = x.flatten(1) if key == "classifier.0" else x
            # In-place ReLUs would change what was recorded before them.
            x = torch.relu(x) if isinstance(module, nn.ReLU) else module(x)
            outputs[f"{case}/{key}/samples"] = samples(x)
            outputs[f"{case}/{key}/shape"] = np.array(x.shape, dtype=np.int64)
            outputs[f"{case}/{key}/magnitude"] = np.array(
                [x.abs().max(), x.abs().mean()], dtype=np.float64
            )
    print(case, "logits", x.abs().max().item(), flush=True)
    return outputs


if __name__ == "__main__":
    fixture = {}
    with torch.no_grad():
        for name, size in CASES:
            fixture |= run(name, size)
    save_file(fixture, pathlib.Path(__file__).with_name("networks.safetensors"))
