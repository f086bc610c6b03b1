"""Writes odd_pictures.safetensors: TIFFs, GIFs, WebPs, JPEGs and PNGs as people have them, and what Pillow sees in them.

    python odd_pictures.py        (pillow, numpy, safetensors)

For every case `<name>/file`, the bytes, and `<name>/pixels`, uint8 [height, width, 3], upright. Pillow takes all numbers of
16 and 32 bits and floats for levels and cuts them off above 255; where our scale is another, the pixels are those of
the picture that the numbers were made of. The names of JPEGs, and of what is not lossless, begin with `jpeg`.
"""

import io
import struct
import zlib

import numpy as np
from odd_files import HERE, exif, smooth
from PIL import Image, ImageOps
from safetensors.numpy import save_file

WIDTH, HEIGHT = 21, 19
PICTURE = smooth(WIDTH, HEIGHT)
COLORS = np.array(PICTURE)
GRAY = np.array(PICTURE.convert("L"))
FORMATS = {1: "B", 3: "H", 4: "I"}
UINT, INT, FLOAT = 1, 2, 3
RGB, PALETTE, YCBCR = 2, 3, 6


def tiff(values: bytes, bits: int, color: int, count: int = 1, order: str = "<", **more) -> bytes:
    """One strip, not compressed. `more` are tags of SHORTs, by number after an underline."""
    tags = {256: (4, [WIDTH]), 257: (4, [HEIGHT]), 258: (3, [bits] * count), 259: (3, [1]), 262: (3, [color])}
    tags |= {273: (4, [0]), 277: (3, [count]), 278: (4, [HEIGHT]), 279: (4, [len(values)])}
    tags |= {int(tag[1:]): (3, numbers) for tag, numbers in more.items()}
    place = 8 + 2 + 12 * len(tags) + 4
    entries, others = [], b""
    for tag, (kind, numbers) in sorted(tags.items()):
        data = struct.pack(order + str(len(numbers)) + FORMATS[kind], *numbers)
        if len(data) > 4:
            data, others = struct.pack(order + "I", place + len(others)), others + data
        entries.append((tag, kind, len(numbers), data.ljust(4, b"\0")))
    strip = struct.pack(order + "I", place + len(others))
    entries = [(*entry[:3], strip if entry[0] == 273 else entry[3]) for entry in entries]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + b"".join(struct.pack(order + "HHI", *it[:3]) + it[3] for it in entries) + bytes(4) + others + values


