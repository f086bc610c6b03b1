"""Writes weights/: small weight files as PyTorch and its users write them, and weights/refused/:
files that no reader may take.

    python weights.py        (torch, torchvision, timm, numpy, safetensors)

Most files hold float16, and the legacy format where the zip is not the point: both are small. Every
network has width WIDTH and CLASSES classes, and every tensor is `fill` of networks.py under
torchvision's name and shape, whatever the file calls it; so no expected values are stored.
weights/manifest.json lists the files. Nothing in refused/ is ever loaded here: those pickles are put
together opcode by opcode.
"""

import argparse
import collections
import contextlib
import copy
import datetime
import decimal
import enum
import fractions
import functools
import io
import json
import math
import pathlib
import pickle
import re
import shutil
import struct
import sys
import tarfile
import types
import uuid
import warnings
import zipfile

import numpy as np
import safetensors.torch
import timm.models.vgg
import torch
from networks import fill
from torch import nn
from torch.nn.utils import prune
from torchvision.transforms import InterpolationMode

WIDTH = 0.004
CLASSES = 3
FOLDER = pathlib.Path(__file__).with_name("weights")
REFUSED = FOLDER / "refused"
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64}
BATCHES = 7  # of every num_batches_tracked

good: list[dict] = []
refused: list[dict] = []


def even(channels: int) -> int:
    """Channels at WIDTH, as src/models/mod.rs rounds them: half away from zero."""
    return max(2, 2 * math.floor(channels * WIDTH / 2 + 0.5))


# ---------------------------------------------------------------------------------- the networks

HIDDEN = even(4096)
VGG11 = [[64], [128], [256] * 2, [512] * 2, [512] * 2]
VGG16 = [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3]


class VGG(nn.Module):
    """What torchvision calls its layers, at WIDTH."""

    def __init__(self, stages, batch_norm=False):
        super().__init__()
        layers, channels = [], 3
        for stage in stages:
            for out in map(even, stage):
                layers.append(nn.Conv2d(channels, out, 3, padding=1))
                layers.extend([nn.BatchNorm2d(out)] if batch_norm else [])
                layers.append(nn.ReLU(inplace=True))
                channels = out
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(channels * 49, HIDDEN), nn.ReLU(True), nn.Dropout(),
            nn.Linear(HIDDEN, HIDDEN), nn.ReLU(True), nn.Dropout(),
            nn.Linear(HIDDEN, CLASSES),
        )


class AlexNet(nn.Module):
    """The network of 2012, with torchvision's names."""

    def __init__(self):
        super().__init__()
        a, b, c, d, e = map(even, (96, 256, 384, 384, 256))
        lrn = lambda: nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
        self.features = nn.Sequential(
            nn.Conv2d(3, a, 11, stride=4, padding=2), nn.ReLU(), lrn(), nn.MaxPool2d(3, 2),
            nn.Conv2d(a, b, 5, padding=2, groups=2), nn.ReLU(), lrn(), nn.MaxPool2d(3, 2),
            nn.Conv2d(b, c, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c, d, 3, padding=1, groups=2), nn.ReLU(),
            nn.Conv2d(d, e, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Linear(e * 36, HIDDEN), nn.ReLU(), nn.Dropout(),
            nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(),
            nn.Linear(HIDDEN, CLASSES),
        )


class Vgg16(nn.Module):
    """VGG16 as tutorials write it: a layer is an attribute. The last is `last`."""

    def __init__(self, last="classifier"):
        super().__init__()
        channels = 3
        for block, stage in enumerate(VGG16, 1):
            for place, out in enumerate(map(even, stage), 1):
                setattr(self, f"conv{block}_{place}", nn.Conv2d(channels, out, 3, padding=1))
                channels = out
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(channels * 49, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, HIDDEN)
        setattr(self, last, nn.Linear(HIDDEN, CLASSES))


NETWORKS = {
    "vgg11": lambda: VGG(VGG11),
    "vgg11_bn": lambda: VGG(VGG11, batch_norm=True),
    "vgg16": lambda: VGG(VGG16),
    "alexnet_paper": AlexNet,
}


def network(name: str, dtype="f16") -> nn.Module:
    """A network of NETWORKS with the formula's values."""
    net = NETWORKS[name]().eval()
    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            if key.endswith("num_batches_tracked"):
                tensor.fill_(BATCHES)
            else:
                tensor.copy_(fill(key, tuple(tensor.shape)))
    return net.to(DTYPES[dtype])


def state(name: str, dtype="f16") -> collections.OrderedDict:
    return network(name, dtype).state_dict()


def layers(weights) -> list[str]:
    """The names before `.weight`, in forward order, without batch norm's."""
    return [key[:-7] for key in weights if key.endswith(".weight") and weights[key].dim() > 1]


def renamed(weights, names) -> collections.OrderedDict:
    """The same tensors; `names` are what the layers of `layers(weights)` are called."""
    new = dict(zip(layers(weights), names, strict=True))
    split = ((key.rpartition("."), tensor) for key, tensor in weights.items())
    return collections.OrderedDict(
        (f"{new[layer]}.{what}", tensor) for (layer, _, what), tensor in split
    )


def prefixed(weights, prefix: str) -> collections.OrderedDict:
    return collections.OrderedDict((prefix + key, tensor) for key, tensor in weights.items())


def tutorial(last: str) -> nn.Module:
    net = Vgg16(last).half().eval()
    theirs = [key[:-7] for key in net.state_dict() if key.endswith(".weight")]
    net.load_state_dict(renamed(state("vgg16"), theirs))
    return net


BLOCKS = [f"conv{b}_{n}" for b, stage in enumerate(VGG16, 1) for n in range(1, len(stage) + 1)]
CAFFE_VGG16 = [*BLOCKS, "fc6", "fc7", "fc8"]
CAFFE_ALEXNET = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]


def timm_vgg11_bn() -> collections.OrderedDict:
    """timm's own VGG class. Its hidden width is fixed, so that its two last parts are made anew
    from timm's own classes; the names are checked against the whole one's."""
    cfg = [even(v) if v != "M" else v for v in timm.models.vgg.cfgs["vgg11"]]
    with torch.device("meta"):
        net = timm.models.vgg.VGG(cfg, num_classes=CLASSES, norm_layer=nn.BatchNorm2d)
        names = list(net.state_dict())
        net.pre_logits = timm.models.vgg.ConvMlp(even(512), HIDDEN, 7)
        net.head = timm.models.vgg.ClassifierHead(HIDDEN, CLASSES)
    assert list(net.state_dict()) == names
    net = net.to_empty(device="cpu").half().eval()
    ours = state("vgg11_bn")
    # Their tensors are ours in the same order; the first two linear layers are convolutions there.
    for (key, theirs), (_, tensor) in zip(net.state_dict().items(), ours.items(), strict=True):
        theirs.copy_(tensor.reshape(theirs.shape))
    assert net.state_dict()["pre_logits.fc1.weight"].shape == (HIDDEN, even(512), 7, 7)
    return net.state_dict()


