"""Writes views.safetensors: views of a picture by torchvision and Pillow, and dense evaluation by PyTorch.

    python views.py        (torch, torchvision, pillow, numpy, safetensors)

Views: pictures/lossless.webp, resized to a short side of 48, as uint8 [height, width, 3]: torchvision's
ten crops of 32, Pillow's flips and rotations. Dense: each network with its linear layers as convolutions
(torch.nn.functional.conv2d with the reshaped weights), in float64, weights and input by formula.py; of the
score map its shape and 96 samples, and its mean over space.
"""

import pathlib

import numpy as np
import torch
from networks import NETWORKS, fill, samples
from PIL import Image
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional
from torchvision.transforms import functional as F

HERE = pathlib.Path(__file__).parent
FILL = (124, 116, 104)
SIZES = [(224, 224), (256, 320), (97, 256)]


def views() -> dict[str, np.ndarray]:
    picture = F.resize(Image.open(HERE / "pictures/lossless.webp").convert("RGB"), 48)
    outputs = {f"ten-crop/{i}": crop for i, crop in enumerate(F.ten_crop(picture, [32, 32]))}
    turn = Image.Transpose
    outputs["hflip"] = picture.transpose(turn.FLIP_LEFT_RIGHT)
    outputs["vflip"] = picture.transpose(turn.FLIP_TOP_BOTTOM)
    outputs["transpose"] = picture.transpose(turn.TRANSPOSE)
    outputs["transverse"] = picture.transpose(turn.TRANSVERSE)
    for degrees in (10, -35.5, 90, 180, 261):
        turned = picture.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=FILL)
        outputs[f"rotate:{degrees}"] = turned
    return {name: np.asarray(picture) for name, picture in outputs.items()}


def dense(name: str, size) -> dict[str, np.ndarray]:
    with torch.device("meta"):
        net = NETWORKS[name]()
    net = net.to_empty(device="cpu").double().eval()
    for key, tensor in net.state_dict().items():
        tensor.copy_(fill(key, tuple(tensor.shape)))
    x = net.features(fill("input", (2, 3, *size)))
    window = net.avgpool.output_size
    # Where the map is smaller than the window, torchvision's pool repeats it.
    x = functional.adaptive_avg_pool2d(x, [max(a, b) for a, b in zip(x.shape[2:], window)])
    for layer in net.classifier:
        if isinstance(layer, nn.Linear):
            kernel = window if x.shape[1] * window[0] * window[1] == layer.in_features else (1, 1)
            weight = layer.weight.reshape(layer.out_features, x.shape[1], *kernel)
            x = functional.conv2d(x, weight, layer.bias)
        else:
            x = torch.relu(x) if isinstance(layer, nn.ReLU) else layer(x)
    case = f"dense/{name}@{size[0]}x{size[1]}"
    print(case, tuple(x.shape), x.abs().max().item(), flush=True)
    return {
        f"{case}/shape": np.array(x.shape, dtype=np.int64),
        f"{case}/samples": samples(x),
        f"{case}/largest": np.array([x.abs().max()], dtype=np.float64),
    }


if __name__ == "__main__":
    fixture = views()
    with torch.no_grad():
        for name in ("alexnet", "alexnet_paper", "vgg16"):
            for size in SIZES:
                fixture |= dense(name, size)
    save_file({k: np.ascontiguousarray(v) for k, v in fixture.items()}, HERE / "views.safetensors")
