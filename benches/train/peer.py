"""Takes a step of training by PyTorch on the CPU for each line on stdin, as training.rs does, and prints its
seconds, by the protocol of crates/core/benches/harness/peer.rs. It does so in the fastest of four ways: with or
without the memory format channels_last, and with or without the fused optimizer.

    python peer.py FOLDER_OF_networks.py NETWORK BATCH
"""

import itertools
import sys
import time

import torch

folder, name, batch = sys.argv[1:]
sys.path.insert(0, folder)
from networks import NETWORKS  # noqa: E402

classes = torch.arange(int(batch))


def steps(memory_format, fused):
    """Yields the seconds of one step after the other."""
    network = NETWORKS[name]().train().to(memory_format=memory_format)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4, fused=fused)
    images = torch.randn(int(batch), 3, 224, 224).to(memory_format=memory_format)
    while True:
        start = time.perf_counter()
        optimizer.zero_grad()
        features = network.avgpool(network.features(images))
        loss = torch.nn.functional.cross_entropy(network.classifier(features.flatten(1)), classes)
        loss.backward()
        optimizer.step()
        loss.item()
        yield time.perf_counter() - start


def seconds(way):
    """Of the fastest of a few steps, the first of which allocate memory."""
    return min(itertools.islice(steps(*way), 4))


fastest = min(itertools.product([torch.contiguous_format, torch.channels_last], [False, True]), key=seconds)
print(f"PyTorch's fastest way: {fastest[0]}, fused optimizer: {fastest[1]}", file=sys.stderr)
run = steps(*fastest)
print("\nready", flush=True)
for _ in sys.stdin:
    print("\nseconds", next(run), flush=True)
