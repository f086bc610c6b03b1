"""Writes weights/: small files as PyTorch and its users write them, for the readers to be tested on.

    python weights.py        (torch, numpy, safetensors; timm to check its names)

All values are the formula of networks.py by torchvision's key, so none is stored twice: the tests
compute them. cases.json says of each file which network it is and how it is read. The networks are at
width 0.004 with 3 classes: every convolution has 2 channels, every hidden layer 16 features.
"""

import collections
import json
import pathlib
import sys
import types

import safetensors.torch
import torch
from torch import nn

from networks import fill

HERE = pathlib.Path(__file__).parent / "weights"
CASES = []
C, HIDDEN, CLASSES = 2, 16, 3
VGG = {"vgg11": (1, 1, 2, 2, 2), "vgg11_bn": (1, 1, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3)}


def vgg(name):
    """torchvision's layers: a list of (key, papers' name, shape of the weight)."""
    layers, index, channels = [], 0, 3
    for block, count in enumerate(VGG[name], 1):
        for i in range(1, count + 1):
            layers.append((f"features.{index}", f"conv{block}_{i}", (C, channels, 3, 3)))
            if name.endswith("_bn"):
                layers.append((f"features.{index + 1}", f"bn{block}_{i}", (C,)))
            index += 3 if name.endswith("_bn") else 2
            channels = C
        index += 1
    for key, number, shape in ((0, 6, (HIDDEN, C * 49)), (3, 7, (HIDDEN, HIDDEN)), (6, 8, (CLASSES, HIDDEN))):
        layers.append((f"classifier.{key}", f"fc{number}", shape))
    return layers


