"""The residual network as an ONNX graph: a function for blocks that keep the shape and one for those that change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minivit.interop.onnx_graph import LINEAR, Graph
from minivit.models import ResNet

KERNELS = {"basic": (3, 3), "bottleneck": (1, 3, 1)}  # of a block's convolutions
STRIDED = {"basic": 0, "bottleneck": 1}  # which of them has the block's stride
NAMES = {"basic": "BasicBlock", "bottleneck": "Bottleneck"}
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def resnet(model: ResNet) -> Any:
    """The forward in evaluation, with the running statistics, as an `onnx.ModelProto` for images of any size.

    Parameters
    ----------
    model : ResNet
        With parameters of float32.
    """
    config, state = model.config, model.state_dict()
    kind, eps = config["block"], config["bn_eps"]
    graph = Graph()
    stride, padding = model.conv1.stride, model.conv1.padding
    graph.define(_stem(stride, padding, eps, pooled=config["stem"] == "imagenet"))
    x = graph.call("Stem", [graph.images, *_convolution(graph, state, "conv1", "bn1")], "stem")
    for stage, count in enumerate(config["layers"]):
        for number in range(count):
            path = f"layer{stage + 1}.{number}"
            inputs = [x]
            for layer in range(1, len(KERNELS[kind]) + 1):
                inputs += _convolution(graph, state, f"{path}.conv{layer}", f"{path}.bn{layer}")
            projects = f"{path}.downsample.0.weight" in state
            graph.define(_block(kind, eps, projects))
            if projects:
                inputs += _convolution(graph, state, f"{path}.downsample.0", f"{path}.downsample.1")
                strides = [2 if stage > 0 else 1] * 2
                x = graph.call(f"{NAMES[kind]}WithProjection", inputs, path, strides=strides)
            else:
                x = graph.call(NAMES[kind], inputs, path)
    x = graph.add("ReduceMean", [x, graph.weight("spatial_axes", np.array([2, 3]))], "pool", keepdims=0)  # (B, D)
    if config["num_classes"]:
        graph.define(LINEAR)
        x = graph.call("Linear", [x, *graph.weights_of(state, "fc")], "fc")
    return graph.model(model, x, config["num_classes"] or model.num_features, ("height", "width"))


def _convolution(graph: Graph, state: Mapping[str, np.ndarray], conv: str, norm: str) -> list[str]:
    """The weights of a convolution and of the batch norm behind it."""
    return [graph.weight(name, state[name]) for name in (f"{conv}.weight", *(f"{norm}.{p}" for p in NORM_PARTS))]


def _stem(stride: int, padding: int, eps: float, pooled: bool) -> str:
    pool = ""
    if pooled:
        pool = f"\n    y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = {[1] * 4}> (active)"
    return f"""
Stem (x, {_inputs("conv")}) => (y) {{
{_lines("conv", "x", f"[{stride}, {stride}]", padding, eps)}
    {"active" if pooled else "y"} = Relu (conv_norm){pool}
}}"""


def _block(kind: str, eps: float, projects: bool) -> str:
    layers = [f"conv{number}" for number in range(1, len(KERNELS[kind]) + 1)]
    lines, x = [], "x"
    for number, (layer, kernel) in enumerate(zip(layers, KERNELS[kind], strict=True)):
        strides = "@strides" if projects and number == STRIDED[kind] else "[1, 1]"
        lines.append(_lines(layer, x, strides, kernel // 2, eps))
        x = f"{layer}_norm"
        if layer != layers[-1]:
            lines.append(f"    {layer}_active = Relu ({x})")
            x = f"{layer}_active"
    shortcut = "x"
    if projects:
        lines.append(_lines("shortcut", "x", "@strides", 0, eps))
        shortcut = "shortcut_norm"
    inputs = ", ".join(_inputs(layer) for layer in [*layers, *(["shortcut"] if projects else [])])
    body = "\n".join(lines)
    return f"""
{NAMES[kind]}{"WithProjection <strides>" if projects else ""} (x, {inputs}) => (y) {{
{body}
    total = Add ({x}, {shortcut})
    y = Relu (total)
}}"""


def _inputs(layer: str) -> str:
    return ", ".join([f"{layer}_weight", *(f"{layer}_norm_{part}" for part in NORM_PARTS)])


def _lines(layer: str, x: str, strides: str, padding: int, eps: float) -> str:
    """A convolution and its batch norm."""
    strides = f"strides: ints = {strides}" if strides.startswith("@") else f"strides = {strides}"
    norm = ", ".join(f"{layer}_norm_{part}" for part in NORM_PARTS)
    return (
        f"    {layer}_out = Conv <{strides}, pads = {[padding] * 4}> ({x}, {layer}_weight)\n"
        f"    {layer}_norm = BatchNormalization <epsilon = {eps!r}> ({layer}_out, {norm})"
    )
