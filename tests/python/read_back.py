"""Reads weight files that this crate wrote, as PyTorch's users will.

    python read_back.py --folder DIR        (numpy, safetensors; torch if it is there)

DIR holds `<network>[.<dtype>].pth` and `.safetensors`: networks at width 0.004 with 3 classes, whose
every tensor is the formula of ../golden/formula.py under torchvision's name, rounded to the dtype
(f32 if the name has none). Every file is compared bit for bit, once with numpy alone and once with
torch: torch.load(weights_only=True), also mapped, and load_state_dict(strict=True).
"""

import argparse
import collections
import math
import pathlib
import pickle
import sys
import zipfile

import numpy as np
import safetensors

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "golden"))
from formula import values_of

try:
    import torch
    from safetensors.torch import load_file
except ImportError:
    torch = None

COUNTER = "num_batches_tracked"
WIDTH_OF = {"f16": 2, "bf16": 2, "f32": 4, "f64": 8, "i64": 8}
SAFETENSORS = {"F16": "f16", "BF16": "bf16", "F32": "f32", "F64": "f64", "I64": "i64"}
STORAGES = {
    "HalfStorage": "f16",
    "BFloat16Storage": "bf16",
    "FloatStorage": "f32",
    "DoubleStorage": "f64",
    "LongStorage": "i64",
}


class Wrong(Exception):
    """What is wrong with a file."""


def expect(condition, what):
    if not condition:
        raise Wrong(what)


# ------------------------------------------------------------------------------- what is expected

Conv = collections.namedtuple("Conv", "channels kernel groups", defaults=(3, 1))
FILLER = "a layer without parameters"
POOL = [FILLER]


def vgg(stages, lrn=False):
    rows = []
    for stage, convs in enumerate(stages):
        rows += [row for conv in convs for row in (conv, FILLER)]
        rows += [FILLER] * (lrn and stage == 0) + POOL
    return rows


def stages(*counts):
    widths = 64, 128, 256, 512, 512
    return [[Conv(width)] * count for width, count in zip(widths, counts)]


C = [s + [Conv(s[0].channels, 1)] * (place > 1) for place, s in enumerate(stages(2, 2, 2, 2, 2))]
FEATURES = {
    "alexnet": [Conv(64, 11), FILLER, *POOL, Conv(192, 5), FILLER, *POOL, Conv(384), FILLER,
                Conv(256), FILLER, Conv(256), FILLER, *POOL],
    "alexnet_paper": [Conv(96, 11), FILLER, FILLER, *POOL, Conv(256, 5, 2), FILLER, FILLER, *POOL,
                      Conv(384), FILLER, Conv(384, 3, 2), FILLER, Conv(256, 3, 2), FILLER, *POOL],
    "vgg11": vgg(stages(1, 1, 2, 2, 2)),
    "vgg11_lrn": vgg(stages(1, 1, 2, 2, 2), lrn=True),
    "vgg13": vgg(stages(2, 2, 2, 2, 2)),
    "vgg16": vgg(stages(2, 2, 3, 3, 3)),
    "vgg16_c": vgg(C),
    "vgg19": vgg(stages(2, 2, 4, 4, 4)),
}


def even(channels: int, width: float) -> int:
    return max(2, 2 * math.floor(channels * width / 2 + 0.5))


def layers(network: str, width: float, classes: int):
    """`(name, what, in, out, kernel, groups)` of every layer with parameters."""
    plain = network.removesuffix("_bn")
    expect(plain in FEATURES, f"no network {network}")
    channels, place = 3, 0
    for row in FEATURES[plain]:
        if row is not FILLER:
            out = even(row.channels, width)
            yield f"features.{place}", "conv", channels, out, row.kernel, row.groups
            channels = out
            if plain != network:
                place += 1
                yield f"features.{place}", "norm", channels, channels, 1, 1
        place += 1
    side = 6 if "alexnet" in network else 7
    hidden = even(4096, width)
    sizes = [channels * side * side, hidden, hidden, classes]
    for number, into, out in zip([1, 4, 6] if network == "alexnet" else [0, 3, 6], sizes, sizes[1:]):
        yield f"classifier.{number}", "linear", into, out, 1, 1


