"""ONNX's own checker and onnxruntime look at the files that crates/core/tests/files/onnx.rs wrote.

    cargo test -p alexnet-vgg-core --test files onnx && python tests/python/onnx_models.py target/tmp/onnx

Each NAME.onnx has a NAME.safetensors beside it with `input`, our `logits`, and, in its metadata, the
network's `parameters` and the `batch` of the model (a number, or N for any). onnx 1.23, onnxruntime
1.32, safetensors, numpy.
"""

import argparse
import json
import pathlib
import struct
import sys

import numpy
import onnx
import onnxruntime
import safetensors.numpy

# Of the largest |logit|: two f32 implementations that sum in different orders.
TOLERANCE = 1e-5
# The first dimension of input and output.
ANY_BATCH = "N"


class Failure(Exception):
    """What was expected of a file, and what was found."""


def expect(holds, message):
    if not holds:
        raise Failure(message)


def metadata(path):
    """The part of a safetensors header that its numpy reader does not give."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))["__metadata__"]


def check_file(path, said):
    """All that is known without running it."""
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path))
    inferred = onnx.shape_inference.infer_shapes(
        model, check_type=True, strict_mode=True, data_prop=True
    )
    graph = model.graph
    known = {value.name for value in inferred.graph.value_info} | {graph.output[0].name}
    outputs = {name for node in graph.node for name in node.output}
    expect(outputs <= known, f"no shape inferred for {sorted(outputs - known)}")

    # What operators need beside the network's parameters: windows of a pool, shapes around an LRN in groups.
    weights = [tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    names = [tensor.name for tensor in weights if not tensor.name.startswith("avgpool.")]
    expect(names == said["parameters"].split(","), f"other initializers: {names}")
    for value in (graph.input[0], graph.output[0]):
        batch = value.type.tensor_type.shape.dim[0]
        found = batch.dim_param or str(batch.dim_value)
        expect(found == said["batch"], f"{value.name}: batch {found}, expected {said['batch']}")
    return sorted({node.op_type for node in graph.node})


def check_logits(path, tensors, said):
    """The largest difference from our logits, in parts of the largest logit."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    images, ours = tensors["input"], tensors["logits"]

    def logits(images):
        (found,) = session.run(["logits"], {"input": images})
        return found

    def error(found, wanted):
        expect(found.shape == wanted.shape, f"shape {found.shape}, expected {wanted.shape}")
        error = float(numpy.abs(found - wanted).max() / numpy.abs(ours).max())
        expect(error <= TOLERANCE, f"logits differ by {error:.1e}, expected at most {TOLERANCE:.0e}")
        return error

    errors = [error(logits(images), ours)]
    if said["batch"] == ANY_BATCH:
        errors += [error(logits(images[rows]), ours[rows]) for rows in ([0], [-1], [1, 0, 1])]
    else:
        try:
            logits(images[:1])
        except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument:
            pass
        else:
            raise Failure(f"a batch of 1 was taken by a model for batches of {said['batch']}")
    return max(errors)


def check(path):
    beside = path.with_suffix(".safetensors")
    said, tensors = metadata(beside), safetensors.numpy.load_file(beside)
    operators = check_file(path, said)
    worst = check_logits(path, tensors, said)
    shape = "x".join(map(str, tensors["input"].shape))
    print(f"{path.stem:24} {shape:14} error {worst:.1e}  {' '.join(operators)}")
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="where crates/core/tests/files/onnx.rs wrote: target/tmp/onnx")
    parser.add_argument("--at-least", type=int, default=27, help="how many models must be there")
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.glob("*.onnx"))
    if len(paths) < arguments.at_least:
        sys.exit(
            f"{arguments.folder}: expected at least {arguments.at_least} models, found {len(paths)};"
            " run `cargo test -p alexnet-vgg-core --test files onnx` first"
        )
    errors, failures = [], 0
    for path in paths:
        try:
            errors.append(check(path))
        except Exception as error:  # whatever a checker raises is this file's failure
            failures += 1
            print(f"{path.stem:24} FAILED: {error}", file=sys.stderr)
    print(f"{len(errors)} of {len(paths)} models right, largest error {max(errors, default=0):.1e}")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
