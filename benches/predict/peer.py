"""Classifies files by torchvision's transforms on Pillow and onnxruntime: for each line on stdin all of
them, and prints the seconds. Threads decode and transform ahead while the network works.

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
torch.set_num_threads(1)  # a photo a thread is faster than threads within one
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name


def ready(file):
    photo = F.resize(Image.open(file).convert("RGB"), 256)
    crops = [F.center_crop(photo, 224)] if views == "center" else F.ten_crop(photo, 224)
    crops = torch.stack([F.to_tensor(crop) for crop in crops])
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    return F.normalize(crops, mean, std, inplace=True).numpy()


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


at_once = 8 if views == "center" else 1
pool = ThreadPoolExecutor(threads)


def answers():
    # As many photos ahead as go through the network at once, twice.
    waiting, next_file = [], 0
    while next_file < len(files) or waiting:
        while next_file < len(files) and len(waiting) < 3 * at_once:
            waiting.append(pool.submit(ready, files[next_file]))
            next_file += 1
        batch, waiting = waiting[:at_once], waiting[at_once:]
        images = np.concatenate([photo.result() for photo in batch])
        probabilities = softmax(session.run(None, {name: images})[0])
        for of_photo in probabilities.reshape(len(batch), -1, probabilities.shape[1]):
            np.argsort(-of_photo.mean(axis=0))[:5]


for _ in sys.stdin:
    start = time.perf_counter()
    answers()
    print(time.perf_counter() - start, flush=True)
