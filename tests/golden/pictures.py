"""Writes pictures.safetensors: what PyTorch sees in pictures, by small networks.

    python pictures.py        (torch, numpy, safetensors)

Grad-CAM (Selvaraju et al. 2017), LPIPS (Zhang et al. 2018) and its gradient, and feature vectors. The
weights and the input are a formula that crates/core/tests/formula/mod.rs computes too. PyTorch runs in float64.
"""

import pathlib

import numpy as np
import torch
from formula import values_of
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F

SAMPLES = 96
CLASSES = 10
CLASS = 5  # beside the one that the network answers


def vgg(convs, batch_norm=False) -> nn.Module:
    """An eighth of the published channels; numbers are convolutions, "M" is a pool."""
    layers, channels = [], 3
    for out in convs:
        if out == "M":
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers.append(nn.Conv2d(channels, out, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(out))
        layers.append(nn.ReLU())
        channels = out
    return network(layers, 7, [nn.Linear(64 * 49, 512), nn.ReLU(), nn.Dropout(),
                               nn.Linear(512, 512), nn.ReLU(), nn.Dropout(), nn.Linear(512, CLASSES)])


def alexnet() -> nn.Module:
    """torchvision's, with an eighth of the channels."""
    return network([
        nn.Conv2d(3, 8, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 24, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(),
        nn.Conv2d(48, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    ], 6, [nn.Dropout(), nn.Linear(32 * 36, 512), nn.ReLU(), nn.Dropout(),
           nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, CLASSES)])


def network(features, pool, classifier) -> nn.Module:
    net = nn.Module()
    net.features = nn.Sequential(*features)
    net.avgpool = nn.AdaptiveAvgPool2d(pool)
    net.classifier = nn.Sequential(*classifier)
    state = {
        name: torch.from_numpy(values_of(name, value.shape))
        for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    net.load_state_dict(state, strict=False)
    return net.double().eval()


# Network, height and width of its input, the layer that Grad-CAM takes, those that LPIPS takes (a row
# of the features each), and the ReLU of fc7 in the classifier.
D = [8, 8, "M", 16, 16, "M", 32, 32, 32, "M", 64, 64, 64, "M", 64, 64, 64, "M"]
A = [8, "M", 16, "M", 32, 32, "M", 64, 64, "M", 64, 64, "M"]
NETWORKS = {
    "vgg16": (lambda: vgg(D), (64, 80), 29, [3, 8, 15, 22, 29], 4),
    "vgg11_bn": (lambda: vgg(A, batch_norm=True), (64, 80), 27, [], 4),
    "alexnet": (alexnet, (127, 95), 11, [1, 4, 7, 9, 11], 5),
}


def grad_cam(net, image, row, cls):
    """The class, and its map, `[rows, columns]`."""
    maps = net.features[: row + 1](image)
    maps.retain_grad()
    logits = net.classifier(net.avgpool(net.features[row + 1 :](maps)).flatten(1))
    cls = int(logits.argmax()) if cls is None else cls
    logits[0, cls].backward()
    counts = maps.grad.mean(dim=(2, 3), keepdim=True)
    return cls, F.relu((counts * maps).sum(dim=1))[0].detach()


def lpips(net, rows, a, b, weights):
    """`[N]`. The 1e-20 changes no value: without it torch's gradient is NaN where all channels are 0."""
    total = 0
    for row, weight in zip(rows, weights):
        of_a, of_b = (
            maps / ((maps.square().sum(dim=1, keepdim=True) + 1e-20).sqrt() + 1e-10)
            for maps in (net.features[: row + 1](a), net.features[: row + 1](b))
        )
        squares = (of_a - of_b).square() * weight.reshape(1, -1, 1, 1)
        total = total + squares.sum(dim=1).mean(dim=(1, 2))
    return total


def samples(values: torch.Tensor) -> np.ndarray:
    """As in networks.py."""
    flat = values.detach().flatten().numpy()
    index = np.arange(SAMPLES, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(flat.size)
    return flat[index]


def golden(name: str) -> dict:
    build, (height, width), cam, taps, fc7 = NETWORKS[name]
    net = build()
    images = torch.from_numpy(values_of("input", (4, 3, height, width))).double()
    tensors = {}
    for what, wanted in (("answer", None), ("other", CLASS)):
        cls, cam_map = grad_cam(net, images[:1].clone().requires_grad_(), cam, wanted)
        tensors[f"cam/{what}"] = cam_map.numpy()
        tensors[f"cam/{what}/class"] = np.array([cls], dtype=np.int64)
    pooled = net.features(images)
    conv5 = F.normalize(pooled.mean(dim=(2, 3)))
    vectors = F.normalize(net.classifier[: fc7 + 1](net.avgpool(pooled).flatten(1)))
    tensors["conv5"] = conv5.detach().numpy()
    tensors["fc7"] = vectors.detach().numpy()
    if taps:
        a, b = images[:2].clone().requires_grad_(), images[2:]
        channels = [net.features[row - 1].out_channels for row in taps]
        equal = [torch.ones(count).double() for count in channels]
        learned = [
            torch.from_numpy(values_of(f"lin{i}.weight", (count,))).double()
            for i, count in enumerate(channels)
        ]
        tensors["lpips/learned"] = lpips(net, taps, a, b, learned).detach().numpy()
        distances = lpips(net, taps, a, b, equal)
        distances.sum().backward()
        tensors["lpips"] = distances.detach().numpy()
        tensors["lpips/gradient"] = samples(a.grad)
        tensors["lpips/gradient/largest"] = np.array([a.grad.abs().max().item()])
    return {f"{name}/{key}": value for key, value in tensors.items()}


if __name__ == "__main__":
    torch.manual_seed(0)
    tensors = {}
    for name in NETWORKS:
        tensors |= golden(name)
    tensors = {
        key: value if value.dtype == np.int64 else value.astype(np.float32)
        for key, value in tensors.items()
    }
    save_file(tensors, pathlib.Path(__file__).parent / "pictures.safetensors")
    for key, value in tensors.items():
        print(key, value.shape, float(np.abs(value).max()))
