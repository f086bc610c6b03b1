"""Writes together.safetensors: gradients and running statistics of a network that two processes train, by PyTorch.

    python together.py        (torch, numpy, safetensors)

A batch of six images is divided, unequally, as SHARDS says. Batch norm takes the statistics of a process's
own images, as PyTorch's DistributedDataParallel does ("own": running statistics are those of the first
process), or of all images, as its SyncBatchNorm does ("all"). Gradients are of the mean cross-entropy over
the batch. PyTorch runs in float64; weights and images, by formula.py, are in the file, too.
"""

import pathlib

import numpy as np
import torch
from formula import values_of
from safetensors.numpy import save_file
from torch import nn

BATCH, CLASSES = 6, 5
SHARDS = [slice(0, 4), slice(4, 6)]


def network() -> nn.Module:
    net = nn.Module()
    net.features = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2, 2),
        nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
    )  # fmt: skip
    net.avgpool = nn.AdaptiveAvgPool2d((2, 2))
    net.classifier = nn.Sequential(nn.Linear(24, CLASSES))
    net = net.double().train()
    for name, tensor in net.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(values_of(name, tuple(tensor.shape))))
    return net


def learn(net: nn.Module, images: torch.Tensor, part: slice) -> None:
    """Adds the gradients of a part of the batch."""
    logits = net.classifier(net.avgpool(net.features(images[part])).flatten(1))
    classes = torch.arange(BATCH)[part] % CLASSES
    (nn.functional.cross_entropy(logits, classes, reduction="sum") / BATCH).backward()


def state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.detach().clone() for name, t in net.state_dict().items() if not name.endswith("tracked")}


def results(prefix: str, gradients: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> dict:
    tensors = {f"{prefix}/gradient/{name}": gradient for name, gradient in gradients.items()}
    return tensors | {f"{prefix}/{name}": t for name, t in after.items() if "running" in name}


def main() -> None:
    images = torch.from_numpy(values_of("input", (BATCH, 3, 8, 8))).double()
    tensors = {"images": images} | {f"weights/{name}": t for name, t in state(network()).items()}

    ranks = [network() for _ in SHARDS]
    for net, part in zip(ranks, SHARDS):
        learn(net, images, part)
    names = [name for name, _ in ranks[0].named_parameters()]
    sums = {name: sum(net.get_parameter(name).grad for net in ranks) for name in names}
    tensors |= results("own", sums, state(ranks[0]))

    whole = network()
    learn(whole, images, slice(0, BATCH))
    gradients = {name: parameter.grad for name, parameter in whole.named_parameters()}
    tensors |= results("all", gradients, state(whole))

    arrays = {name: tensor.numpy().astype(np.float32) for name, tensor in tensors.items()}
    save_file(arrays, pathlib.Path(__file__).with_name("together.safetensors"))


if __name__ == "__main__":
    main()