def packed(values: np.ndarray, bits: int) -> bytes:
    """Rows of whole bytes."""
    rows = ["".join(format(value, f"0{bits}b") for value in row) for row in values]
    return b"".join(int(row.ljust(-len(row) // 8 * -8, "0"), 2).to_bytes(-(-len(row) // 8), "big") for row in rows)


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def tiffs() -> dict[str, bytes]:
    files = {}
    for bits in (1, 2, 4, 8):
        count = 1 << bits
        palette = [(index * 7919 + color * 104729) % 65536 for color in range(3) for index in range(count)]
        indices = packed(GRAY >> (8 - bits), bits)
        files[f"tiff, palette of {bits} bits"] = tiff(indices, bits, PALETTE, _320=palette)
        files[f"tiff, {bits} bits"] = tiff(indices, bits, 1)
        files[f"tiff, {bits} bits, 0 is white"] = tiff(indices, bits, 0)
    files["tiff, palette, big endian, turned"] = tiff(indices, 8, PALETTE, order=">", _320=palette, _274=[6])
    files["tiff, palette, LZW"] = saved(PICTURE.quantize(16), "TIFF", compression="tiff_lzw")
    alpha = np.dstack([COLORS // 2, np.full_like(GRAY, 128)])
    files["tiff, gray with alpha"] = tiff(np.dstack([GRAY, 255 - GRAY]).tobytes(), 8, 1, 2, _338=[2])
    files["tiff, multiplied by alpha"] = tiff(alpha.tobytes(), 8, RGB, 4, _338=[1])
    files["jpeg in tiff, YCbCr"] = saved(PICTURE.convert("YCbCr"), "TIFF", compression="jpeg", quality=95)
    ycbcr = np.array(PICTURE.convert("YCbCr")).tobytes()
    files["jpeg's YCbCr in tiff"] = tiff(ycbcr, 8, YCBCR, 3, _530=[1, 1])
    files["tiff, 32 bits, levels"] = tiff(GRAY.astype("<i4").tobytes(), 32, 1, _339=[INT])
    files["tiff, float, levels"] = tiff(GRAY.astype("<f4").tobytes(), 32, 1, _339=[FLOAT])
    return files


def of_other_scales() -> dict[str, tuple[bytes, np.ndarray]]:
    """What Pillow would cut off."""
    gray, wide = np.dstack([GRAY] * 3), GRAY.astype(np.int64)
    half = (gray * 128.0 / 257).round().astype(np.uint8)
    return {
        "tiff, 32 bits, 16 of them used": (tiff((wide * 257).astype("<i4").tobytes(), 32, 1, _339=[INT]), gray),
        "tiff, 32 bits": (tiff((wide * 0x1010101).astype("<u4").tobytes(), 32, 1), gray),
        "tiff, 16 bits with a sign": (tiff((wide * 128).astype("<i2").tobytes(), 16, 1, _339=[INT]), half),
        "tiff, float, 0 to 1": (tiff((GRAY / 255).astype("<f4").tobytes(), 32, 1, _339=[FLOAT]), gray),
        "tiff, double": (tiff((GRAY / 255).astype("<f8").tobytes(), 64, 1, _339=[FLOAT]), gray),
        "tiff, RGB floats": (tiff((COLORS / 255).astype("<f4").tobytes(), 32, RGB, 3, _339=[FLOAT] * 3), COLORS),
        "tiff, RGB of 32 bits": (tiff((COLORS * np.uint32(0x1010101)).tobytes(), 32, RGB, 3), COLORS),
    }


def gifs() -> dict[str, bytes]:
    """The first frame on a larger or smaller screen."""
    whole = saved(PICTURE.quantize(16), "GIF")
    palette_end = 13 + 3 * (2 << (whole[10] & 7))
    image = whole.index(b",", palette_end)

    def placed(screen: tuple, corner: tuple, background: int = 0, transparent: int | None = None) -> bytes:
        head = whole[:6] + struct.pack("<HH", *screen) + bytes([whole[10], background]) + whole[12:palette_end]
        control = b"" if transparent is None else b"!\xf9\x04\1\0\0" + bytes([transparent, 0])
        return head + control + b"," + struct.pack("<HH", *corner) + whole[image + 5 :]

    return {
        "gif, part of the screen": placed((30, 28), (5, 4)),
        "gif, part, another background": placed((30, 28), (5, 4), background=3),
        "gif, part, transparent": placed((30, 28), (5, 4), background=5, transparent=3),
        "gif, larger than the screen": placed((10, 10), (2, 3)),
    }


def others() -> dict[str, bytes]:
    webp = saved(PICTURE, "WEBP", lossless=True)
    announced = saved(PICTURE, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(1))
    announced = announced[: announced.index(b"EXIF")]
    announced = announced[:4] + struct.pack("<I", len(announced) - 8) + announced[8:]
    jpeg, trailer = saved(PICTURE, "JPEG", quality=95), b"SEFH\0 of a phone" * 9
    png = saved(PICTURE, "PNG")
    end = png.rindex(b"IEND") - 4
    note = struct.pack(">I", 3) + b"tEXta\0b" + bytes(4)
    return {
        "webp, bytes behind its end": webp + b"EXIF\xff\xff\xff\x7f and more",
        "webp, EXIF announced": announced,
        "jpeg, a trailer and no end": jpeg[:-2] + trailer,
        "jpeg, bytes before its end": jpeg[:-2] + b"\0\0\5" + jpeg[-2:],
        "png, bad checksum behind the pixels": png[:end] + note + png[end:],
    }


def of_damaged_notes() -> dict[str, tuple[bytes, np.ndarray]]:
    """Which Pillow refuses, and libpng passes over."""
    png = saved(PICTURE, "PNG")
    data = png.index(b"IDAT") - 4
    chunks = {"tEXt": b"a\0b", "gAMA": struct.pack(">I", 45455), "iCCP": b"x\0\0" + zlib.compress(bytes(99))}
    chunk = lambda name, data: struct.pack(">I", len(data)) + name.encode() + data + bytes(4)
    return {f"png, bad checksum of {name}": (png[:data] + chunk(name, it) + png[data:], COLORS) for name, it in chunks.items()}


if __name__ == "__main__":
    cases = of_other_scales() | of_damaged_notes()
    for name, file in (tiffs() | gifs() | others()).items():
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB")
        cases[name] = (file, np.array(picture))
    tensors = {}
    for name, (file, pixels) in cases.items():
        tensors[f"{name}/file"] = np.frombuffer(file, np.uint8)
        tensors[f"{name}/pixels"] = np.ascontiguousarray(pixels)
    save_file(tensors, HERE / "odd_pictures.safetensors")
