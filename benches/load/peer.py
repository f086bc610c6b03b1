"""Loads a VGG16 from each file named on stdin, into an existing network and then into a new one, and prints
the seconds of both, by the protocol of crates/core/benches/harness/peer.rs."""

import sys
import time

import safetensors.torch
import torch
import torchvision

existing_network = torchvision.models.vgg16()


def load(path, model):
    if path.endswith(".pth"):
        state = torch.load(path, mmap=True, weights_only=True)
    else:
        state = safetensors.torch.load_file(path)
    model.load_state_dict(state, strict=True)


def new_network():
    """With uninitialized memory: random weights would only be overwritten."""
    with torch.device("meta"):
        model = torchvision.models.vgg16()
    return model.to_empty(device="cpu")


print("\nready", flush=True)
for line in sys.stdin:
    path = line.rstrip("\n")
    start = time.perf_counter()
    load(path, existing_network)
    into_existing = time.perf_counter() - start
    start = time.perf_counter()
    load(path, new_network())
    into_new = time.perf_counter() - start
    print("\nseconds", into_existing, into_new, flush=True)
