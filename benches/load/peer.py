"""Loads a VGG16 from each file named on stdin, into a network that is there already and into a new one,
and prints the seconds of each."""

import sys
import time

import safetensors.torch
import torch
import torchvision

there_already = torchvision.models.vgg16()


def load(path, model):
    if path.endswith(".pth"):
        state = torch.load(path, mmap=True, weights_only=True)
    else:
        state = safetensors.torch.load_file(path)
    model.load_state_dict(state, strict=True)


def new_network():
    """With memory of its own, and nothing in it: what would be drawn would be overwritten."""
    with torch.device("meta"):
        model = torchvision.models.vgg16()
    return model.to_empty(device="cpu")


for line in sys.stdin:
    path = line.strip()
    start = time.perf_counter()
    load(path, there_already)
    into_old = time.perf_counter() - start
    start = time.perf_counter()
    load(path, new_network())
    into_new = time.perf_counter() - start
    print(into_old, into_new, flush=True)
