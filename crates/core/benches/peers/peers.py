"""Times other runtimes, one pass at a time, by the protocol of harness/peer.rs.

    python peers.py MODEL.onnx IMAGES.f32 BATCH THREADS PRECISION FOLDER

For each line `NAME` on stdin it runs a pass of that runtime; for `NAME FILE` it also writes the logits.
"""

import os
import subprocess
import sys
import time

model, images, batch, threads, precision, folder = sys.argv[1:]
batch, threads = int(batch), int(threads)
os.environ["OMP_NUM_THREADS"] = str(threads)

import numpy as np

x = np.fromfile(images, np.float32).reshape(batch, 3, 224, 224)
stem = os.path.join(folder, os.path.basename(model).removesuffix(".onnx"))
tools = os.path.dirname(sys.executable)
bf16 = precision == "bf16"


def quietly(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)


def onnxruntime():
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})[0]


def openvino():
    import openvino as ov

    core = ov.Core()
    network = core.read_model(model)
    network.reshape([batch, 3, 224, 224])
    hints = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(network, "CPU", hints).create_infer_request()
    return lambda: request.infer({0: x})[0].copy()


def ncnn():
    import ncnn

    # fp16=0: by default, pnnx rounds the weights to f16.
    quietly(os.path.join(tools, "pnnx"), model, "inputshape=[1,3,224,224]", "fp16=0", f"ncnnparam={stem}.ncnn.param",
            f"ncnnbin={stem}.ncnn.bin")
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = bf16
    net.load_param(f"{stem}.ncnn.param")
    net.load_model(f"{stem}.ncnn.bin")

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

    quietly(os.path.join(tools, "mnnconvert"), "-f", "ONNX", "--modelFile", model, "--MNNModel", f"{stem}.mnn",
            "--bizCode", "peer")
    runtime = nn.create_runtime_manager(({"backend": 0, "numThread": threads, "precision": "high"},))
    net = nn.load_module_from_file(f"{stem}.mnn", [], [], runtime_manager=runtime)
    return lambda: np.array(net.forward([F.const(x, [batch, 3, 224, 224], F.NCHW)])[0].read())


def torch():
    import onnx
    import torch

    torch.set_num_threads(threads)
    graph = onnx.load(model).graph
    weights = {w.name: torch.from_numpy(onnx.numpy_helper.to_array(w).copy()) for w in graph.initializer}
    attributes = [{a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} for node in graph.node]

    def run():
        values = {graph.input[0].name: torch.from_numpy(x)}
        with torch.inference_mode():
            for node, attribute in zip(graph.node, attributes):
                values[node.output[0]] = OPERATORS[node.op_type](
                    attribute, *(values[i] if i in values else weights[i] for i in node.input)
                )
        return values[graph.output[0].name].numpy()

    f = torch.nn.functional
    OPERATORS = {
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
    run()
    return run


runtimes = {}
for make in (openvino, ncnn) if bf16 else (onnxruntime, openvino, ncnn, mnn, torch):
    try:
        runtimes[make.__name__] = make()
        runtimes[make.__name__]()
    except Exception as error:
        runtimes.pop(make.__name__, None)
        print(f"{make.__name__} is left out: {error}", file=sys.stderr)

# The line breaks come first because runtimes write to stdout, too.
print("\nready", *runtimes, flush=True)
for line in sys.stdin:
    name, _, file = line.rstrip("\n").partition(" ")
    start = time.perf_counter()
    logits = runtimes[name]()
    seconds = time.perf_counter() - start
    if file:
        logits.astype(np.float32).tofile(file)
    print("\nseconds", seconds, flush=True)