# ------------------------------------------------------------------------------ how torch saves it


@contextlib.contextmanager
def steady_storage_keys():
    """The legacy format names storages by their address; here by when they were first seen."""
    seen = {}
    address = torch._C.StorageBase._cdata
    key = lambda self: 94_000_000_000_000 + 64 * seen.setdefault(address.__get__(self), len(seen))
    torch.UntypedStorage._cdata = property(key)
    try:
        yield
    finally:
        del torch.UntypedStorage._cdata


@contextlib.contextmanager
def replaced(owner, **attributes):
    before = {name: getattr(owner, name) for name in attributes}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


@contextlib.contextmanager
def placed(module: str, *classes):
    """The classes as if they were written in `module`, which exists only inside."""
    homes = {cls: cls.__module__ for cls in classes}
    before = sys.modules.get(module)
    home = sys.modules.setdefault(module, types.ModuleType(module))
    for cls in classes:
        cls.__module__ = module
        setattr(home, cls.__name__, cls)
    try:
        yield
    finally:
        for cls in classes:
            cls.__module__ = homes[cls]
        if before is None:
            del sys.modules[module]


def source_of(cls):
    """The legacy format keeps a class's source and path. Ours must not be of this machine."""
    return [f"class {cls.__name__}:\n", "    pass\n"], 1, cls.__module__.replace(".", "/") + ".py"


def entry(file, network, naming="torchvision", dtype="f16", notes="", **more):
    good.append(dict(file=file, network=network, naming=naming, dtype=dtype, **more))
    good[-1].update({"notes": notes} if notes else {})


def torch_save(path, value, legacy=False, protocol=2, pickle_module=pickle, location="cpu"):
    with (
        steady_storage_keys() if legacy else contextlib.nullcontext(),
        replaced(
            torch.serialization,
            get_source_lines_and_file=source_of,
            location_tag=lambda storage: location,
        ),
    ):
        torch.save(
            value,
            path,
            pickle_module=pickle_module,
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=not legacy,
        )


def save(file, value, network, naming="torchvision", dtype="f16", notes="", **more):
    how = {k: more.pop(k) for k in ("legacy", "protocol", "pickle_module", "location") if k in more}
    torch_save(FOLDER / file, value, **how)
    entry(file, network, naming, dtype, notes, **more)


def save_safetensors(file, weights, network, dtype="f32", notes="", **more):
    safetensors.torch.save_file(weights, FOLDER / file, metadata={"format": "pt"})
    entry(file, network, "torchvision", dtype, notes, **more)


def formats():
    bn, alex = state("vgg11_bn", "f32"), state("alexnet_paper")
    save("zip.pth", bn, "vgg11_bn", dtype="f32", notes="torch.save's default")
    save("zip_protocol4.pth", alex, "alexnet_paper", protocol=4)
    save("zip_protocol5.pth", alex, "alexnet_paper", protocol=5)
    save("legacy.pth", bn, "vgg11_bn", dtype="f32", legacy=True)
    save("legacy_protocol4.pth", alex, "alexnet_paper", legacy=True, protocol=4)
    torch.serialization.set_crc32_options(False)
    save("zip_no_crc.pth", alex, "alexnet_paper", notes="set_crc32_options(False): checksums are 0")
    torch.serialization.set_crc32_options(True)
    buffer = io.BytesIO()
    torch_save(buffer, alex, location="cuda:0")
    (FOLDER / "zip_cuda.pth").write_bytes(buffer.getvalue())
    entry("zip_cuda.pth", "alexnet_paper", notes="saved from a GPU, to a file object: archive/")
    for dtype in ("f16", "bf16"):
        weights = state("alexnet_paper", dtype)
        save(f"zip_{dtype}.pth", weights, "alexnet_paper", dtype=dtype)
        save(f"legacy_{dtype}.pth", weights, "alexnet_paper", dtype=dtype, legacy=True)
    for dtype in ("f16", "bf16", "f64"):
        save_safetensors(f"{dtype}.safetensors", state("vgg11", dtype), "vgg11", dtype)
    save_safetensors("plain.safetensors", bn, "vgg11_bn")
    mixed = collections.OrderedDict(
        (key, tensor.to(DTYPES[mixed_dtype(key, tensor)]))
        for key, tensor in state("alexnet_paper", "f32").items()
    )
    notes = "biases f64, convolutions f16, linear weights bf16, but the last f32"
    save("zip_mixed.pth", mixed, "alexnet_paper", dtype="mixed", notes=notes)
    save("legacy_mixed.pth", mixed, "alexnet_paper", dtype="mixed", notes=notes, legacy=True)
    save_safetensors("mixed.safetensors", mixed, "alexnet_paper", "mixed", notes)
    # What earlier versions of torch wrote.
    first_zip("zip_torch16.pth", alex)
    save("legacy_rebuild_tensor.pth", alex, "alexnet_paper", legacy=True, pickle_module=VERSION_1,
         notes="_rebuild_tensor, before _v2")
    storage_views("legacy_storage_views.pth", alex)
    zip_again("zip_stored_again.pth", FOLDER / "zip_protocol4.pth")


def mixed_dtype(key: str, tensor) -> str:
    if tensor.dim() == 1:
        return "f64"
    return "f16" if tensor.dim() == 4 else "f32" if key == "classifier.6.weight" else "bf16"


class Version1(pickle.Pickler):
    def reducer_override(self, value):
        if not isinstance(value, torch.Tensor):
            return NotImplemented
        where = value.storage_offset(), tuple(value.shape), value.stride()
        return torch._utils._rebuild_tensor, (value._typed_storage(), *where)


VERSION_1 = types.SimpleNamespace(Pickler=Version1, dump=pickle.dump, __name__="version_1")


