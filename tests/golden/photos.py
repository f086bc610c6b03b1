"""Writes photos.safetensors and the odd pictures beside it: what Pillow and torchvision make of them.

    python photos.py        (pillow, torchvision, numpy, safetensors)

For every picture: the pixels after torchvision's Resize(256) and CenterCrop(224), uint8
[224, 224, 3]. The pictures are cut from ../../examples/photos/cat.jpg (CC0, see the README there),
small, one for each thing that goes wrong in practice.
"""

import pathlib

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file
from torchvision.transforms import functional as F

HERE = pathlib.Path(__file__).parent
PHOTOS = HERE.parent.parent / "examples" / "photos"
ODD = HERE / "pictures"


def odd_pictures() -> None:
    ODD.mkdir(exist_ok=True)
    cat = Image.open(PHOTOS / "cat.jpg").convert("RGB")
    small = cat.crop((90, 30, 330, 210)).resize((80, 60), Image.LANCZOS)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by a quarter to see it upright
    small.save(ODD / "turned.jpg", quality=95, exif=exif)
    small.convert("L").save(ODD / "gray.png")
    small.convert("P", palette=Image.ADAPTIVE).save(ODD / "palette.png")
    alpha = small.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(small.size))
    alpha.save(ODD / "alpha.png")
    small.save(ODD / "lossless.webp", lossless=True)
    small.convert("CMYK").save(ODD / "cmyk.jpg", quality=95)
    # An animation whose frames are alike would not show which of them was taken.
    small.convert("P").save(
        ODD / "animated.gif", save_all=True, append_images=[ImageOps.invert(small).convert("P")]
    )
    small.resize((1, 1)).save(ODD / "one_pixel.png")


def golden(path: pathlib.Path) -> np.ndarray:
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    return np.asarray(F.center_crop(F.resize(picture, 256), [224, 224]))


if __name__ == "__main__":
    odd_pictures()
    paths = sorted(PHOTOS.glob("*.jpg")) + sorted(ODD.iterdir())
    save_file({path.name: golden(path) for path in paths}, HERE / "photos.safetensors")
    # Photos that the repository does not ship: only their fingerprints, at every 97th value.
    shared = HERE.parent.parent.parent / "shared" / "data" / "photos"
    save_file(
        {path.name: golden(path).flatten()[::97].copy() for path in sorted(shared.glob("*.*g"))},
        HERE / "shared_photos.safetensors",
    )
