"""Loads a VGG16 from each file named on stdin, and prints the seconds."""

import sys
import time

import safetensors.torch
import torch
import torchvision

model = torchvision.models.vgg16()
for line in sys.stdin:
    path = line.strip()
    start = time.perf_counter()
    if path.endswith(".pth"):
        state = torch.load(path, mmap=True, weights_only=True)
    else:
        state = safetensors.torch.load_file(path)
    model.load_state_dict(state, strict=True)
    seconds = time.perf_counter() - start
    del state
    print(seconds, flush=True)