def wrappings():
    bn, plain, alex = state("vgg11_bn"), state("vgg11"), network("alexnet_paper")
    optimizer = torch.optim.SGD(alex.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    for parameter in alex.parameters():
        parameter.grad = torch.full_like(parameter, 0.25)
    weights = copy.deepcopy(alex.state_dict())
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "arch": "alexnet",
        "state_dict": weights,
        "best_acc1": 0.5,
        "optimizer": optimizer.state_dict(),
    }
    save("checkpoint.pth", checkpoint, "alexnet_paper", legacy=True,
         notes="beside momentum of the same shapes")
    weights = state("alexnet_paper")
    arguments = argparse.Namespace(lr=0.1, data="photos", gpu=None, resume=True)
    beside = {"args": arguments, "best": np.float64(0.5), "history": np.array([0.25, 0.5])}
    save("checkpoint_args.pth", {"model": weights, **beside}, "alexnet_paper",
         notes="beside an argparse.Namespace and numpy values: not for weights_only")
    save("model.pth", {"model": plain, "epoch": 3}, "vgg11", legacy=True)
    save("model_state_dict.pth", {"epoch": 3, "model_state_dict": weights, "loss": torch.tensor(0.5)},
         "alexnet_paper", legacy=True)
    whole = nn.DataParallel(network("alexnet_paper")).state_dict()
    save("data_parallel.pth", whole, "alexnet_paper", legacy=True, notes="module.")
    parts = network("vgg11")
    parts.features = nn.DataParallel(parts.features)
    save("data_parallel_features.pth", parts.state_dict(), "vgg11", legacy=True,
         notes="features.module.0.weight")
    compiled = torch.compile(network("alexnet_paper")).state_dict()
    save("compiled.pth", compiled, "alexnet_paper", legacy=True, notes="_orig_mod.")
    lightning = {
        "epoch": 3,
        "global_step": 40,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": prefixed(plain, "model."),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1},
    }
    save("lightning.pth", lightning, "vgg11", legacy=True,
         notes="model. in state_dict; loops has a state_dict too")
    save("dict.pth", dict(weights), "alexnet_paper", legacy=True, notes="a dict, not an OrderedDict")
    kept = network("alexnet_paper").state_dict(keep_vars=True)
    save("parameters.pth", kept, "alexnet_paper", legacy=True, notes="nn.Parameter values")
    noted = network("alexnet_paper").state_dict(keep_vars=True)
    for parameter in noted.values():
        parameter.seen = True
    save("parameters_with_state.pth", noted, "alexnet_paper", legacy=True,
         notes="_rebuild_parameter_with_state")
    uncounted = collections.OrderedDict(
        (key, tensor) for key, tensor in bn.items() if not key.endswith("num_batches_tracked")
    )
    save("uncounted.pth", uncounted, "vgg11_bn", legacy=True, notes="no num_batches_tracked")


    inside = {"model": {"state_dict": weights, "arch": "alexnet"}, "epoch": 3}
    save("checkpoint_in_checkpoint.pth", inside, "alexnet_paper", legacy=True, notes="model.state_dict")
    average = torch.optim.swa_utils.AveragedModel(network("alexnet_paper")).state_dict()
    save("averaged.pth", {"model_ema": average, "epoch": 3}, "alexnet_paper", legacy=True,
         notes="AveragedModel: module. and n_averaged, under model_ema alone")
    save("checkpoint_averaged.pth", {"model": weights, "model_ema": prefixed(weights, "other.")},
         "alexnet_paper", legacy=True, notes="model counts, model_ema does not")
    few = torch.arange(3.0)
    strange = {"spectrum": few.to(torch.complex64), "mask": few.to_sparse(), "nothing": torch.zeros(0),
               "repeated": few[:1].expand(7)}
    save("beside_others_legacy.pth", {"state_dict": weights, "statistics": strange}, "alexnet_paper",
         legacy=True, notes="tensors beside the weights that no weights are: complex, sparse, empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strange["quantized"] = torch.quantize_per_tensor(few, 0.01, 0, torch.qint8)
    strange["on no device"] = few.to("meta")
    strange["of 8 bits"] = few.to(torch.float8_e4m3fn)
    save("beside_others.pth", {"state_dict": weights, "statistics": strange}, "alexnet_paper",
         notes="the same, with quantized, meta and float8 ones")


    inside = torch.optim.swa_utils.AveragedModel(nn.ModuleDict({"model": network("alexnet_paper")}))
    save("averaged_inside.pth", inside.state_dict(), "alexnet_paper", legacy=True,
         notes="n_averaged beside module.model.")
    halves = collections.OrderedDict((key, tensor.half()) for key, tensor in bn.items())
    save("counted_in_halves.pth", halves, "vgg11_bn", legacy=True, notes="num_batches_tracked is f16")
    fields = Attributes(weights)
    save("attributes.pth", {"model": fields, "model_ema": {"other.weight": weights["classifier.6.bias"]}},
         "alexnet_paper", legacy=True, notes="a dict of a class that no reader has; the average is none")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60]).state_dict()
    assert isinstance(schedule["milestones"], collections.Counter)
    for protocol in (2, 5):
        save(f"beside_values_protocol{protocol}.pth",
             {"state_dict": weights, "schedule": schedule, "values": plain_values()}, "alexnet_paper",
             protocol=protocol, notes="beside a MultiStepLR and one of each kind of plain value")


def beside_calls():
    """Values whose pickles call what no weights need, and weights where no usual key is."""
    weights, other = state("alexnet_paper"), prefixed(state("alexnet_paper"), "other.")
    with placed("tiny_vgg", Mode, Stage, Settings):
        values = [Mode.train, Stage.second, Settings(3), re.compile("a.*"), fractions.Fraction(1, 3),
                  list[int], uuid.UUID(int=7)]
        save("beside_calls.pth", {"state_dict": weights, "settings": values}, "alexnet_paper",
             legacy=True, protocol=4, notes="beside enums, a pattern, a class with __reduce__, ...")
    value, records = stored(weights)
    system = call(name("posix", "system"), text("echo this must not run"))
    beside = b"}(" + text("note") + system + text("state_dict") + value + b"u"
    (FOLDER / "beside_system.pth").write_bytes(zipped(archive(beside, records)))
    entry("beside_system.pth", "alexnet_paper", notes="beside a call of posix.system")

    parameters = [nn.Parameter(torch.zeros(2))]
    optimizer = torch.optim.Adam(parameters)
    parameters[0].grad = torch.ones(2)
    optimizer.step()
    optimizer = optimizer.state_dict()
    save("own_key.pth", {"best_wts": weights, "optimizer": optimizer, "epoch": 3, "loss": torch.tensor(0.5)},
         "alexnet_paper", legacy=True, notes="a key that only this script has")
    save("tuple.pth", (3, weights, optimizer), "alexnet_paper", legacy=True, notes="(epoch, state dict, optimizer)")
    with placed("tiny_vgg", AlexNet):
        net = network("alexnet_paper")
        both = {"model": net, "state_dict": net.state_dict(), "criterion": nn.CrossEntropyLoss(torch.ones(3))}
        save("module_and_state_dict.pth", both, "alexnet_paper", legacy=True,
             notes="the same tensors under two keys")
    flat = {**weights, "epoch": 3, "arch": "alexnet", "best": None, "notes": {}, "lr": 0.1,
            "nothing": torch.zeros(0), "steps": torch.tensor(7)}
    save("epoch_inside.pth", flat, "alexnet_paper", legacy=True, notes="an epoch among the tensors")

    two = {"teacher": weights, "student": other}
    save("two_by_key.pth", two, "alexnet_paper", legacy=True, key="teacher", notes="two networks")
    averages = {"model": other, "ema": {"state_dict": weights, "decay": 0.99}}
    save("average_by_key.pth", averages, "alexnet_paper", legacy=True, key="ema.state_dict",
         notes="an average beside the weights")
    inside = {"epoch": 3, "nets": [{**prefixed(weights, "teacher.net."), **other}]}
    save("prefix_by_key.pth", inside, "alexnet_paper", legacy=True, key="nets.0.teacher",
         notes="keys, then the beginning of names")
    prefixes = {**prefixed(weights, "teacher."), **other}
    safetensors.torch.save_file(prefixes, FOLDER / "prefix_by_key.safetensors")
    entry("prefix_by_key.safetensors", "alexnet_paper", key="teacher", notes="two networks")


