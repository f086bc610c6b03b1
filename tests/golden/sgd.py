"""Writes sgd.safetensors: a small network after 50 steps by each update rule, by PyTorch.

    python sgd.py        (torch, numpy, safetensors)

Weights and images are the formula of formula.py, which crates/core/tests/formula/mod.rs computes too. PyTorch runs
in float64; its SGD is one rule, the AlexNet paper's is written down. The rate is divided by ten after 25
steps, because with a constant rate both rules take the same steps.
"""

import pathlib

import numpy as np
import torch
from formula import values_of
from safetensors.numpy import save_file
from torch import nn

BATCH, CLASSES, STEPS = 6, 3, 50
MOMENTUM, DECAY = 0.9, 5e-3


def network() -> nn.Module:
    net = nn.Module()
    net.features = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()
    )
    net.avgpool = nn.AdaptiveAvgPool2d((2, 2))
    net.classifier = nn.Sequential(nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    for name, parameter in net.named_parameters():
        parameter.data = torch.from_numpy(values_of(name, parameter.shape)).double()
    return net


def rate(step: int) -> float:
    return 0.05 if step < STEPS // 2 else 0.005


def loss_of(net: nn.Module) -> torch.Tensor:
    images = torch.from_numpy(values_of("input", (BATCH, 3, 8, 8))).double()
    logits = net.classifier(net.avgpool(net.features(images)).flatten(1))
    return nn.functional.cross_entropy(logits, torch.arange(BATCH) % CLASSES)


def by_pytorch(net: nn.Module) -> list[float]:
    sgd = torch.optim.SGD(net.parameters(), lr=rate(0), momentum=MOMENTUM, weight_decay=DECAY)
    losses = []
    for step in range(STEPS):
        for group in sgd.param_groups:
            group["lr"] = rate(step)
        loss = loss_of(net)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    return losses


def by_paper(net: nn.Module) -> list[float]:
    velocities = [torch.zeros_like(parameter) for parameter in net.parameters()]
    losses = []
    for step in range(STEPS):
        loss = loss_of(net)
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for w, v, g in zip(net.parameters(), velocities, gradients):
                v.copy_(MOMENTUM * v - DECAY * rate(step) * w - rate(step) * g)
                w.add_(v)
        losses.append(loss.item())
    return losses


def main() -> None:
    tensors = {}
    for rule, train in [("pytorch", by_pytorch), ("paper", by_paper)]:
        net = network()
        tensors[f"{rule}/losses"] = np.array(train(net), dtype=np.float64)
        for name, parameter in net.named_parameters():
            tensors[f"{rule}/{name}"] = parameter.detach().numpy().astype(np.float32)
    save_file(tensors, pathlib.Path(__file__).with_name("sgd.safetensors"))


if __name__ == "__main__":
    main()
