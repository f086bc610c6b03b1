"""Takes a step of training by PyTorch on the CPU for each line on stdin, as training.rs does, and prints its
seconds, by the protocol of crates/core/benches/harness/peer.rs.

    python peer.py FOLDER_OF_networks.py NETWORK BATCH
"""

import sys
import time

import torch

folder, name, batch = sys.argv[1:]
sys.path.insert(0, folder)
from networks import NETWORKS  # noqa: E402

network = NETWORKS[name]().train()
optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4)
images = torch.randn(int(batch), 3, 224, 224)
classes = torch.arange(int(batch))


def forward(x):
    return network.classifier(network.avgpool(network.features(x)).flatten(1))


print("\nready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(forward(images), classes)
    loss.backward()
    optimizer.step()
    loss.item()
    print("\nseconds", time.perf_counter() - start, flush=True)
