"""Writes onnx/: small ONNX files as torch's two exporters and the model zoo write them, and torch's logits.

    python onnx_files.py        (torch, torchvision, numpy, safetensors, onnx, onnxscript, onnxruntime)

Every network has width WIDTH and CLASSES classes, and every tensor is `values_of` of formula.py under torchvision's
name and shape. onnx/logits.safetensors has the logits of each file for the formula's image of its size; onnxruntime
gives the same.
"""

import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from formula import values_of
from networks import NETWORKS, fill
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from torch import nn

WIDTH = 0.01
CLASSES = 5
FOLDER = pathlib.Path(__file__).with_name("onnx")


def even(channels: int) -> int:
    return max(2, 2 * int(channels * WIDTH / 2 + 0.5))


class Network(nn.Module):
    """A network of networks.py at WIDTH, with the formula's weights."""

    def __init__(self, name: str):
        super().__init__()
        with torch.device("meta"):
            net = NETWORKS[name]()
        channels, pixels, self.name = 3, net.avgpool.output_size[0] ** 2, name
        for layer in net.features:
            if isinstance(layer, nn.Conv2d):
                out = even(layer.out_channels)
                layer.weight = nn.Parameter(torch.empty(out, channels // layer.groups, *layer.kernel_size))
                layer.bias = nn.Parameter(torch.empty(out))
                channels = out
            elif isinstance(layer, nn.BatchNorm2d):
                layer.__init__(channels)
        count = channels * pixels
        for layer in net.classifier:
            if isinstance(layer, nn.Linear):
                out = CLASSES if layer.out_features == 1000 else even(4096)
                layer.__init__(count, out)
                count = out
        self.features, self.avgpool, self.classifier = net.features, net.avgpool, net.classifier
        with torch.no_grad():
            for key, tensor in self.state_dict().items():
                if not key.endswith("num_batches_tracked"):
                    tensor.copy_(fill(key, tuple(tensor.shape)))
        self.eval()

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def exported(file: str, network: Network, size=224, **options):
    image = torch.from_numpy(values_of("input", (1, 3, size, size)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (image,), FOLDER / file, **options)
    model = onnx.load(FOLDER / file)
    for node in model.graph.node:
        # Where in which file the layer was called.
        kept = [entry for entry in node.metadata_props if "stack_trace" not in entry.key]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, FOLDER / file)


def zoo(network: Network, size: int, opset: int, matrix=False) -> onnx.ModelProto:
    """As the model zoo's files, which were converted from Caffe2: initializers are inputs too, Dropout and Softmax are
    nodes, and the size of a pooled map is rounded up by padding at the end."""
    nodes, tensors, current, inputs = [], [], "data_0", [("data_0", (1, 3, size, size))]

    def constant(name, values):
        tensor = numpy_helper.from_array(values, name)
        if len(tensors) % 2:  # Old files have their numbers in float_data.
            tensor.ClearField("raw_data")
            tensor.float_data.extend(values.reshape(-1).tolist())
        tensors.append(tensor)
        inputs.append((name, values.shape))
        return name

    def node(op, *names, outputs=1, **attributes):
        nonlocal current
        name = f"{op.lower()}_{len(nodes)}"
        outputs = [name, f"_{name}_mask"][:outputs]
        nodes.append(helper.make_node(op, [current, *names], outputs, **attributes))
        current = name

    for key, layer in network.features.named_children():
        key = f"features.{key}"
        if isinstance(layer, nn.Conv2d):
            node("Conv", constant(f"{key}_w_0", layer.weight.detach().numpy()), constant(f"{key}_b_0", layer.bias.detach().numpy()),
                 kernel_shape=layer.kernel_size, strides=layer.stride, pads=[layer.padding[0]] * 4, group=layer.groups)
        elif isinstance(layer, nn.LocalResponseNorm):
            node("LRN", size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)
        elif isinstance(layer, nn.MaxPool2d):
            node("MaxPool", kernel_shape=[layer.kernel_size] * 2, strides=[layer.stride] * 2, pads=[0, 0, 1, 1])
        else:
            node("Relu")
    first = next(layer for layer in network.classifier if isinstance(layer, nn.Linear))
    shape = numpy_helper.from_array(np.array([1, first.in_features], np.int64), "OC2_DUMMY_1")
    inputs.append(("OC2_DUMMY_1", None))
    node("Reshape", "OC2_DUMMY_1")
    for key, layer in network.classifier.named_children():
        key = f"classifier.{key}"
        if isinstance(layer, nn.Linear) and matrix:
            node("MatMul", constant(f"{key}_w_0", layer.weight.detach().numpy().T.copy()))
            node("Add", constant(f"{key}_b_0", layer.bias.detach().numpy()))
        elif isinstance(layer, nn.Linear):
            node("Gemm", constant(f"{key}_w_0", layer.weight.detach().numpy()), constant(f"{key}_b_0", layer.bias.detach().numpy()),
                 transB=1)
        elif isinstance(layer, nn.Dropout):
            node("Dropout", outputs=2, **({"ratio": 0.5} if opset < 12 else {}))
        else:
            node("Relu")
    logits = current
    node("Softmax")
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) if shape else
             helper.make_tensor_value_info(name, TensorProto.INT64, (2,)) for name, shape in inputs]
    graph = helper.make_graph(nodes, "zoo", infos, [helper.make_tensor_value_info(current, TensorProto.FLOAT, (1, CLASSES))],
                              [shape, *tensors])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="onnx-caffe2", ir_version=3)
    return model, logits


