"""Softmax and log-softmax."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor


def stable_softmax(F: Any, x: Any, axis: int) -> Any:
    """exp(x) / sum(exp(x)); subtracting the maximum changes nothing but the risk of overflow, hence no gradient."""
    e = F.exp(x - F.stop(F.max(x, axis)))
    return e / F.sum(e, axis)


def stable_log_softmax(F: Any, x: Any, axis: int) -> Any:
    """x - log(sum(exp(x))), without overflow."""
    shifted = x - F.stop(F.max(x, axis))
    return shifted - F.log(F.sum(F.exp(shifted), axis))


class Softmax(Op):
    """p_i = exp(x_i) / sum_j exp(x_j) along an axis;  dp_i/dx_j = p_i (delta_ij - p_j)."""

    @staticmethod
    def forward(F: Any, x: Any, *, axis: int) -> Any:
        p = stable_softmax(F, x, axis)
        return p, p

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, axis: int) -> tuple[Any]:
        p = saved
        return (p * (dy - F.sum(dy * p, axis)),)


class LogSoftmax(Op):
    """l_i = x_i - log(sum_j exp(x_j));  dl_i/dx_j = delta_ij - p_j."""

    @staticmethod
    def forward(F: Any, x: Any, *, axis: int) -> Any:
        y = stable_log_softmax(F, x, axis)
        return y, y

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, axis: int) -> tuple[Any]:
        return (dy - F.exp(saved) * F.sum(dy, axis),)


def softmax(x: Any, axis: int = -1) -> Tensor:
    """Probabilities along `axis` from logits of any size."""
    return apply(Softmax, as_tensor(x), axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """Logarithms of the probabilities along `axis`."""
    return apply(LogSoftmax, as_tensor(x), axis=axis)
