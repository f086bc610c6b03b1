"""Writes augment.safetensors: what Pillow and torchvision make of the operations of augmentation.

    python augment.py        (pillow, torchvision, numpy, safetensors)

`colors/...`: torchvision's color operations on a 48x48 picture of many colors, which a formula
makes here and in crates/core/tests/pictures/augment.rs. `resized/...`: crops, resizes and flips of
pictures/lossless.webp, uint8 [H, W, 3]. `fallback`: RandomResizedCrop's regions of photos that no
attempt fits, [left, top, width, height]. `regions`: mean and standard deviation of its left, top, width
and height over many draws for a photo of 500x375.
"""

import pathlib

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as F

HERE = pathlib.Path(__file__).parent
DRAWS = 200_000
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)

COLORS = {
    "brightness": (F.adjust_brightness, [0.0, 0.63, 1.0, 1.7]),
    "contrast": (F.adjust_contrast, [0.0, 0.37, 1.9]),
    "saturation": (F.adjust_saturation, [0.0, 0.55, 2.3]),
    "hue": (F.adjust_hue, [-0.5, -0.23, 0.1, 0.5]),
}

# The region, the size that it is resized to, the window of that, and whether it is flipped at last.
RESIZED = [
    ((0, 0, 80, 60), (60, 45), (0, 0, 60, 45), False),
    ((10, 5, 35, 35), (24, 24), (0, 0, 24, 24), True),
    ((0, 0, 80, 60), (133, 100), (51, 37, 32, 32), False),
    ((3, 7, 70, 20), (20, 20), (1, 2, 18, 17), True),
    ((0, 0, 80, 60), (5, 60), (0, 10, 5, 40), False),
    ((20, 20, 1, 1), (7, 5), (0, 0, 7, 5), False),
]


def many_colors() -> Image.Image:
    y, x = np.mgrid[0:48, 0:48]
    rgb = [(5 * x + 3 * y) % 256, (11 * x * y + 7 * y) % 256, (13 * x + 250 - 5 * y) % 256]
    return Image.fromarray(np.stack(rgb, axis=-1).astype(np.uint8))


def box(left: int, top: int, width: int, height: int) -> tuple[int, int, int, int]:
    return left, top, left + width, top + height


def draws(size: tuple[int, int], scale: tuple[float, float], count: int) -> np.ndarray:
    photo = torch.zeros(3, size[1], size[0])
    drawn = [RandomResizedCrop.get_params(photo, list(scale), list(RATIO)) for _ in range(count)]
    return np.array([(left, top, width, height) for top, left, height, width in drawn])


if __name__ == "__main__":
    torch.manual_seed(0)
    golden = {}
    for name, (adjust, factors) in COLORS.items():
        for factor in factors:
            golden[f"colors/{name}/{factor}"] = np.asarray(adjust(many_colors(), factor))
    picture = Image.open(HERE / "pictures" / "lossless.webp").convert("RGB")
    for index, (region, size, window, flipped) in enumerate(RESIZED):
        made = F.resize(picture.crop(box(*region)), size[::-1]).crop(box(*window))
        golden[f"resized/{index}"] = np.asarray(F.hflip(made) if flipped else made)
        golden[f"resized/{index}/how"] = np.array([*region, *size, *window, flipped], np.uint8)
    narrow = [(300, 10), (10, 300), (7, 1), (1, 7), (9, 5)]
    regions = [[*size, *draws(size, (1.0, 1.0), 1)[0]] for size in narrow]
    golden["fallback"] = np.array(regions, np.int32)
    drawn = draws((500, 375), SCALE, DRAWS)
    golden["regions"] = np.stack([drawn.mean(axis=0), drawn.std(axis=0)]).astype(np.float64)
    save_file(golden, HERE / "augment.safetensors")
