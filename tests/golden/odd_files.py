"""Writes odd_files.safetensors: pictures whose files are unusual, and what Pillow sees in them.

    python odd_files.py        (pillow, numpy, safetensors; cjpeg of libjpeg-turbo)

For every case `<name>/file`, the bytes, and `<name>/pixels`, uint8 [height, width, 3], upright. The names of JPEGs begin
with `jpeg`; all others are lossless.
"""

import io
import pathlib
import struct
import subprocess
import tempfile
import zlib

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
SCANS = {"one": None, "three": "0;\n1;\n2;\n", "mixed": "0;\n1 2;\n", "progressive": None}
SAMPLING = ["1x1", "2x1", "1x2", "2x2", "4x1", "3x1", "3x2", "2x2,2x1,2x1", "1x1,2x2,1x1", "1x2,2x1,1x1", "1x1,2x1,2x1"]
# Whole and partial units of every sampling.
SIZES = [(21, 19), (40, 9), (16, 24)]
RESTARTS = ["", "1", "3B"]
UPRIGHT_BY = 6  # a quarter turn clockwise


def smooth(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width] / 24
    waves = [np.sin(2 * x + y), np.cos(x - 2 * y), np.sin(x) * np.cos(3 * y)]
    return Image.fromarray((128 + 100 * np.stack(waves, -1)).astype(np.uint8))


def jpegs() -> dict[str, bytes]:
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (sampling, scans) in enumerate((a, b) for a in SAMPLING for b in SCANS):
            size, restart = SIZES[number % 3], RESTARTS[number // 3 % 3]
            picture, script = pathlib.Path(folder, "picture.ppm"), pathlib.Path(folder, "scans")
            smooth(*size).save(picture)
            command = ["cjpeg", "-quality", "95", "-sample", sampling]
            if SCANS[scans]:
                script.write_text(SCANS[scans])
                command += ["-baseline", "-scans", script]
            command += ["-progressive"] if scans == "progressive" else []
            command += ["-restart", restart] if restart else []
            name = f"jpeg {sampling} {scans} {size[0]}x{size[1]} {restart}".strip()
            files[name] = subprocess.run([*command, picture], check=True, capture_output=True).stdout
    return files


def exif(number: int, kind: int = 3, count: int = 1, order: str = ">") -> bytes:
    """Orientation as BYTE (1), SHORT (3) or LONG (4)."""
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "IH", 8, 1)
    value = struct.pack(order + {1: "B3x", 3: "H2x", 4: "I"}[kind], number)
    return head + struct.pack(order + "HHI", 0x112, kind, count) + value + struct.pack(order + "I", 0)


def oriented() -> dict[str, bytes]:
    def saved(kind: str, **options) -> bytes:
        file = io.BytesIO()
        smooth(21, 19).save(file, kind, **options)
        return file.getvalue()

    def with_segment(data: bytes) -> bytes:
        whole = saved("JPEG", quality=95, subsampling=0)
        return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + whole[2:]

    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    png = saved("PNG")
    data, end = png.index(b"IDAT") - 4, png.rindex(b"IEND") - 4
    e_xif = chunk(b"eXIf", exif(UPRIGHT_BY))
    files = {
        "png, eXIf before the pixels": png[:data] + e_xif + png[data:],
        "png, eXIf behind the pixels": png[:end] + e_xif + png[end:],
        "webp, plain EXIF": saved("WEBP", lossless=True, exif=exif(UPRIGHT_BY)),
        "webp, EXIF with the prefix of JPEG": saved("WEBP", lossless=True, exif=b"Exif\0\0" + exif(UPRIGHT_BY)),
    }
    for order, name in [(">", "big"), ("<", "little")]:
        for number in range(1, 9):
            files[f"jpeg, orientation {number}, {name} endian"] = with_segment(b"Exif\0\0" + exif(number, order=order))
        files[f"jpeg, as BYTE, {name} endian"] = with_segment(b"Exif\0\0" + exif(UPRIGHT_BY, 1, order=order))
        files[f"jpeg, as LONG, {name} endian"] = with_segment(b"Exif\0\0" + exif(UPRIGHT_BY, 4, order=order))
    files["jpeg, two values"] = with_segment(b"Exif\0\0" + exif(UPRIGHT_BY, count=2))
    files["jpeg, no such orientation"] = with_segment(b"Exif\0\0" + exif(9))
    return files


if __name__ == "__main__":
    tensors = {}
    for name, file in (jpegs() | oriented()).items():
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB")
        tensors[f"{name}/file"] = np.frombuffer(file, np.uint8)
        tensors[f"{name}/pixels"] = np.array(picture)
    save_file(tensors, HERE / "odd_files.safetensors")
