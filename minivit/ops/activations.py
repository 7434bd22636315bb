"""ReLU, leaky ReLU and the logistic sigmoid."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor


class Relu(Op):
    """y = max(x, 0); the derivative at 0 is 0, as in PyTorch."""

    @staticmethod
    def forward(F: Any, x: Any) -> Any:
        y = F.where(x > 0, x, 0.0)
        return y, y

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any) -> tuple[Any]:
        return (F.where(saved > 0, dy, 0.0),)


class LeakyRelu(Op):
    """y = x where x > 0, slope x elsewhere."""

    keeps = ("x",)

    @staticmethod
    def forward(F: Any, x: Any, *, slope: float) -> Any:
        return F.where(x > 0, x, x * slope)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, slope: float) -> tuple[Any]:
        return (F.where(x > 0, dy, dy * slope),)


class Sigmoid(Op):
    """y = 1 / (1 + exp(-x)) = (1 + tanh(x/2)) / 2, which cannot overflow;  dy/dx = y (1 - y)."""

    @staticmethod
    def forward(F: Any, x: Any) -> Any:
        y = 0.5 * (1.0 + F.tanh(0.5 * x))
        return y, y

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any) -> tuple[Any]:
        return (dy * saved * (1.0 - saved),)


def relu(x: Any) -> Tensor:
    """The positive part of x."""
    return apply(Relu, as_tensor(x))


def leaky_relu(x: Any, slope: float = 0.01) -> Tensor:
    """`x` where positive, `slope` times x elsewhere."""
    return apply(LeakyRelu, as_tensor(x), slope=float(slope))


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x))."""
    return apply(Sigmoid, as_tensor(x))
