"""Multiply-adds of an op's matrix products, forward and backward, by the shapes.

A multiply-add is one multiplication with one addition, two FLOP. Of the backward the products that the derivative needs
are counted; what a kernel computes a second time to save memory is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from minivit.inspect.sizes import Shape


def multiply_adds(op: str, inputs: Sequence[Shape | None], output: Shape) -> int:
    """Multiply-adds of one forward of an op, by the shapes: 0 for an op without a matrix product.

    A test holds these to the products that the same op makes when it is composed of primitives.
    """
    shapes = [shape or () for shape in inputs]
    if op in ("linear", "matmul"):
        return math.prod(output) * shapes[0][-1]
    if op == "mlp":
        rows = math.prod(output[:-1])
        return rows * (math.prod(shapes[1]) + math.prod(shapes[3]))
    if op == "conv2d":
        return math.prod(output) * math.prod(shapes[1][1:])
    if op == "conv_transpose2d":
        return math.prod(shapes[0]) * math.prod(shapes[1][1:])
    if op == "attention":
        rows = math.prod(shapes[0][:-1]) * shapes[1][-2]  # (..., N) queries times M keys
        return rows * (shapes[0][-1] + shapes[2][-1])
    if op == "qkv_attention":
        B, N, D = output
        return 2 * B * N * N * D  # Q K^T and P V, all heads
    return 0


def backward_multiply_adds(op: str, inputs: Sequence[Shape | None], output: Shape, made: Sequence[bool]) -> int:
    """Multiply-adds of one backward of an op.

    Parameters
    ----------
    op : str
    inputs, output : shapes
        Of the forward.
    made : sequence of bool
        For each input, whether its gradient was made.
    """
    forward = multiply_adds(op, inputs, output)
    if not forward or not any(made):
        return 0
    if op in ("attention", "qkv_attention"):
        return 2 * forward  # dV = P^T dY and dP = dY V^T for P V; dQ = dS K and dK = dS^T Q for Q K^T
    if op == "mlp":
        rows = math.prod(output[:-1])
        first, second = rows * math.prod(inputs[1] or ()), rows * math.prod(inputs[3] or ())
        through = any(made[:3])  # the gradient of what lies between the two layers
        return first * (made[0] + made[1]) + second * (made[3] + through)
    return forward * (made[0] + made[1])  # y = x w: dx = dy w^T and dw = x^T dy, each as large as y