class Mode(enum.Enum):
    train = "train"


class Stage(enum.IntEnum):
    second = 2


class Settings:
    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return Settings, (self.value,), {"seen": True}


def derived():
    """Layers whose parameters are computed from others, and the parameters that they then have."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(6, 5), nn.Conv2d(2, 3, 3), nn.Linear(4, 3), nn.Linear(4, 2))
    prune.l1_unstructured(net[0], "weight", 0.4)
    prune.l1_unstructured(net[1], "weight", 0.5)
    prune.random_unstructured(net[1], "bias", 0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(net[2])
    nn.utils.parametrizations.weight_norm(net[3])
    with torch.no_grad():
        net[2].weight_g.mul_(1.5)
        net[3].parametrizations.weight.original0.mul_(0.7)
        net[2](torch.zeros(1, 2, 5, 5))  # computes its weight
    weights = net.state_dict()
    weights["1.bias_mask"] = weights["1.bias_mask"].bool()
    torch_save(FOLDER / "derived.pth", weights)
    safetensors.torch.save_file(weights, FOLDER / "derived.safetensors")
    right = {f"{i}.{key}": getattr(layer, key).detach().contiguous()
             for i, layer in enumerate(net) for key in ("weight", "bias")}
    safetensors.torch.save_file(right, FOLDER / "derived_right.safetensors")


class Attributes(dict):
    """A dict whose items are attributes, too, as configurations often are."""

    __getattr__ = dict.__getitem__


def plain_values() -> list:
    zone = datetime.timezone(datetime.timedelta(hours=1))
    return [
        1 << 70, -1, 0.5, 1j, True, None, "text", b"", b"bytes", bytearray(b""), bytearray(b"more"),
        range(3), slice(1, 2), {1, 2}, frozenset({3}), collections.deque([1], maxlen=2),
        collections.Counter("aab"), collections.OrderedDict(a=1), collections.defaultdict(list, a=[1]),
        types.SimpleNamespace(a=1), argparse.Namespace(b=2), decimal.Decimal("0.1"),
        datetime.datetime(2012, 9, 30, tzinfo=zone), datetime.date(2014, 9, 4), datetime.time(1, 2),
        pathlib.PurePosixPath("photos"), pathlib.Path("photos"),
        functools.partial(math.pow, 2), "text".upper,
        np.float32(1), np.arange(3), np.random.RandomState(0).get_state(), torch.Size([1, 2]),
        torch.float16, torch.device("cpu"), torch.strided, InterpolationMode.BILINEAR,
    ]


def one_storage(weights):
    """All tensors as views of one storage, with three spare values before, between and behind."""
    flat = torch.full((sum(t.numel() + 3 for t in weights.values()) + 3,), 9.0).half()
    views, start = collections.OrderedDict(), 3
    for key, tensor in weights.items():
        views[key] = flat[start : start + tensor.numel()].view(tensor.shape)
        views[key].copy_(tensor)
        start += tensor.numel() + 3
    return views


def stepped(tensor):
    """Every second of the last dimension of a larger tensor."""
    room = torch.full((*tensor.shape[:-1], tensor.shape[-1] * 2), 9.0, dtype=tensor.dtype)
    room[..., ::2] = tensor
    return room[..., ::2]


def layouts():
    weights = state("alexnet_paper")
    last = lambda t: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t
    turned = lambda t: t.t().contiguous().t() if t.dim() == 2 else t
    each = lambda change, of: collections.OrderedDict((k, change(t)) for k, t in of.items())
    save("channels_last.pth", each(last, weights), "alexnet_paper",
         notes="convolutions stored as NHWC, some with one channel")
    save("transposed.pth", each(turned, weights), "alexnet_paper", legacy=True,
         notes="linear weights as .t()")
    save("one_storage.pth", one_storage(weights), "alexnet_paper", notes="views of one flat storage")
    save("stepped.pth", each(stepped, weights), "alexnet_paper", legacy=True, notes="slices [..., ::2]")
    laid_out = {"4": last, "2": turned, "1": stepped}
    mixture = each(lambda t: laid_out[str(t.dim())](t), weights)
    save("layouts_legacy.pth", mixture, "alexnet_paper", legacy=True,
         notes="NHWC, transposed and stepped")
    tied = network("alexnet_paper")
    tied.classifier[3].bias = tied.classifier[0].bias
    same = {"classifier.3.bias": "classifier.0.bias"}
    save("tied.pth", tied.state_dict(), "alexnet_paper", notes="two keys, one tensor", same=same)


def modules():
    with warnings.catch_warnings(), placed("tiny_vgg", VGG, AlexNet, Vgg16):
        whole = "a whole nn.Module of a class that no reader has"
        save("module.pth", network("vgg11"), "vgg11", notes=whole)
        save("module_legacy.pth", network("vgg11_bn"), "vgg11_bn", legacy=True,
             notes=f"{whole}, with its source")
        save("module_data_parallel.pth", nn.DataParallel(network("alexnet_paper")), "alexnet_paper",
             legacy=True, notes="a whole DataParallel")
        save("module_tutorial.pth", tutorial("classifier"), "vgg16", "tutorial", legacy=True,
             notes="conv1_1, ..., fc1, fc2, classifier")
        for protocol in (2, 4):
            known = network("alexnet_paper")
            known.register_buffer("mean", torch.zeros(3), persistent=False)
            known.features.register_buffer("seen", torch.zeros(3), persistent=False)
            assert list(known.state_dict()) == list(state("alexnet_paper"))
            save(f"module_buffers_protocol{protocol}.pth", known, "alexnet_paper", legacy=protocol == 2,
                 protocol=protocol, notes="buffers that are not in its state dict")
    with placed("__main__", AlexNet):
        value = {"epoch": 3, "model": network("alexnet_paper")}
        save("module_main.pth", value, "alexnet_paper", legacy=True, protocol=4,
             notes="a whole nn.Module of a class in __main__, under `model`")


def namings():
    for last in ("classifier", "fc3"):
        save(f"tutorial_{last}.pth", tutorial(last).state_dict(), "vgg16", "tutorial", legacy=True,
             notes=f"conv1_1, ..., fc1, fc2, {last}")
    vgg, alex = renamed(state("vgg16"), CAFFE_VGG16), renamed(state("alexnet_paper"), CAFFE_ALEXNET)
    save("paper_vgg16.pth", vgg, "vgg16", "paper", legacy=True)
    save("paper_alexnet.pth", alex, "alexnet_paper", "paper", legacy=True)
    safetensors.torch.save_file(alex, FOLDER / "paper_alexnet.safetensors")
    entry("paper_alexnet.safetensors", "alexnet_paper", "paper", notes="no __metadata__")
    theirs = timm_vgg11_bn()
    notes = "the first two linear layers are convolutions"
    save("timm_vgg11_bn.pth", theirs, "vgg11_bn", "timm", legacy=True, notes=notes)
    safetensors.torch.save_file(theirs, FOLDER / "timm_vgg11_bn.safetensors", {"format": "pt"})
    entry("timm_vgg11_bn.safetensors", "vgg11_bn", "timm", notes=notes)


# ---------------------------------------------------------------------------- pickles by opcode


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def items(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def integers(values) -> bytes:
    return items(*map(integer, values))


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + items(*arguments) + b"R"


def mapping(entries: dict[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def program(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


def storage(key: str, count: int, kind="FloatStorage", view: bytes | None = None) -> bytes:
    parts = [text("storage"), name("torch", kind), text(key), text("cpu"), integer(count)]
    return items(*parts, *([] if view is None else [view])) + b"Q"


NO_HOOKS = call(name("collections", "OrderedDict"))


def tensor(stored: bytes, shape, stride=None, offset=0) -> bytes:
    if stride is None:
        stride = [math.prod(shape[place + 1 :]) for place in range(len(shape))]
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    shape, stride = integers(shape), integers(stride)
    return call(rebuild, stored, integer(offset), shape, stride, b"\x89", NO_HOOKS)


def stored(weights, start="") -> tuple[bytes, dict[str, bytes]]:
    """A state dict's pickle and its records, each tensor in its own storage."""
    entries, records = {}, {}
    for number, (key, value) in enumerate(weights.items()):
        place = f"{start}{number}"
        kind = "HalfStorage" if value.dtype == torch.float16 else "FloatStorage"
        entries[key] = tensor(storage(place, value.numel(), kind), value.shape)
        records[f"data/{place}"] = value.numpy().tobytes()
    return mapping(entries), records


