"""Writes gradients.safetensors: samples of the gradient of every parameter of every network, by PyTorch.

    python gradients.py        (torch, torchvision, numpy, safetensors)

The networks are those of networks.py at WIDTH, in training, without dropout; weights and images are the
formula of formula.py. Of the mean cross-entropy of IMAGES images whose class is their index, stored are, of
each network, a row a trained parameter, in PyTorch's order: norm and sum of its gradient, and SAMPLES
values spread over it. PyTorch runs in float64, so the fixture is the truth to float32.
"""

import pathlib

import numpy as np
import torch
from formula import values_of
from networks import NETWORKS
from safetensors.numpy import save_file
from torch import nn

WIDTH = 0.125
CLASSES = 10
IMAGES, SIZE = 4, (96, 80)
SAMPLES = 16


def scaled(channels: int) -> int:
    """As VggConfig::width says it."""
    return max(2, 2 * int(channels * WIDTH / 2 + 0.5))


def narrow(net: nn.Module) -> nn.Module:
    """The same network with its channels and hidden features scaled, uninitialized."""
    for part in (net.features, net.classifier):
        for index, layer in enumerate(part):
            if isinstance(layer, nn.Conv2d):
                inputs = 3 if layer.in_channels == 3 else scaled(layer.in_channels)
                part[index] = nn.Conv2d(
                    inputs, scaled(layer.out_channels), layer.kernel_size,
                    layer.stride, layer.padding, groups=layer.groups,
                )
            elif isinstance(layer, nn.BatchNorm2d):
                part[index] = nn.BatchNorm2d(scaled(layer.num_features))
            elif isinstance(layer, nn.Linear):
                channels, pixels = layer.in_features, 1
                if layer is next(l for l in part if isinstance(l, nn.Linear)):
                    pixels = net.avgpool.output_size[0] * net.avgpool.output_size[1]
                out = CLASSES if layer.out_features == 1000 else scaled(layer.out_features)
                part[index] = nn.Linear(scaled(channels // pixels) * pixels, out)
            elif isinstance(layer, nn.Dropout):
                part[index] = nn.Dropout(0.0)
    return net


def samples(gradient: torch.Tensor) -> np.ndarray:
    flat = gradient.flatten().numpy()
    index = (np.arange(SAMPLES, dtype=np.uint64) * np.uint64(2654435761)) % np.uint64(flat.size)
    return flat[index].astype(np.float32)


def run(name: str) -> dict[str, np.ndarray]:
    with torch.device("meta"):
        net = narrow(NETWORKS[name]())
    net = net.to_empty(device="cpu").double().train()
    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                tensor.copy_(torch.from_numpy(values_of(key, tuple(tensor.shape))))
    images = torch.from_numpy(values_of("input", (IMAGES, 3, *SIZE))).double()
    logits = net.classifier(net.avgpool(net.features(images)).flatten(1))
    loss = nn.functional.cross_entropy(logits, torch.arange(IMAGES))
    loss.backward()
    gradients = [parameter.grad for parameter in net.parameters()]
    print(name, "loss", loss.item(), flush=True)
    return {
        f"{name}/loss": np.array([loss.item()]),
        f"{name}/magnitude": np.array([[g.norm().item(), g.sum().item()] for g in gradients]),
        f"{name}/samples": np.stack([samples(g) for g in gradients]),
    }


if __name__ == "__main__":
    fixture = {}
    for name in NETWORKS:
        fixture |= run(name)
    save_file(fixture, pathlib.Path(__file__).with_name("gradients.safetensors"))