ALEXNET_PAPER = [
    ("features.0", "conv1", (C, 3, 11, 11)), ("features.4", "conv2", (C, C // 2, 5, 5)),
    ("features.8", "conv3", (C, C, 3, 3)), ("features.10", "conv4", (C, C // 2, 3, 3)),
    ("features.12", "conv5", (C, C // 2, 3, 3)), ("classifier.0", "fc6", (HIDDEN, C * 36)),
    ("classifier.3", "fc7", (HIDDEN, HIDDEN)), ("classifier.6", "fc8", (CLASSES, HIDDEN)),
]


def layers(network):
    return ALEXNET_PAPER if network == "alexnet_paper" else vgg(network)


def tensors(network, rename=lambda key, name: key, counters=True):
    state = collections.OrderedDict()
    for key, name, shape in layers(network):
        new = rename(key, name)
        state[f"{new}.weight"] = fill(f"{key}.weight", shape).float()
        state[f"{new}.bias"] = fill(f"{key}.bias", shape[:1]).float()
        if len(shape) == 1:
            state[f"{new}.running_mean"] = fill(f"{key}.running_mean", shape).float()
            state[f"{new}.running_var"] = fill(f"{key}.running_var", shape).float()
            if counters:
                state[f"{new}.num_batches_tracked"] = torch.tensor(7)
    return state


def cast(state, dtype):
    return collections.OrderedDict(
        (key, value.to(dtype) if value.is_floating_point() else value) for key, value in state.items()
    )


def case(file, network="vgg11_bn", naming="torchvision", dtype="F32"):
    CASES.append({"file": file, "network": network, "naming": naming, "dtype": dtype})
    return HERE / file


def both(name, value, **about):
    """The zip format and the legacy one."""
    torch.save(value, case(f"{name}.pth", **about))
    torch.save(value, case(f"{name}.legacy.pth", **about), _use_new_zipfile_serialization=False)


class Leaf(nn.Module):
    """A module that holds what it is given."""


def module(state, module_class=Leaf):
    """A tree of modules whose state dict is `state`."""
    root = module_class()
    for key, value in state.items():
        *path, attribute = key.split(".")
        at = root
        for part in path:
            if part not in at._modules:
                at.add_module(part, Leaf())
            at = at._modules[part]
        if attribute in ("weight", "bias"):
            at.register_parameter(attribute, nn.Parameter(value))
        else:
            at.register_buffer(attribute, value)
    return root


def formats_and_types():
    state = tensors("vgg11_bn")
    both("plain", state)
    torch.save(state, case("protocol4.pth"), pickle_protocol=4)
    torch.save(state, case("protocol5.pth"), pickle_protocol=5)
    torch.save(state, case("protocol4.legacy.pth"), pickle_protocol=4, _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    torch.save(state, case("without_crc.pth"))
    torch.serialization.set_crc32_options(True)
    safetensors.torch.save_file(dict(state), case("plain.safetensors"))
    for name, dtype in (("F16", torch.float16), ("BF16", torch.bfloat16), ("F64", torch.float64)):
        both(name.lower(), cast(state, dtype), dtype=name)
        safetensors.torch.save_file(dict(cast(state, dtype)), case(f"{name.lower()}.safetensors", dtype=name))
    mixed = collections.OrderedDict(
        (key, value.double() if "features" in key and value.is_floating_point() else value)
        for key, value in state.items()
    )
    both("mixed", mixed, dtype="mixed")


def wrappings():
    state = tensors("vgg11_bn")
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(4)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    both("checkpoint", {"epoch": 3, "arch": "vgg11_bn", "state_dict": state, "best_acc1": torch.tensor(0.5), "optimizer": optimizer})
    torch.save({"model": state, "epoch": 3}, case("model_key.pth"))
    torch.save({"model_state_dict": dict(state), "loss": 0.1}, case("model_state_dict_key.pth"))
    prefixes = {
        "data_parallel": lambda key: f"module.{key}",
        "data_parallel_features": lambda key: key.replace("features.", "features.module."),
        "compiled": lambda key: f"_orig_mod.{key}",
    }
    for name, prefix in prefixes.items():
        torch.save({prefix(key): value for key, value in state.items()}, case(f"{name}.pth"))
    lightning = {f"model.{key}": value for key, value in state.items()}
    torch.save({"state_dict": lightning, "pytorch-lightning_version": "2.0"}, case("lightning.pth"))
    parameters = {key: nn.Parameter(v) if v.is_floating_point() else v for key, v in state.items()}
    both("parameters", parameters)
    torch.save(tensors("vgg11_bn", counters=False), case("without_counters.pth"))


def layouts():
    state = tensors("vgg11_bn")

    def with_layout(change):
        return collections.OrderedDict((key, change(key, value)) for key, value in state.items())

    def channels_last(_, value):
        return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value

    def transposed(_, value):
        return value.t().contiguous().t() if value.dim() == 2 else value

    def stepped(_, value):
        if not value.is_floating_point():
            return value
        wide = torch.full((*value.shape[:-1], 2 * value.shape[-1]), float("nan"))
        wide[..., ::2] = value
        return wide[..., ::2]

    flat = torch.cat([value.flatten() for value in state.values() if value.is_floating_point()])
    offset = [0]

    def view_of_one(_, value):
        if not value.is_floating_point():
            return value
        start = offset[0]
        offset[0] += value.numel()
        return flat[start : offset[0]].view(value.shape)

    both("channels_last", with_layout(channels_last))
    both("transposed", with_layout(transposed))
    both("one_storage", with_layout(view_of_one))
    torch.save(with_layout(stepped), case("stepped.pth"))


def modules():
    """Whole modules, of classes that nobody who reads them has."""
    tiny = types.ModuleType("tiny_vgg")
    sys.modules["tiny_vgg"] = tiny
    for name in ("Leaf", "Vgg"):
        setattr(tiny, name, type(name, (nn.Module,), {"__module__": "tiny_vgg", "__qualname__": name}))
    globals()["Leaf"] = tiny.Leaf
    both("module", module(tensors("vgg11_bn"), tiny.Vgg))
    torch.save(nn.DataParallel(module(tensors("vgg11_bn"), tiny.Vgg)), case("module_data_parallel.pth"))
    torch.save({"model": module(tensors("vgg11_bn"), tiny.Vgg)}, case("module_in_checkpoint.pth"))
    both("tutorial_module", module(tensors("vgg16", tutorial), tiny.Vgg), network="vgg16", naming="tutorial")
    del sys.modules["tiny_vgg"]


def tutorial(key, name):
    return {"fc6": "fc1", "fc7": "fc2", "fc8": "classifier"}.get(name, name)


def namings():
    torch.save(tensors("vgg16", tutorial), case("tutorial.pth", network="vgg16", naming="tutorial"))
    counted = lambda key, name: {"fc6": "fc1", "fc7": "fc2", "fc8": "fc3"}.get(name, name)
    about = {"network": "vgg16", "naming": "tutorial-numbered"}
    torch.save(tensors("vgg16", counted), case("tutorial_numbered.pth", **about))
    paper = lambda key, name: name
    for network in ("vgg16", "vgg11_bn", "alexnet_paper"):
        torch.save(tensors(network, paper), case(f"paper_{network}.pth", network=network, naming="paper"))
    timm = {"fc6": "pre_logits.fc1", "fc7": "pre_logits.fc2", "fc8": "head.fc"}
    for network in ("vgg11_bn", "vgg16"):
        state = tensors(network, lambda key, name: timm.get(name, key))
        for key, window in (("pre_logits.fc1", 7), ("pre_logits.fc2", 1)):
            weight = state[f"{key}.weight"]
            state[f"{key}.weight"] = weight.reshape(HIDDEN, -1, window, window)
        about = {"network": network, "naming": "timm"}
        torch.save(state, case(f"timm_{network}.pth", **about))
        safetensors.torch.save_file(dict(state), case(f"timm_{network}.safetensors", **about))
        expect_timm(network, state)


def expect_timm(network, state):
    """Names and numbers of dimensions against timm's own network."""
    try:
        import timm
    except ImportError:
        print("timm is not installed: its names are not checked")
        return
    theirs = timm.create_model(network, pretrained=False).state_dict()
    assert list(theirs) == list(state), set(theirs) ^ set(state)
    for key, value in theirs.items():
        ours = state[key]
        assert ours.dim() == value.dim() and ours.shape[2:] == value.shape[2:], key


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for write in (formats_and_types, wrappings, layouts, modules, namings):
        write()
    lines = ",\n".join(json.dumps(row) for row in CASES)
    (HERE / "cases.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(CASES)} files, {sum(path.stat().st_size for path in HERE.iterdir())} bytes")
