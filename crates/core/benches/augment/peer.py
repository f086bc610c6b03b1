"""Augments all JPEGs of a folder by torchvision on Pillow, for each line on stdin, which names the
augmentation: with two worker threads, then with two worker processes. Prints the seconds of both, by the
protocol of harness/peer.rs.

    python peer.py FOLDER COUNT BATCH
"""

import io
import multiprocessing
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import torch
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import functional as F

WORKERS = 2


class PcaColor:
    """PCA color augmentation as in fb.resnet.torch, on values from 0 to 1."""

    values = torch.tensor([0.2175, 0.0188, 0.0045])
    vectors = torch.tensor(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )

    def __call__(self, image):
        alphas = torch.randn(3) * 0.1
        return image + (self.vectors @ (alphas * self.values)).view(3, 1, 1)


class ScaleJitter:
    def __call__(self, photo):
        return F.resize(photo, random.randint(256, 512))


NORMALIZE = [T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
PAPER = [
    T.RandomCrop(224),
    T.RandomHorizontalFlip(),
    NORMALIZE[0],
    PcaColor(),
    NORMALIZE[1],
]
AUGMENTATIONS = {
    "alexnet": T.Compose([T.Resize(256), T.CenterCrop(256), *PAPER]),
    "vgg": T.Compose([ScaleJitter(), *PAPER]),
    "torchvision": T.Compose([T.RandomResizedCrop(224), T.RandomHorizontalFlip(), *NORMALIZE]),
}


def read(folder):
    names = sorted(os.listdir(folder))
    return [open(os.path.join(folder, name), "rb").read() for name in names]


def start(folder):
    global jpegs
    torch.set_num_threads(1)
    jpegs = read(folder)


def augment(name, indices):
    out = torch.empty(len(indices), 3, 224, 224)
    for place, index in enumerate(indices):
        photo = Image.open(io.BytesIO(jpegs[index % len(jpegs)])).convert("RGB")
        out[place] = AUGMENTATIONS[name](photo)
    # A single number: sending tensors between processes is not measured.
    return float(out[0, 0, 0, 0])


def seconds(pool, name, count, batch):
    begin = time.perf_counter()
    jobs = [
        pool.submit(augment, name, range(first, min(first + batch, count)))
        for first in range(0, count, batch)
    ]
    for job in jobs:
        job.result()
    return time.perf_counter() - begin


if __name__ == "__main__":
    folder, count, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    start(folder)
    context = multiprocessing.get_context("fork")
    processes = ProcessPoolExecutor(WORKERS, context, initializer=start, initargs=(folder,))
    # The processes are forked here, before there are threads.
    seconds(processes, "torchvision", 4 * batch, batch)
    threads = ThreadPoolExecutor(WORKERS)
    print("\nready", flush=True)
    for line in sys.stdin:
        name = line.strip()
        times = [seconds(pool, name, count, batch) for pool in (threads, processes)]
        print("\nseconds", *times, flush=True)