def shapes(table):
    for name, what, into, out, kernel, groups in table:
        if what == "norm":
            names = ("weight", "bias", "running_mean", "running_var")
            yield from ((f"{name}.{key}", (out,)) for key in names)
            continue
        square = (kernel, kernel) if what == "conv" else ()
        yield f"{name}.weight", (out, into // groups, *square)
        yield f"{name}.bias", (out,)


def expected(table, dtype: str) -> dict[str, tuple[tuple, bytes]]:
    """Of every key the shape, and the bytes of the values rounded to nearest, ties to even."""
    return {key: (shape, rounded(values_of(key, shape), dtype)) for key, shape in shapes(table)}


def rounded(values: np.ndarray, dtype: str) -> bytes:
    if dtype == "bf16":
        bits = values.astype("<f4").view("<u4").astype(np.uint64)
        bits += 0x7FFF + (bits >> np.uint64(16) & np.uint64(1))
        return (bits >> np.uint64(16)).astype("<u2").tobytes()
    return values.astype({"f16": "<f2", "f32": "<f4", "f64": "<f8"}[dtype]).tobytes()


def compare(found: dict[str, tuple[str, tuple, bytes]], wanted, dtype: str):
    """`found` has of every key the dtype, the shape and the bytes."""
    counters = {key for key in found if key.endswith(COUNTER)}
    for key in counters:
        layer = key.removesuffix(f".{COUNTER}")
        expect(f"{layer}.running_mean" in wanted, f"{key}: counts no batch norm")
        expect(found[key][:2] == ("i64", ()), f"{key}: {found[key][:2]}")
    missing = wanted.keys() - found.keys()
    extra = found.keys() - wanted.keys() - counters
    expect(not missing and not extra, f"missing {sorted(missing)}, extra {sorted(extra)}")
    for key, (shape, data) in wanted.items():
        expect(found[key][0] == dtype, f"{key}: {found[key][0]}, expected {dtype}")
        expect(found[key][1] == shape, f"{key}: {found[key][1]}, expected {shape}")
        expect(found[key][2] == data, f"{key}: other bits than the formula's")


# ---------------------------------------------------------------------------------- without torch


class Reader(pickle.Unpickler):
    """A .pth file's pickle: dicts of tensors, and no other class or function."""

    def __init__(self, archive: zipfile.ZipFile, root: str):
        super().__init__(archive.open(f"{root}/data.pkl"))
        self.archive, self.root = archive, root

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return rebuild
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise Wrong(f"the pickle names {module}.{name}")

    def persistent_load(self, identity):
        expect(isinstance(identity, tuple) and len(identity) == 5, f"persistent id {identity}")
        what, dtype, key, location, count = identity
        expect(what == "storage" and location == "cpu", f"persistent id {identity}")
        data = self.archive.read(f"{self.root}/data/{key}")
        expect(len(data) == count * WIDTH_OF[dtype], f"data/{key} has {len(data)} bytes")
        return dtype, data


def rebuild(storage, offset, shape, stride, requires_grad, hooks, *_):
    dtype, data = storage
    values = np.frombuffer(data, dtype=f"<u{WIDTH_OF[dtype]}")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    expect(0 <= offset <= last < values.size and min(stride, default=0) >= 0, "a tensor leaves its data")
    steps = [step * values.itemsize for step in stride]
    view = np.lib.stride_tricks.as_strided(values[offset:], shape, steps, writeable=False)
    return dtype, tuple(shape), np.ascontiguousarray(view).tobytes()


def read_pth(path):
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
        expect(bad is None, f"{bad}: wrong checksum")
        names = archive.namelist()
        expect(len(set(names)) == len(names), "a record is there twice")
        packed = [i.filename for i in archive.infolist() if i.compress_type != zipfile.ZIP_STORED]
        expect(not packed, f"compressed: {packed}")
        roots = {name.split("/")[0] for name in names}
        expect(len(roots) == 1, f"more than one folder: {sorted(roots)}")
        root = roots.pop()
        expect(f"{root}/version" in names, "no record `version`")
        if f"{root}/byteorder" in names:
            expect(archive.read(f"{root}/byteorder") == b"little", "byteorder is not little")
        state = Reader(archive, root).load()
    expect(isinstance(state, dict), f"the pickle is a {type(state).__name__}")
    return state


def read_safetensors(path):
    return {
        key: (SAFETENSORS.get(info["dtype"]), tuple(info["shape"]), bytes(info["data"]))
        for key, info in safetensors.deserialize(path.read_bytes())
    }


# ------------------------------------------------------------------------------------- with torch


def module_of(table):
    """A module with torchvision's names for its parameters; it is never run."""
    net = torch.nn.Module()
    for part in ("features", "classifier"):
        setattr(net, part, torch.nn.Sequential())
    for name, what, into, out, kernel, groups in table:
        part, place = name.split(".")
        layer = {
            "conv": lambda: torch.nn.Conv2d(into, out, kernel, groups=groups),
            "norm": lambda: torch.nn.BatchNorm2d(out),
            "linear": lambda: torch.nn.Linear(into, out),
        }[what]()
        getattr(net, part).add_module(place, layer)
    return net


def plain(state):
    """A state dict of torch as `compare` wants it."""
    names = {torch.float16: "f16", torch.bfloat16: "bf16", torch.float32: "f32",
             torch.float64: "f64", torch.int64: "i64"}
    bits = lambda t: t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return {key: (names.get(t.dtype), tuple(t.shape), bits(t)) for key, t in state.items()}


def with_torch(path, table, wanted, dtype):
    if path.suffix == ".pth":
        state = torch.load(path, weights_only=True)
        mapped = torch.load(path, weights_only=True, mmap=True)
        compare(plain(mapped), wanted, dtype)
    else:
        state = load_file(path)
    compare(plain(state), wanted, dtype)
    torch_dtype = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32,
                   "f64": torch.float64}[dtype]
    net = module_of(table).to(torch_dtype)
    net.load_state_dict(state, strict=True)
    compare(plain(net.state_dict()), wanted, dtype)