def main():
    FOLDER.mkdir(exist_ok=True)
    expected = {}

    def keep(file, network, size, output=None):
        image = values_of("input", (1, 3, size, size))
        with torch.no_grad():
            logits = network(torch.from_numpy(image)).numpy()[0]
        model = onnx.load(FOLDER / file)
        onnx.checker.check_model(model)
        if output:  # The logits, before the softmax.
            model.graph.output[0].name = output
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        name = next(i.name for i in session.get_inputs() if i.name not in {t.name for t in model.graph.initializer})
        error = np.abs(session.run(None, {name: image})[0][0] - logits).max() / np.abs(logits).max()
        print(file, logits, f"onnxruntime: {error:.1e}", FOLDER.joinpath(file).stat().st_size)
        assert error < 1e-5
        expected[file] = logits

    alexnet, bn, vgg16 = Network("alexnet"), Network("vgg11_bn"), Network("vgg16")
    dynamic = dict(input_names=["input"], dynamic_axes={"input": {0: "batch"}})
    exported("alexnet_torchscript.onnx", alexnet, dynamo=False, **dynamic)
    keep("alexnet_torchscript.onnx", alexnet, 224)
    exported("alexnet_dynamo.onnx", alexnet, dynamo=True, external_data=False)
    keep("alexnet_dynamo.onnx", alexnet, 224)
    exported("vgg11_bn_dynamo.onnx", bn, dynamo=True, external_data=False)  # batch norm is in the convolutions
    keep("vgg11_bn_dynamo.onnx", bn, 224)
    exported("vgg11_bn_torchscript.onnx", bn, dynamo=False, training=torch.onnx.TrainingMode.PRESERVE)
    keep("vgg11_bn_torchscript.onnx", bn, 224)
    for file, network, size, opset, matrix in [
        ("vgg16-7.onnx", vgg16, 224, 7, False), ("vgg16-12_matmul.onnx", vgg16, 224, 12, True),
        ("bvlcalexnet-12.onnx", Network("alexnet_caffe"), 227, 12, False),
        ("caffenet-9.onnx", Network("caffenet"), 227, 9, False),
    ]:
        model, logits = zoo(network, size, opset, matrix)
        onnx.save(model, FOLDER / file)
        keep(file, network, size, logits)
    half = onnx.load(FOLDER / "alexnet_torchscript.onnx")
    for tensor in half.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(half, FOLDER / "alexnet_f16.onnx")
    expected["alexnet_f16.onnx"] = expected["alexnet_torchscript.onnx"]

    # What is refused.
    onnx.save(onnx.load(FOLDER / "alexnet_dynamo.onnx"), FOLDER / "refused_external_data.onnx",
              save_as_external_data=True, location="refused_external_data.bin", size_threshold=0)
    FOLDER.joinpath("refused_external_data.bin").unlink()
    exported("refused_lrn_of_torch.onnx", Network("alexnet_paper"), dynamo=True, external_data=False)
    save_file(expected, FOLDER / "logits.safetensors")
    FOLDER.joinpath("logits.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
