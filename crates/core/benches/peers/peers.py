"""Times another runtime, one pass at a time, by the protocol of harness/peer.rs.

    python peers.py RUNTIME FOLDER MODEL.onnx IMAGES.f32 BATCH THREADS

For each line on stdin it runs a pass; if the line has a second word, it also writes the logits into that
file. What it makes of the model, it keeps in FOLDER.
"""

import hashlib
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

runtime, folder, model, images, batch, threads = sys.argv[1:]
batch, threads = int(batch), int(threads)

import numpy as np

x = np.fromfile(images, np.float32).reshape(batch, 3, 224, 224)


def made(package, make):
    """The folder of what `make(folder)` makes of the model with this version of the package, once."""
    with open(model, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    result = Path(folder, f"{Path(model).stem}-{digest}-{package}-{version(package)}")
    if not result.exists():
        # Whatever an interrupted run left is made again.
        partial = result.with_name(result.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        make(partial)
        partial.rename(result)
    return result


def run_tool(name, *arguments):
    command = [Path(sys.executable).with_name(name), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def calibration_images():
    """Like the images that are timed, but others: normalized values between -2 and 2."""
    random = np.random.default_rng(0)
    return [random.uniform(-2, 2, (1, 3, 224, 224)).astype(np.float32) for _ in range(32)]


def onnxruntime(file=model):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})[0]


def onnxruntime_int8():
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    input_name = onnx.load(model, load_external_data=False).graph.input[0].name

    class Images(quantization.CalibrationDataReader):
        images = iter(calibration_images())

        def get_next(self):
            return next(({input_name: image} for image in self.images), None)

    def quantize(result):
        prepared = result / "prepared.onnx"
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            result / "model.onnx",
            Images(),
            # Its other format, QOperator, takes a third longer.
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        prepared.unlink()

    return onnxruntime(made("onnxruntime", quantize) / "model.onnx")


def openvino(file=model, precision="f32"):
    import openvino as ov

    core = ov.Core()
    network = core.read_model(file)
    network.reshape([batch, 3, 224, 224])
    hints = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(network, "CPU", hints).create_infer_request()
    return lambda: request.infer({0: x})[0].copy()


def openvino_int8():
    import nncf
    import openvino as ov

    def quantize(result):
        images = calibration_images()
        network = nncf.quantize(ov.Core().read_model(model), nncf.Dataset(images), subset_size=len(images))
        ov.save_model(network, result / "model.xml", compress_to_fp16=False)

    # bf16 is for what is not in int8, and OpenVINO's default; with f32 the pass takes longer.
    return openvino(made("nncf", quantize) / "model.xml", "bf16")


def ncnn(bf16=False):
    import ncnn

    def convert(result):
        # pnnx also writes beside the model that it reads. fp16=0: by default, it rounds the weights to f16.
        copy = shutil.copy(model, result / "model.onnx")
        run_tool("pnnx", copy, "inputshape=[1,3,224,224]", "fp16=0")
        copy.unlink()

    converted = made("pnnx", convert)
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = bf16
    net.load_param(str(converted / "model.ncnn.param"))
    net.load_model(str(converted / "model.ncnn.bin"))

    def run():
        logits = []
        for image in x:  # ncnn has no batches.
            extractor = net.create_extractor()
            extractor.input("in0", ncnn.Mat(image).clone())
            logits.append(np.array(extractor.extract("out0")[1]))
        return np.stack(logits)

    return run


def mnn():
    import MNN.expr as F
    import MNN.nn as nn

    def convert(result):
        files = ["--modelFile", model, "--MNNModel", result / "model.mnn"]
        run_tool("mnnconvert", "-f", "ONNX", *files, "--bizCode", "peer")

    file = str(made("MNN", convert) / "model.mnn")
    manager = nn.create_runtime_manager(({"backend": 0, "numThread": threads, "precision": "high"},))
    net = nn.load_module_from_file(file, [], [], runtime_manager=manager)
    return lambda: np.array(net.forward([F.const(x, [batch, 3, 224, 224], F.NCHW)])[0].read())


def opencv():
    import cv2

    cv2.setNumThreads(threads)

    def load(engine):
        net = cv2.dnn.readNetFromONNX(model, engine)
        net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)

        def run():
            net.setInput(x)
            return net.forward()

        return run

    def seconds(run):
        run()
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    # Which one is faster depends on the network.
    return min((load(cv2.dnn.ENGINE_CLASSIC), load(cv2.dnn.ENGINE_NEW)), key=seconds)


def torch():
    import onnx
    import torch

    torch.set_num_threads(threads)
    graph = onnx.load(model).graph
    weights = {w.name: torch.from_numpy(onnx.numpy_helper.to_array(w).copy()) for w in graph.initializer}
    attributes = [{a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} for node in graph.node]
    f = torch.nn.functional
    operators = {
        "Conv": lambda a, v, w, b: f.conv2d(v, w, b, a["strides"], a["pads"][:2], 1, a.get("group", 1)),
        "Relu": lambda a, v: f.relu(v),
        "MaxPool": lambda a, v: f.max_pool2d(v, a["kernel_shape"], a["strides"]),
        "LRN": lambda a, v: f.local_response_norm(v, a["size"], a["alpha"], a["beta"], a["bias"]),
        "Gemm": lambda a, v, w, b: f.linear(v, w, b),
        "Flatten": lambda a, v: v.flatten(1),
        "Identity": lambda a, v: v,
        "Dropout": lambda a, v: v,
        "BatchNormalization": lambda a, v, g, b, m, s: f.batch_norm(v, m, s, g, b),
    }

    def run():
        values = {graph.input[0].name: torch.from_numpy(x)}
        with torch.inference_mode():
            for node, attribute in zip(graph.node, attributes):
                values[node.output[0]] = operators[node.op_type](
                    attribute, *(values[i] if i in values else weights[i] for i in node.input)
                )
        return values[graph.output[0].name].numpy()

    return run


MAKERS = {
    "onnxruntime": onnxruntime,
    "onnxruntime-int8": onnxruntime_int8,
    "openvino": openvino,
    "openvino-int8": openvino_int8,
    "openvino-bf16": lambda: openvino(precision="bf16"),
    "ncnn": ncnn,
    "ncnn-bf16": lambda: ncnn(bf16=True),
    "mnn": mnn,
    "opencv": opencv,
    "torch": torch,
}
run = MAKERS[runtime]()
run()

# The line breaks come first because runtimes write to stdout, too.
print("\nready", flush=True)
for line in sys.stdin:
    _, _, file = line.rstrip("\n").partition(" ")
    start = time.perf_counter()
    logits = run()
    seconds = time.perf_counter() - start
    if file:
        logits.astype(np.float32).tofile(file)
    print("\nseconds", seconds, flush=True)
