"""The formulas against the products that the same ops make when they are composed of primitives."""

import math

import numpy as np
import pytest

from minivit import ops
from minivit.autograd import Hook, hooked, tensor, unrolled
from minivit.inspect.multiply_adds import backward_multiply_adds, multiply_adds


class CountsProducts(Hook):
    """Multiply-adds of every matrix product that really runs: y = a b, and da = dy b^T, db = a^T dy."""

    def __init__(self) -> None:
        self.forward = self.backward = 0

    def after_forward(self, op, inputs, output, attributes) -> None:
        if op.name == "matmul":
            self.forward += math.prod(output.shape) * inputs[0].shape[-1]

    def after_backward(self, node, input_gradients) -> None:
        if node.op.name == "matmul":
            made = sum(gradient is not None for gradient in input_gradients)
            self.backward += made * math.prod(node.shape) * node.kept[0].shape[-1]


class Counts(Hook):
    """The same by the formulas."""

    def __init__(self) -> None:
        self.forward = self.backward = 0

    def after_forward(self, op, inputs, output, attributes) -> None:
        self.forward += multiply_adds(op.name, [None if x is None else x.shape for x in inputs], output.shape)

    def after_backward(self, node, input_gradients) -> None:
        shapes = [None if kept is None else kept.shape for kept in node.kept]
        made = [gradient is not None for gradient in input_gradients]
        self.backward += backward_multiply_adds(node.op.name, shapes, node.shape, made)


RANDOM = np.random.default_rng(0)


def number(*shape: int, carries: bool = True):
    return tensor(RANDOM.standard_normal(shape), requires_grad=carries)


def image(*shape: int):
    return number(*shape, carries=False)


@pytest.mark.parametrize(
    "run",
    [
        lambda: ops.linear(number(2, 3, 5), number(7, 5), number(7)),
        lambda: ops.linear(number(4, 5), number(7, 5)),
        lambda: ops.linear(image(4, 5), number(7, 5), number(7)),
        lambda: ops.linear(number(4, 5), image(7, 5)),
        lambda: ops.mlp(number(2, 3, 5), number(11, 5), number(11), number(4, 11), number(4)),
        lambda: ops.mlp(image(2, 3, 5), number(11, 5), number(11), number(4, 11), number(4)),
        lambda: ops.mlp(image(2, 3, 5), image(11, 5), image(11), number(4, 11), number(4)),
        lambda: ops.mlp(number(2, 3, 5), image(11, 5), image(11), image(4, 11), image(4)),
        lambda: ops.attention(number(2, 3, 4, 5), number(2, 3, 6, 5), number(2, 3, 6, 5)),
        lambda: ops.attention(number(4, 5), number(6, 5), number(6, 3)),
        lambda: ops.qkv_attention(number(2, 7, 24), heads=4),
        lambda: ops.conv_transpose2d(number(2, 3, 4, 5), number(3, 5, 3, 2), number(5), stride=2, padding=1),
        lambda: ops.conv2d(number(2, 3, 8, 9), number(5, 3, 3, 2), number(5), stride=2, padding=1),
        lambda: ops.conv2d(image(2, 3, 8, 9), number(5, 3, 3, 2), number(5), stride=2, padding=1),
        lambda: ops.matmul(number(3, 1, 4, 5), number(2, 5, 6)),
        lambda: ops.layer_norm(number(2, 3), number(3), number(3)),
    ],
)
def test_the_formulas_equal_the_products_of_the_composed_op(run) -> None:
    fused, composed = Counts(), CountsProducts()
    with hooked(fused):
        ops.sum(run()).backward()
    with hooked(composed), unrolled():
        ops.sum(run()).backward()
    assert fused.forward == composed.forward
    assert fused.backward == composed.backward


def test_without_a_gradient_nothing_is_counted() -> None:
    assert backward_multiply_adds("linear", [(2, 3), (4, 3), (4,)], (2, 4), [False, False, True]) == 0
    assert backward_multiply_adds("qkv_attention", [(2, 5, 12), None], (2, 5, 4), [False, False]) == 0
    assert backward_multiply_adds("exp", [(2, 3)], (2, 3), [True]) == 0