def zipped(records, deflated=(), order=None) -> bytes:
    """A zip archive of (name, bytes), with the same times always."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some names are there twice on purpose
        for path, data in records:
            info = zipfile.ZipInfo(path)
            info.create_system = 0
            info.compress_type = zipfile.ZIP_DEFLATED if path in deflated else zipfile.ZIP_STORED
            archive.writestr(info, data)
    return buffer.getvalue()


def archive(value: bytes, records: dict[str, bytes] = {}, byteorder="little", root="archive") -> list:
    """The records of a .pth file whose pickle makes `value`."""
    parts = {"data.pkl": program(value), "byteorder": byteorder.encode(), **records, "version": b"3\n"}
    return [(f"{root}/{path}", data) for path, data in parts.items()]


MAGIC = program(integer(0x1950A86A20F9469CFC6C))
VERSION = program(integer(1001))
SIZES = mapping({"short": integer(2), "int": integer(4), "long": integer(4)})
SYSTEM = program(
    mapping({"protocol_version": integer(1001), "little_endian": b"\x88", "type_sizes": SIZES})
)


def legacy(value: bytes, storages: dict[str, bytes] = {}, counts=None, system=SYSTEM) -> bytes:
    """A file of the legacy format; storages behind their `counts`, which are of f32 unless given."""
    keys = program(b"](" + b"".join(map(text, storages)) + b"e")
    counts = counts or [len(data) // 4 for data in storages.values()]
    data = (struct.pack("<q", n) + data for n, data in zip(counts, storages.values(), strict=True))
    return MAGIC + VERSION + system + program(value) + keys + b"".join(data)


def first_zip(file, weights):
    """torch 1.6: no byteorder, no alignment in sight, storages in the order of their names."""
    value, records = stored(weights)
    parts = [("archive/data.pkl", program(value))]
    parts += [(f"archive/{path}", records[path]) for path in sorted(records)]
    (FOLDER / file).write_bytes(zipped([*parts, ("archive/version", b"3\n")]))
    entry(file, "alexnet_paper", notes="as torch 1.6: no byteorder, data/0, data/1, data/10, ...")


def storage_views(file, weights):
    """torch 0.1 to 0.3: a storage could be a view of another, (key, first element, elements)."""
    flat = np.concatenate([value.numpy().ravel() for value in weights.values()])
    entries, start = {}, 0
    for number, (key, value) in enumerate(weights.items()):
        view = items(text(str(100 + number)), integer(start), integer(value.numel()))
        entries[key] = tensor(storage("99", flat.size, "HalfStorage", view), value.shape)
        start += value.numel()
    data = legacy(mapping(entries), {"99": flat.tobytes()}, [flat.size])
    (FOLDER / file).write_bytes(data)
    entry(file, "alexnet_paper", notes="storages that are views of one, as torch 0.1 wrote them")


def zip_again(file, path):
    with zipfile.ZipFile(path) as source:
        records = [(info.filename, source.read(info)) for info in source.infolist()]
    (FOLDER / file).write_bytes(zipped(records))
    entry(file, "alexnet_paper", notes="unpacked and stored again: no descriptors, no alignment")


# ------------------------------------------------------------------------------------ the refused


def refuse(file: str, data: bytes, why: str):
    (REFUSED / file).write_bytes(data)
    refused.append(dict(file=f"refused/{file}", why=why))


def pickled(file: str, value: bytes, why: str, records: dict[str, bytes] = {}):
    refuse(file, zipped(archive(value, records)), why)


def refuse_calls():
    echo = text("echo this must not run")
    for module, function in [
        ("posix", "system"), ("os", "system"), ("builtins", "eval"), ("__builtin__", "eval"),
        ("subprocess", "Popen"), ("torch.hub", "load"), ("torch", "load"),
    ]:
        file = f"calls_{module.strip('_').replace('.', '_')}_{function}"
        file = file.replace("builtin_eval", "builtin2_eval")
        pickled(f"{file}.pth", call(name(module, function), echo), f"calls {module}.{function}")
    system = call(name("posix", "system"), echo)
    refuse("calls_legacy.pth", legacy(system), "calls posix.system, legacy format")
    refuse("calls_before_legacy.pth", program(system) + legacy(mapping({})), "calls as magic number")
    refuse("calls_in_legacy_system.pth", legacy(mapping({}), system=program(system)),
           "calls in the legacy format's third pickle")
    refuse("calls_bare_pickle.pth", program(system), "a bare pickle that calls")
    pickled("calls_inst.pth", b"(" + echo + b"iposix\nsystem\n", "calls by INST")
    pickled("calls_obj.pth", b"(" + name("posix", "system") + echo + b"o", "calls by OBJ")
    pickled("calls_newobj.pth", name("subprocess", "Popen") + items(echo) + b"\x81", "calls by NEWOBJ")
    stack = text("posix") + text("system") + b"\x93" + items(echo) + b"R"
    pickled("calls_stack_global.pth", stack, "calls by STACK_GLOBAL")
    nested = text("torch") + text("serialization.os.system") + b"\x93" + items(echo) + b"R"
    pickled("calls_nested_name.pth", nested, "calls torch's serialization.os.system")
    pickled("calls_extension.pth", b"\x82\x01" + items(echo) + b"R", "calls by EXT1")
    sets = mapping({"__setstate__": name("posix", "system")})
    pickled("calls_build.pth", name("tiny_vgg", "VGG") + b")\x81" + sets + b"b" + echo + b"b",
            "BUILD sets __setstate__, then uses it")
    bad = mapping({"classifier.6.bias": call(name("posix", "system"), storage("0", 3))})
    pickled("calls_with_storage.pth", bad, "posix.system in _rebuild_tensor's place",
            {"data/0": bytes(12)})


def refuse_tensors():
    def one(
        file, why, shape=(3,), stride=None, offset=0, count=3, record=bytes(12), kind="FloatStorage"
    ):
        stored = storage("0", count, kind)
        value = mapping({"classifier.6.bias": tensor(stored, list(shape), stride, offset)})
        records = {} if record is None else {"data/0": record}
        pickled(f"{file}.pth", value, why, records)

    one("shape_huge", "2^40 values of 3", shape=[1 << 40])
    one("shape_huge_no_stride", "2^40 values of one, by a stride of 0", shape=[1 << 40], stride=[0])
    one("shape_overflows", "the product of the shape overflows", shape=[1 << 32, 1 << 32, 4])
    one("shape_beyond_u64", "a dimension beyond 64 bits", shape=[1 << 70], stride=[1])
    one("shape_negative", "a negative dimension", shape=[-3], stride=[1])
    one("shape_zero_times_huge", "0 x 2^62 x 2^62", shape=[0, 1 << 62, 1 << 62], stride=[1, 1, 1])
    one("shape_and_stride_differ", "two strides for one dimension", stride=[1, 1])
    one("stride_negative", "a negative stride", stride=[-1], offset=2)
    one("stride_zero", "a stride of 0: three values are one", stride=[0])
    one("stride_overflows", "a stride that overflows", stride=[1 << 62])
    one("stride_past_end", "a stride that leaves the storage", stride=[2])
    one("offset_negative", "a negative offset", offset=-1)
    one("offset_past_end", "an offset behind the storage", offset=1)
    one("offset_overflows", "an offset that overflows", offset=(1 << 63) - 1)
    one("storage_larger_than_record", "a storage of 300 in 12 bytes", count=300, shape=[300])
    one("storage_smaller_than_record", "a storage of 3 in 40 bytes", record=bytes(40))
    one("storage_negative", "a storage of -3", count=-3)
    one("storage_huge", "a storage of 2^62 values", count=1 << 62)
    one("record_missing", "no record for the storage", record=None)
    one("storage_kind_unknown", "torch.StrangeStorage", kind="StrangeStorage")
    one("storage_ints", "a bias of integers", kind="IntStorage")
    one("storage_complex", "complex64", kind="ComplexFloatStorage", record=bytes(24))
    key = storage("../../../secret", 3)
    pickled("storage_key_path.pth", mapping({"classifier.6.bias": tensor(key, [3])}),
            "a storage whose key climbs folders")
    other = items(text("module"), name("posix", "system"), text("os.py"), text("source")) + b"Q"
    pickled("persistent_module.pth", other, "a persistent id that is no storage, in a zip")
    pickled("persistent_text.pth", text("storage") + b"Q", "a persistent id that is no tuple")
    pickled("persistent_short.pth", items(text("storage")) + b"Q", "a persistent id of one part")
    few = call(name("torch._utils", "_rebuild_tensor_v2"), storage("0", 3))
    pickled("rebuild_few_arguments.pth", few,
            "_rebuild_tensor_v2 with one argument", {"data/0": bytes(12)})

    # As torch itself writes them. A whole network, but for one tensor.
    weights = state("alexnet_paper")

    def odd(file, why, **changed):
        torch_save(REFUSED / file, {**weights, **changed}, legacy="expanded" in file)
        refused.append(dict(file=f"refused/{file}", why=why))

    expanded = weights["classifier.0.bias"][:1].clone().expand(HIDDEN)
    odd("torch_expanded.pth", "a bias with a stride of 0", **{"classifier.0.bias": expanded})
    bias = weights["classifier.6.bias"].float()
    weights = {"classifier.6.weight": weights["classifier.6.weight"]}  # one reason is enough
    odd("torch_complex64.pth", "complex64", **{"classifier.6.bias": bias.to(torch.complex64)})
    odd("torch_float8.pth", "float8, by _rebuild_tensor_v3",
        **{"classifier.6.bias": bias.to(torch.float8_e4m3fn)})
    odd("torch_sparse.pth", "a sparse tensor", **{"classifier.6.bias": bias.to_sparse()})
    odd("torch_meta.pth", "a tensor on the meta device", **{"classifier.6.bias": bias.to("meta")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = torch.quantize_per_tensor(bias, 0.01, 0, torch.qint8)
        odd("torch_quantized.pth", "a quantized tensor", **{"classifier.6.bias": quantized})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd("torch_quantized_dynamic.pth", "dynamically quantized",
            **{"classifier.6._packed_params.dtype": torch.qint8})
    torch.manual_seed(0)
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)).state_dict()
    torch_save(REFUSED / "torch_spectral_norm.pth", spectral)
    refused.append(dict(file="refused/torch_spectral_norm.pth", why="spectral normalization"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spectral = nn.utils.spectral_norm(nn.Linear(3, 2)).state_dict()
    torch_save(REFUSED / "torch_spectral_norm_old.pth", spectral)
    refused.append(dict(file="refused/torch_spectral_norm_old.pth", why="spectral normalization, old"))

    one_value = mapping({"classifier.6.bias": tensor(storage("7", 3), [3])})
    refuse("legacy_storage_huge.pth", legacy(one_value, {"7": bytes(12)}, [1 << 60]),
           "2^60 values in 12 bytes")
    refuse("legacy_storage_negative.pth", legacy(one_value, {"7": bytes(12)}, [-3]), "-3 values")
    refuse("legacy_storage_differs.pth", legacy(one_value, {"7": bytes(8)}),
           "a storage of 3 in the pickle and 2 in the data")
    refuse("legacy_storage_missing.pth", legacy(one_value, {"8": bytes(12)}), "storage 7 is not there")
    refuse("legacy_storage_twice.pth",
           legacy(one_value).replace(b"](e", b"](" + text("7") * 2 + b"e") + struct.pack("<q", 3) * 2,
           "storage 7 twice")
    refuse("legacy_truncated.pth", legacy(one_value, {"7": bytes(12)})[:-4], "4 bytes are missing")
    refuse("legacy_extra.pth", legacy(one_value, {"7": bytes(12)}) + bytes(4), "4 bytes too many")
    big = SYSTEM.replace(text("little_endian") + b"\x88", text("little_endian") + b"\x89")
    refuse("legacy_big_endian.pth", legacy(one_value, {"7": bytes(12)}, system=big), "big endian")
    view = items(text("8"), integer(2), integer(3))
    viewed = mapping({"classifier.6.bias": tensor(storage("7", 3, view=view), [3])})
    refuse("legacy_view_past_end.pth", legacy(viewed, {"7": bytes(12)}), "a view behind its storage")


def refuse_archives():
    weights = state("alexnet_paper")
    value, records = stored(weights)
    whole = archive(value, records)
    plain = zipped(whole)
    small, data = stored({"classifier.6.bias": weights["classifier.6.bias"]})
    small = archive(small, data)
    refuse("zip_two_pickles.pth", zipped([*small, small[0]]), "two data.pkl")
    refuse("zip_two_roots.pth", zipped([*small, ("other/data.pkl", small[0][1])]),
           "data.pkl in two folders")
    twice = [*small, ("archive/data/0", bytes(12))]
    refuse("zip_two_records.pth", zipped(twice), "two data/0")
    refuse("zip_deflated.pth", zipped(small, deflated=[path for path, _ in small]), "compressed records")
    bomb = [("archive/data.pkl", bytes(4 << 20)), ("archive/version", b"3\n")]
    refuse("zip_bomb.pth", zipped(bomb, deflated=["archive/data.pkl"]), "4 MB of zeros in 4 KB")
    refuse("zip_record_missing.pth", zipped([r for r in small if r[0] != "archive/data/0"]),
           "no data/0")
    refuse("zip_no_pickle.pth", zipped(small[1:]), "no data.pkl")
    refuse("zip_empty.pth", zipped([]), "no records")
    for order in ("big", "middle"):
        mark = lambda path, data: order.encode() if path == "archive/byteorder" else data
        marked = zipped([(path, mark(path, data)) for path, data in small])
        refuse(f"zip_{order}_endian.pth", marked, f"its byteorder says {order}")
    start = plain.index(records["data/10"])
    wrong = bytearray(plain)
    wrong[start] ^= 1
    refuse("zip_wrong_crc.pth", bytes(wrong), "one bit of data/10 is wrong")

    # From here on one field of a small archive's structure is wrong.
    plain = zipped(small)
    local = lambda n: [i for i in range(len(plain)) if plain.startswith(b"PK\x03\x04", i)][n]
    central = lambda n: [i for i in range(len(plain)) if plain.startswith(b"PK\x01\x02", i)][n]
    end = plain.rindex(b"PK\x05\x06")

    def patched(file, why, *patches):
        data = bytearray(plain)
        for place, layout, new in patches:
            struct.pack_into(layout, data, place, new)
        refuse(f"{file}.pth", bytes(data), why)

    last = len(small) - 2  # data/0
    encrypted = [(local(n) + 6, "<H", 1) for n in range(len(small))]
    encrypted += [(central(n) + 8, "<H", 1) for n in range(len(small))]
    patched("zip_encrypted", "encrypted records", *encrypted)
    patched("zip_size_huge", "a record of 4 GB",
            (central(last) + 20, "<I", 0xFFFFFFFE), (central(last) + 24, "<I", 0xFFFFFFFE))
    patched("zip_offset_past_end", "a record behind the file", (central(last) + 42, "<I", 0x7FFFFFFF))
    patched("zip_offset_no_header", "a record where no header is", (central(last) + 42, "<I", 1))
    patched("zip_overlap", "two records in one place", (central(last) + 42, "<I", local(0)))
    patched("zip_directory_past_end", "a directory behind the file", (end + 16, "<I", 0x7FFFFFFF))
    patched("zip_count_huge", "65,534 records", (end + 8, "<H", 0xFFFE), (end + 10, "<H", 0xFFFE))
    patched("zip_names_differ", "another name in the directory than at the data",
            (local(last) + 30 + len("archive/data/"), "<B", ord("1")))
    patched("zip_two_disks", "a part of several archives", (end + 4, "<H", 1))
    refuse("zip_truncated.pth", plain[: end - 10], "no end of the directory")
    refuse("zip_only_magic.pth", plain[:4], "4 bytes of a zip")
    scripted()
    taped()


def scripted():
    """torch.jit.save. Its .debug_pkl name files of this machine and are left out, and so is the
    serialization_id, a hash of them too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.trace(nn.Linear(2, 2).eval(), torch.zeros(1, 2))
    with torch.no_grad():
        module.weight.copy_(torch.eye(2))
        module.bias.fill_(0.5)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(module, buffer)
    with zipfile.ZipFile(buffer) as source:
        names = [n for n in source.namelist() if not n.endswith((".debug_pkl", "/serialization_id"))]
        records = [(name, source.read(name)) for name in names]
    assert any(path.endswith("constants.pkl") for path, _ in records)
    refuse("torchscript.pth", zipped(records), "a TorchScript archive: code, constants.pkl")


