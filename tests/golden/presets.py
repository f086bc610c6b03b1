"""Writes presets.safetensors: a picture as torchvision gives it to a network, for every preset.

    python presets.py        (torch, torchvision, pillow, numpy, safetensors)

`picture`, uint8 [height, width, 3]; for each preset the values [C, crop, crop], of large ones only every 97th.
"""

import numpy as np
import torch
from odd_files import HERE, smooth
from safetensors.numpy import save_file
from torchvision import transforms

HALF = [0.5, 0.5, 0.5]
IMAGENET = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
CIFAR10 = [[0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]]
# Resize, crop, mean and std of RGB from 0 to 1.
UNIT = {
    "imagenet": (256, 224, *IMAGENET),
    "places": (256, 224, *IMAGENET),
    "cifar10": (32, 32, *CIFAR10),
    "half": (224, 224, HALF, HALF),
    "half at 32": (32, 32, HALF, HALF),
}
# The mean of BGR from 0 to 255.
CAFFE = {"caffe": [103.939, 116.779, 123.68], "vggface": [93.5940, 104.7624, 129.1863]}
# Mean and std of luma from 0 to 1.
GRAY = {"half at 32 in gray": (32, 32, 0.5, 0.5), "imagenet in gray": (256, 224, 0.449, 0.226)}


def shown(picture, resize: int, crop: int):
    return transforms.CenterCrop(crop)(transforms.Resize(resize)(picture))


def values(name: str, picture) -> torch.Tensor:
    if name in CAFFE:
        bgr = np.asarray(shown(picture, 256, 224), np.float32)[:, :, ::-1] - np.float32(CAFFE[name])
        return torch.from_numpy(bgr).permute(2, 0, 1)
    resize, crop, mean, std = UNIT.get(name) or GRAY[name]
    picture = picture if name in UNIT else transforms.Grayscale()(picture)
    return transforms.Normalize(mean, std)(transforms.ToTensor()(shown(picture, resize, crop)))


if __name__ == "__main__":
    picture = smooth(60, 45)
    tensors = {"picture": np.array(picture)}
    for name in [*UNIT, *CAFFE, *GRAY]:
        found = values(name, picture).contiguous().numpy()
        tensors[name] = found if found.shape[-1] < 64 else found.flatten()[::97].copy()
    save_file(tensors, HERE / "presets.safetensors")