def check(path, width, classes, use_torch):
    network, _, dtype = path.stem.partition(".")
    dtype = dtype or "f32"
    expect(dtype in WIDTH_OF and dtype != "i64", f"no dtype {dtype}")
    table = list(layers(network, width, classes))
    wanted = expected(table, dtype)
    compare((read_pth if path.suffix == ".pth" else read_safetensors)(path), wanted, dtype)
    if use_torch:
        with_torch(path, table, wanted, dtype)
    return f"{len(wanted)} tensors"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--width", type=float, default=0.004)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--without-torch", action="store_true")
    arguments = parser.parse_args()
    use_torch = torch is not None and not arguments.without_torch
    files = sorted(p for p in arguments.folder.iterdir() if p.suffix in (".pth", ".safetensors"))
    failures = 0
    for path in files:
        try:
            result = check(path, arguments.width, arguments.classes, use_torch)
        except Exception as error:  # whatever a reader trips over is this file's failure
            failures += 1
            result = f"FAILED: {type(error).__name__}: {error}".replace("\n", " ")
        readers = "numpy and torch" if use_torch else "numpy"
        print(f"{path.name}: {result} ({readers})")
    if not files:
        print(f"no .pth or .safetensors in {arguments.folder}")
    return 1 if failures or not files else 0


if __name__ == "__main__":
    sys.exit(main())
