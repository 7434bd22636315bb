"""What an ONNX model is put together from: nodes, weights, and functions written as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

DOMAIN = "minivit"
OPSET = 20
IR_VERSION = 9  # the version of the file format that came with this opset

LINEAR = """
Linear (x, weight, bias) => (y) {                                  # y = x W^T + b
    transposed = Transpose <perm = [1, 0]> (weight)                # (out, in) -> (in, out)
    product = MatMul (x, transposed)
    y = Add (product, bias)
}"""


class Classifier(Protocol):
    """A model of images."""

    config: dict[str, Any]

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(C, H, W)."""


class Graph:
    """Nodes, weights and functions of an ONNX model under construction.

    Attributes
    ----------
    images : str
        Name of the input.
    nodes : list of onnx.NodeProto
    weights : dict of str to array
    functions : dict of str to onnx.FunctionProto
    """

    images = "images"

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}
        self.functions: dict[str, Any] = {}

    def define(self, *texts: str) -> None:
        """Functions in ONNX's text form, each after those that it calls. One that is there already stays."""
        from onnx import parser

        header = f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}, "{DOMAIN}" : 1]>'
        for text in texts:
            function = parser.parse_function(header + text)
            self.functions.setdefault(function.name, function)

    def add(self, op: str, inputs: Sequence[str], name: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output of the same name, which is returned."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, list(inputs), [name], name, domain=domain, **attributes))
        return name

    def call(self, function: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """A node that calls a function."""
        return self.add(function, inputs, name, DOMAIN, **attributes)

    def weight(self, name: str, values: Any) -> str:
        """A constant of the graph; returns its name."""
        self.weights[name] = np.asarray(values, order="C")
        return name

    def weights_of(self, state: Mapping[str, np.ndarray], *layers: str) -> list[str]:
        """The weights, and where they have one the biases, of layers in turn."""
        names = [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
        return [self.weight(name, state[name]) for name in names if name in state]

    def model(self, of: Classifier, last: str, width: int, sides: Sequence[int | str] | None = None) -> Any:
        """The whole as an `onnx.ModelProto`, of any batch size.

        Parameters
        ----------
        of : Module
        last : str
            What the last node is called: it becomes the output.
        width : int
            Numbers in an output.
        sides : (int or str, int or str), optional
            Height and width of the images; a name stands for any. By default the model's own.
        """
        from onnx import TensorProto, helper, numpy_helper

        from minivit.version import __version__

        channels, *own_sides = of.input_size
        output = "logits" if of.config["num_classes"] else "features"
        (node,) = [node for node in self.nodes if node.output[0] == last]
        node.output[0] = output
        graph = helper.make_graph(
            self.nodes,
            type(of).__name__,
            [helper.make_tensor_value_info(self.images, TensorProto.FLOAT, ["batch", channels, *(sides or own_sides)])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", width])],
            [numpy_helper.from_array(values, name) for name, values in self.weights.items()],
        )
        return helper.make_model(
            graph,
            functions=list(self.functions.values()),
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
            ir_version=IR_VERSION,
            producer_name="minivit",
            producer_version=__version__,
        )
