"""Writes caffe/: small files of Caffe as it and its users write them, and their logits by OpenCV's dnn.

    python caffe.py        (numpy, safetensors, opencv-python-headless 4.x, which still reads Caffe's files)

Every network has width WIDTH and CLASSES classes, and every tensor is `values_of` of formula.py under torchvision's
name and shape. caffe/logits.safetensors has the logits of each file for the formula's image of its size.
"""

import pathlib
import struct

import cv2
import numpy as np
from formula import values_of
from safetensors.numpy import save_file

WIDTH = 0.01
CLASSES = 5
FOLDER = pathlib.Path(__file__).with_name("caffe")


def even(channels: int) -> int:
    return max(2, 2 * int(channels * WIDTH / 2 + 0.5))


# ------------------------------------------------------------------------------------- protobuf


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value) -> bytes:
    """An int as a varint, a float as 4 bytes, text and bytes with their length."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def message(*fields) -> bytes:
    return b"".join(field(number, value) for number, value in fields)


# ---------------------------------------------------------------------------------------- Caffe

# Of LayerParameter (2014) and V1LayerParameter (2013): the numbers of fields, and in V1 also of kinds.
V2 = dict(name=1, type=2, bottom=3, top=4, blobs=7, transform=100, convolution=106, inner=117, lrn=118, pooling=121)
V1 = dict(name=4, type=5, bottom=2, top=3, blobs=6, transform=36, convolution=10, inner=17, lrn=18, pooling=19)
V1_KINDS = dict(Accuracy=1, Convolution=4, Data=5, Dropout=6, InnerProduct=14, LRN=15, Pooling=17, ReLU=18, Softmax=20,
                SoftmaxWithLoss=21, Split=22)


def blob(values: np.ndarray, version, legacy_shape) -> bytes:
    data = values.astype("<f4").tobytes()
    if version is V2:
        return message((7, field(1, b"".join(map(varint, values.shape)))), (5, data))
    return message(*zip((1, 2, 3, 4), legacy_shape), (5, data))


class Net:
    """A network, layer by layer: as a caffemodel, and as a prototxt for OpenCV."""

    def __init__(self, version, size, inputs=b"", name="net"):
        self.version, self.size, self.shape = version, size, (3, size, size)
        self.layers, self.text, self.top = [inputs], [], "data"
        self.name, self.number = name, 0

    def raw(self, name, kind, bottoms, tops, *fields):
        version = self.version
        kind = V1_KINDS[kind] if version is V1 else kind
        layer = message((version["name"], name), (version["type"], kind), *[(version["bottom"], b) for b in bottoms],
                        *[(version["top"], t) for t in tops], *fields)
        self.layers.append(field(2 if version is V1 else 100, layer))

    def layer(self, name, kind, *fields, text="", in_place=False):
        bottom, self.top = self.top, self.top if in_place else name
        self.raw(name, kind, [bottom], [self.top], *fields)
        self.text.append(f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{self.top}" {text} }}')

    def tensors(self, key, shape, out):
        weight, bias = values_of(f"{key}.weight", shape), values_of(f"{key}.bias", (out,))
        legacy = shape if len(shape) == 4 else (1, 1, *shape)
        return [(self.version["blobs"], blob(weight, self.version, legacy)),
                (self.version["blobs"], blob(bias, self.version, (1, 1, 1, out)))]

    def conv(self, name, key, out, kernel, stride=1, pad=0, group=1, as_linear=False):
        c, h, w = self.shape
        shape = (out, c // group, kernel, kernel)
        # A linear layer as a convolution has the formula's values of the linear layer.
        flat = (out, c * kernel * kernel) if as_linear else shape
        weight = values_of(f"{key}.weight", flat).reshape(shape)
        blobs = [(self.version["blobs"], blob(weight, self.version, shape)),
                 (self.version["blobs"], blob(values_of(f"{key}.bias", (out,)), self.version, (1, 1, 1, out)))]
        settings = message((1, out), *([(3, pad)] if pad else []), (4, kernel), *([(5, group)] if group > 1 else []),
                           *([(6, stride)] if stride > 1 else []), (7, message((1, "gaussian"), (6, 0.01))))
        text = f"convolution_param {{ num_output: {out} kernel_size: {kernel} stride: {stride} pad: {pad} group: {group} }}"
        self.layer(name, "Convolution", (self.version["convolution"], settings), *blobs, text=text)
        self.shape = (out, (h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1)

    def inner(self, name, key, out):
        count = int(np.prod(self.shape))
        self.layer(name, "InnerProduct", (self.version["inner"], message((1, out))), *self.tensors(key, (out, count), out),
                   text=f"inner_product_param {{ num_output: {out} }}")
        self.shape = (out,)

    def relu(self, name):
        self.layer(name, "ReLU", in_place=True)

    def dropout(self, name):
        self.layer(name, "Dropout", (108 if self.version is V2 else 12, message((1, 0.5))), in_place=True)

    def lrn(self, name):
        settings = message((1, 5), (2, 1e-4), (3, 0.75))
        text = "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"
        self.layer(name, "LRN", (self.version["lrn"], settings), text=text)

    def pool(self, name, kernel):
        settings = message((1, 0), (2, kernel), (3, 2))
        text = f"pooling_param {{ pool: MAX kernel_size: {kernel} stride: 2 }}"
        self.layer(name, "Pooling", (self.version["pooling"], settings), text=text)
        c, h, w = self.shape
        self.shape = (c, -((kernel - h) // 2) + 1, -((kernel - w) // 2) + 1)

    def model(self) -> bytes:
        return field(1, self.name) + b"".join(self.layers)

    def prototxt(self) -> bytes:
        head = f'name: "net" input: "data" input_dim: 1 input_dim: 3 input_dim: {self.size} input_dim: {self.size}'
        return "\n".join([head, *self.text]).encode()


def data(net: Net, *transform):
    """The layers of a training network, with the copies of blobs that Caffe adds."""
    net.raw("data", "Data", [], ["data", "label"], (net.version["transform"], message((2, 1), *transform)))
    net.raw("label_data_1_split", "Split", ["label"], ["label_data_1_split_0", "label_data_1_split_1"])


def loss(net: Net):
    net.raw("fc8_fc8_0_split", "Split", [net.top], ["fc8_fc8_0_split_0", "fc8_fc8_0_split_1"])
    net.raw("accuracy", "Accuracy", ["fc8_fc8_0_split_0", "label_data_1_split_0"], ["accuracy"])
    net.raw("loss", "SoftmaxWithLoss", ["fc8_fc8_0_split_1", "label_data_1_split_1"], ["loss"])


def alexnet(net: Net, pool_first: bool):
    """bvlc_alexnet, or with `pool_first` bvlc_reference_caffenet."""
    index = 0
    for number, (out, kernel, stride, pad, group, normalized, pooled) in enumerate([
        (96, 11, 4, 0, 1, True, True), (256, 5, 1, 2, 2, True, True), (384, 3, 1, 1, 1, False, False),
        (384, 3, 1, 1, 2, False, False), (256, 3, 1, 1, 2, False, True),
    ], start=1):
        net.conv(f"conv{number}", f"features.{index}", even(out), kernel, stride, pad, group)
        net.relu(f"relu{number}")
        after = [f"norm{number}"] * normalized + [f"pool{number}"] * pooled
        for name in reversed(after) if pool_first else after:
            net.lrn(name) if name.startswith("norm") else net.pool(name, 3)
        index += 2 + len(after)
    for number, (key, out) in enumerate([(0, even(4096)), (3, even(4096)), (6, CLASSES)], start=6):
        net.inner(f"fc{number}", f"classifier.{key}", out)
        if number < 8:
            net.relu(f"relu{number}")
            net.dropout(f"drop{number}")


def vgg(net: Net, counts, fully_convolutional=False):
    index = 0
    for block, (count, out) in enumerate(zip(counts, (64, 128, 256, 512, 512)), start=1):
        for number in range(1, count + 1):
            net.conv(f"conv{block}_{number}", f"features.{index}", even(out), 3, pad=1)
            net.relu(f"relu{block}_{number}")
            index += 2
        net.pool(f"pool{block}", 2)
        index += 1
    for number, (key, out) in enumerate([(0, even(4096)), (3, even(4096)), (6, CLASSES)], start=6):
        if fully_convolutional:
            net.conv(f"fc{number}", f"classifier.{key}", out, 7 if number == 6 else 1, as_linear=True)
        else:
            net.inner(f"fc{number}", f"classifier.{key}", out)
        if number < 8:
            net.relu(f"relu{number}")
            net.dropout(f"drop{number}")


def main():
    FOLDER.mkdir(exist_ok=True)
    dims = lambda size: field(3, "data") + b"".join(field(4, dim) for dim in (10, 3, size, size))
    nets = {}
    nets["bvlc_alexnet"] = net = Net(V2, 227)
    data(net, (3, 227), (4, "data/ilsvrc12/imagenet_mean.binaryproto"))
    alexnet(net, pool_first=False)
    loss(net)
    nets["caffenet"] = net = Net(V1, 227)
    data(net, (3, 227), (4, "data/ilsvrc12/imagenet_mean.binaryproto"))
    alexnet(net, pool_first=True)
    loss(net)
    nets["vgg16"] = net = Net(V1, 224, dims(224), name="VGG_ILSVRC_16_layers")
    vgg(net, (2, 2, 3, 3, 3))
    net.raw("prob", "Softmax", [net.top], ["prob"])
    nets["vgg19_own_mean"] = net = Net(V2, 224)
    data(net, (1, 0.5), (3, 224), (5, 93.5), (5, 104.0), (5, 129.25))
    vgg(net, (2, 2, 4, 4, 4))
    loss(net)
    nets["vgg16_convolutional"] = net = Net(V2, 224)
    net.raw("input", "Input", [], ["data"], (143, field(1, field(1, b"".join(map(varint, (1, 3, 224, 224)))))))
    vgg(net, (2, 2, 3, 3, 3), fully_convolutional=True)

    logits = {}
    for name, net in nets.items():
        model = net.model()
        FOLDER.joinpath(f"{name}.caffemodel").write_bytes(model)
        # OpenCV takes the layers from the prototxt, and the weights from the model by the layers' names.
        opencv = cv2.dnn.readNetFromCaffe(np.frombuffer(net.prototxt(), np.uint8), np.frombuffer(model, np.uint8))
        opencv.setInput(values_of("input", (1, 3, net.size, net.size)))
        logits[name] = opencv.forward(net.top).reshape(-1).astype(np.float32)
        print(name, len(model), logits[name])
    save_file(logits, FOLDER / "logits.safetensors")


if __name__ == "__main__":
    main()
