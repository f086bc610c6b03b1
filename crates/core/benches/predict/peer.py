"""Classifies all files by torchvision's transforms on Pillow and onnxruntime, for each line on stdin, and
prints the seconds, by the protocol of harness/peer.rs. Threads decode and transform ahead while the network
runs.

    python peer.py MODEL.onnx center|ten-crop THREADS FILE...
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import torch
from PIL import Image
from torchvision.transforms import functional as F

model, views, threads, *files = sys.argv[1:]
threads = int(threads)
torch.set_num_threads(1)  # one photo per thread is faster than several threads per photo
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name


def preprocess(file):
    photo = F.resize(Image.open(file).convert("RGB"), 256)
    crops = [F.center_crop(photo, 224)] if views == "center" else F.ten_crop(photo, 224)
    crops = torch.stack([F.to_tensor(crop) for crop in crops])
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    return F.normalize(crops, mean, std, inplace=True).numpy()


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


batch_size = 8 if views == "center" else 1
pool = ThreadPoolExecutor(threads)


def classify_all():
    # Up to two batches are preprocessed ahead of the one in the network.
    waiting, next_file = [], 0
    while next_file < len(files) or waiting:
        while next_file < len(files) and len(waiting) < 3 * batch_size:
            waiting.append(pool.submit(preprocess, files[next_file]))
            next_file += 1
        batch, waiting = waiting[:batch_size], waiting[batch_size:]
        images = np.concatenate([photo.result() for photo in batch])
        probabilities = softmax(session.run(None, {name: images})[0])
        for views_of_photo in probabilities.reshape(len(batch), -1, probabilities.shape[1]):
            np.argsort(-views_of_photo.mean(axis=0))[:5]


print("\nready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    classify_all()
    print("\nseconds", time.perf_counter() - start, flush=True)
