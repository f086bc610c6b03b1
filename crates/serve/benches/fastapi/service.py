"""The service that this one is compared with: FastAPI, onnxruntime, and Pillow, as their documentation recommends.

The event loop only moves bytes. Pictures are decoded and classified in FastAPI's pool of threads, as many at a time as
`--concurrent` says, so that more requests than that wait instead of slowing each other down. onnxruntime and Pillow release
Python's lock while they work.
"""

import argparse
import io
import os
from contextlib import asynccontextmanager

import anyio.to_thread
import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image

SHORT_SIDE, CROP = 256, 224  # torchvision's preprocessing for ImageNet
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
SCALE, SHIFT = 1 / (255 * STD), -MEAN / STD


def session():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["SERVICE_THREADS"])
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["SERVICE_MODEL"], options, ["CPUExecutionProvider"])


@asynccontextmanager
async def lifespan(app):
    app.state.session = session()
    app.state.input = app.state.session.get_inputs()[0].name
    anyio.to_thread.current_default_thread_limiter().total_tokens = int(os.environ["SERVICE_CONCURRENT"])
    yield


app = FastAPI(lifespan=lifespan)


def preprocess(body):
    photo = Image.open(io.BytesIO(body)).convert("RGB")
    factor = SHORT_SIDE / min(photo.size)
    photo = photo.resize([round(side * factor) for side in photo.size], Image.Resampling.BILINEAR)
    left, top = ((side - CROP) // 2 for side in photo.size)
    photo = photo.crop((left, top, left + CROP, top + CROP))
    return np.ascontiguousarray((np.asarray(photo, np.float32) * SCALE + SHIFT).transpose(2, 0, 1)[None])


def classify(body, top_k):
    try:
        image = preprocess(body)
    except (OSError, ValueError) as error:
        raise HTTPException(422, str(error)) from error
    logits = app.state.session.run(None, {app.state.input: image})[0][0]
    best = np.argpartition(-logits, top_k)[:top_k]
    best = best[np.argsort(-logits[best])]
    exponentials = np.exp(logits - logits.max())
    return [{"index": int(index), "probability": float(exponentials[index] / exponentials.sum())} for index in best]


@app.post("/v1/classify")
async def answer(request: Request, top_k: int = 5):
    body = await request.body()
    return {"results": [{"predictions": await run_in_threadpool(classify, body, top_k)}]}


@app.get("/readyz")
async def ready():
    return {}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True, help="threads of onnxruntime")
    parser.add_argument("--concurrent", type=int, required=True, help="requests that are computed at once, in each process")
    parser.add_argument("--processes", type=int, required=True)
    arguments = parser.parse_args()
    # The processes of uvicorn import this file anew.
    os.environ |= {"SERVICE_MODEL": arguments.model, "SERVICE_THREADS": str(arguments.threads),
                   "SERVICE_CONCURRENT": str(arguments.concurrent)}
    uvicorn.run("service:app", port=arguments.port, workers=arguments.processes, loop="uvloop", http="httptools",
                access_log=False, log_level="warning", backlog=2048)
