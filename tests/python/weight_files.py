"""Other readers look at the files that crates/core/tests/files/golden_weights.rs wrote.

    cargo test -p alexnet-vgg-core --test files golden_weights && python tests/python/weight_files.py target/tmp/weights

Each file is NETWORK.TYPE.pth or .safetensors, its values the formula of tests/golden/formula.py at the
width of tests/golden/weights.py. numpy and safetensors are enough: .pth is read here by Python's own
zipfile and pickle, which allow no more than a state dict has. With torch there is more: it reads all
files as its users do (weights_only, strict), bit for bit.
"""

import argparse
import collections
import json
import pathlib
import pickle
import struct
import sys
import zipfile

import numpy
import safetensors.numpy

sys.path.append(str(pathlib.Path(__file__).parents[1] / "golden"))
from formula import values_of

try:
    import torch
except ImportError:
    torch = None

C, HIDDEN, CLASSES = 2, 16, 3
BITS = {"f32": (numpy.uint32, 4), "f16": (numpy.uint16, 2), "bf16": (numpy.uint16, 2)}
STORAGES = {"FloatStorage": "f32", "HalfStorage": "f16", "BFloat16Storage": "bf16", "LongStorage": "i64"}
SAFETENSORS = {"F32": "f32", "F16": "f16", "BF16": "bf16", "I64": "i64"}


class Failure(Exception):
    """What was expected of a file, and what was found."""


def expect(holds, message):
    if not holds:
        raise Failure(message)


def bits(values, dtype):
    """f32 values as the bits of a type, rounded to nearest even."""
    if dtype == "f32":
        return values.view(numpy.uint32)
    if dtype == "f16":
        return values.astype(numpy.float16).view(numpy.uint16)
    wide = values.view(numpy.uint32).astype(numpy.uint64)
    return ((wide + 0x7FFF + ((wide >> 16) & 1)) >> 16).astype(numpy.uint16)


class StateDict(pickle.Unpickler):
    """Python's pickle machine, allowed what a state dict needs."""

    def __init__(self, archive, folder):
        super().__init__(archive.open(f"{folder}/data.pkl"))
        self.archive, self.folder = archive, folder

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.rebuild
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise Failure(f"the pickle asks for {module}.{name}")

    def persistent_load(self, identity):
        kind, dtype, key, location, elements = identity
        expect((kind, location) == ("storage", "cpu"), f"storage {identity}")
        data = self.archive.read(f"{self.folder}/data/{key}")
        kind = numpy.int64 if dtype == "i64" else BITS[dtype][0]
        storage = numpy.frombuffer(data, kind)
        expect(len(storage) == elements, f"storage {key}: {len(storage)}, stated {elements}")
        return dtype, storage

    @staticmethod
    def rebuild(storage, offset, shape, stride, requires_grad, hooks):
        dtype, values = storage
        expect(offset == 0 and not requires_grad and not hooks, "an offset, a gradient or hooks")
        contiguous = [int(numpy.prod(shape[i + 1 :])) for i in range(len(shape))]
        expect(list(stride) == contiguous, f"stride {stride} of {shape}")
        return dtype, values.reshape(shape)


def read_pth(path):
    with zipfile.ZipFile(path) as archive:
        expect(archive.testzip() is None, "a damaged archive")
        folder = archive.namelist()[0].split("/")[0]
        offsets = [info.header_offset for info in archive.infolist()]
        for info, offset in zip(archive.infolist(), offsets):
            head = path.read_bytes()[offset : offset + 30]
            start = offset + 30 + sum(struct.unpack("<HH", head[26:30]))
            expect(start % 64 == 0, f"{info.filename} at byte {start}, not aligned")
        return dict(StateDict(archive, folder).load())


def read_safetensors(path):
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    expect(header.pop("__metadata__")["network"] == path.name.split(".")[0], "another network")
    tensors = {}
    for name, info in header.items():
        start, end = info["data_offsets"]
        dtype = SAFETENSORS[info["dtype"]]
        kind = numpy.int64 if dtype == "i64" else BITS[dtype][0]
        tensors[name] = dtype, numpy.frombuffer(data[start:end], kind).reshape(info["shape"])
    # The library's own reader; numpy has no bf16.
    if all(dtype != "bf16" for dtype, _ in tensors.values()):
        theirs = safetensors.numpy.load_file(path)
        for name, (_, values) in tensors.items():
            same = theirs[name].tobytes() == values.tobytes()
            expect(same and theirs[name].shape == values.shape, f"{name}: another tensor")
    return tensors