def taped():
    """The format of torch 0.1.0: a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tape:
        for path, data in [("sys_info", SYSTEM), ("pickle", program(mapping({}))), ("storages", b"")]:
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tape.addfile(info, io.BytesIO(data))
    refuse("tar.pth", buffer.getvalue()[:2048], "a tar archive, as torch 0.1.0 wrote them")


def refuse_pickles():
    def raw(file, data, why):
        """The pickle as it is, without STOP behind it."""
        records = [("archive/data.pkl", b"\x80\x02" + data), ("archive/version", b"3\n")]
        refuse(f"pickle_{file}.pth", zipped(records), why)

    doubling = b")q\x00" + b"".join(
        b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) for n in range(40)
    )
    raw("memo_bomb", doubling + b".", "2^40 tuples by memo, in 200 bytes")
    lists = b"]q\x00" + b"".join(
        b"](" + (b"h" + bytes([n])) * 10 + b"eq" + bytes([n + 1]) for n in range(40)
    )
    raw("memo_bomb_lists", lists + b".", "10^40 lists by memo")
    raw("deep_tuples", b")" + b"\x85" * 20_000 + b".", "20,000 tuples in each other")
    raw("deep_lists", b"]" * 2_000 + b"a" * 1_999 + b".", "2,000 lists in each other")
    deep = b"}" + (text("a") + b"}") * 800 + b"s" * 800 + b"."
    raw("deep_dicts", deep, "800 dicts in each other")
    raw("marks", b"(" * 4_000 + b".", "4,000 marks")
    raw("list_in_itself", b"]q\x00h\x00a.", "a list that contains itself")
    raw("dict_in_itself", b"}q\x00" + text("state_dict") + b"h\x00s.", "a dict that contains itself")
    module = name("tiny_vgg", "VGG") + b")\x81q\x00}(" + text("_modules") + b"}(" + text("features")
    raw("module_in_itself", module + b"h\x00uub.", "a module that is a part of itself")
    whole = program(mapping({"classifier.6.bias": tensor(storage("0", 3), [3])}))[2:]
    raw("truncated", whole[: len(whole) // 2], "ends in the middle")
    raw("no_stop", whole[:-1], "no STOP")
    raw("empty", b"", "nothing behind the protocol")
    raw("behind_stop", mapping({}) + b"." + mapping({}) + b".", "an empty dict, and bytes behind STOP")
    raw("long1", b"\x8a\xff\x01.", "an integer of 255 bytes in 1")
    raw("long1_wide", b"\x8a\xff" + b"\x01" * 255 + b".", "an integer of 255 bytes")
    raw("long4", b"\x8b" + struct.pack("<i", (1 << 31) - 1) + b"\x01.", "an integer of 2 GB")
    raw("long4_negative", b"\x8b" + struct.pack("<i", -1) + b"\x01.", "an integer of -1 bytes")
    raw("text_huge", b"X" + struct.pack("<I", 0xFFFFFFFF) + b"a.", "a text of 4 GB")
    raw("text8_huge", b"\x8d" + struct.pack("<Q", (1 << 64) - 1) + b"a.", "a text of 2^64 bytes")
    raw("bytes8_huge", b"\x8e" + struct.pack("<Q", 1 << 62) + b"a.", "2^62 bytes")
    raw("bytearray8_huge", b"\x96" + struct.pack("<Q", 1 << 62) + b"a.", "a bytearray of 2^62 bytes")
    raw("frame_huge", b"\x95" + struct.pack("<Q", 1 << 62) + b"}.", "a frame of 2^62 bytes")
    raw("text_not_utf8", b"X\x02\x00\x00\x00\xff\xfe.", "a text that is not UTF-8")
    raw("memo_far", b"}r" + struct.pack("<I", 0xFFFFFFFF) + b".", "a memo index of 2^32 - 1")
    raw("memo_unknown", b"j" + struct.pack("<I", 0xFFFFFFFF) + b".", "a memo index never put")
    raw("memo_not_a_number", b"}p-1\n.", "a memo index of -1")
    raw("stack_empty", b"0" * 3 + b".", "pops from nothing")
    raw("stack_no_mark", b"t.", "a tuple without a mark")
    raw("append_to_none", b"NK\x01a.", "appends to None")
    raw("setitem_odd", b"}(" + text("a") + b"u.", "a key without a value")
    raw("list_as_key", b"}]K\x01s.", "a list as a key")
    raw("opcode_unknown", b"\xff.", "no such opcode")
    raw("buffer", b"\x97.", "an out-of-band buffer")
    raw("protocol", b"\x80\x06}.", "protocol 6")
    raw("global_unfinished", b"ctorch._utils\n_rebuild", "a name that does not end")
    raw("not_a_dict", b"K\x01.", "a number")
    raw("list", b"](K\x01K\x02e.", "a list of numbers")
    raw("none", b"N.", "None")
    raw("key_twice", mapping({"epoch": integer(1)})[:-1] + text("epoch") + integer(2) + b"u.",
        "no tensors; a key twice")
    value = tensor(storage("0", 3), [3])
    again = mapping({"classifier.6.bias": value})[:-1] + text("classifier.6.bias") + value + b"u"
    pickled("tensor_twice.pth", again, "a tensor's key twice", {"data/0": bytes(12)})
    two = mapping({"state_dict": mapping({"a.weight": value}), "model": mapping({"b.weight": value})})
    pickled("two_state_dicts.pth", two, "state_dict and model, both with weights", {"data/0": bytes(12)})


def lines(entries: list[dict]) -> str:
    return ",\n".join(json.dumps(entry) for entry in entries)


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    REFUSED.mkdir(parents=True)
    for part in (formats, wrappings, beside_calls, layouts, modules, namings, derived):
        part()
    for part in (refuse_calls, refuse_tensors, refuse_archives, refuse_pickles):
        part()
    (FOLDER / "manifest.json").write_text(
        f'{{"width": {WIDTH}, "classes": {CLASSES}, "num_batches_tracked": {BATCHES},\n'
        f'"good": [\n{lines(good)}\n],\n"refused": [\n{lines(refused)}\n]}}\n'
    )