def check(path):
    network, dtype, _ = path.name.split(".")
    tensors = read_pth(path) if path.suffix == ".pth" else read_safetensors(path)
    for name, (found, values) in tensors.items():
        if name.endswith("num_batches_tracked"):
            expect((found, values.shape, int(values)) == ("i64", (), 0), f"{name}: {found} {values}")
            continue
        expect(found == dtype, f"{name}: {found}, expected {dtype}")
        wanted = bits(values_of(name, values.shape), dtype)
        expect(numpy.array_equal(values, wanted), f"{name}: other values")
    norms = sum(name.endswith("running_mean") for name in tensors)
    counters = sum(name.endswith("num_batches_tracked") for name in tensors)
    expect(norms == counters and len(tensors) >= 16, f"{len(tensors)} tensors")
    if torch:
        check_with_torch(path, network, tensors)
    return len(tensors)


def check_with_torch(path, network, tensors):
    if path.suffix == ".pth":
        state = torch.load(path, weights_only=True)
        mapped = torch.load(path, weights_only=True, mmap=True)
        expect(all(torch.equal(state[name], mapped[name]) for name in state), "mapped: other values")
    else:
        import safetensors.torch

        state = safetensors.torch.load_file(path)
    expect(set(state) == set(tensors), "torch: other names")
    for name, (_, values) in tensors.items():
        raw = state[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        expect(raw == values.tobytes(), f"torch: {name}: other bits")
    module(network).load_state_dict({k: v.float() for k, v in state.items()}, strict=True)


def module(network):
    """torchvision's network with 2 channels, 16 hidden features and 3 classes."""
    from torch import nn
    from torchvision.models import alexnet, vgg

    make = alexnet if network.startswith("alexnet") else getattr(vgg, network)
    with torch.device("meta"):
        plain = make(num_classes=CLASSES)
    channels, wide = 3, True
    side = 6 if network.startswith("alexnet") else 7
    grouped = {4, 10, 12} if network == "alexnet_paper" else set()
    if network == "alexnet_paper":
        places = {0: 11, 4: 5, 8: 3, 10: 3, 12: 3}
        plain = nn.Module()
        plain.features, plain.classifier = nn.Module(), nn.Module()
        for place, kernel in places.items():
            groups = 2 if place in grouped else 1
            plain.features.add_module(str(place), nn.Conv2d(channels, C, kernel, groups=groups))
            channels = C
        sizes = {0: (C * side**2, HIDDEN), 3: (HIDDEN, HIDDEN), 6: (HIDDEN, CLASSES)}
        for place, size in sizes.items():
            plain.classifier.add_module(str(place), nn.Linear(*size))
        return plain
    for index, layer in enumerate(plain.features):
        if isinstance(layer, nn.Conv2d):
            plain.features[index] = nn.Conv2d(channels, C, layer.kernel_size)
            channels = C
        elif isinstance(layer, nn.BatchNorm2d):
            plain.features[index] = nn.BatchNorm2d(C)
    for index, layer in enumerate(plain.classifier):
        if isinstance(layer, nn.Linear):
            last = index == len(plain.classifier) - 1
            size = (C * side**2 if wide else HIDDEN, CLASSES if last else HIDDEN)
            plain.classifier[index], wide = nn.Linear(*size), False
    return plain


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    files = sorted(parser.parse_args().folder.iterdir())
    failed = 0
    for path in files:
        try:
            print(f"{path.name}: {check(path)} tensors, bit for bit")
        except Exception as failure:
            failed += 1
            print(f"{path.name}: FAILED: {failure!r}")
    print(f"{len(files)} files, {failed} failed{'' if torch else ' (without torch)'}")
    sys.exit(bool(failed) or len(files) < 24)


main()
