"""Sum, mean, max, min, variance, log-sum-exp. The ops keep the reduced axes; the public functions drop them."""

from __future__ import annotations

import math
from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor, stop_gradient
from minivit.backend import array_module
from minivit.ops.arithmetic import divide
from minivit.ops.shaping import Reshape, checked_axis, reshape, transpose

Axis = int | tuple[int, ...] | None


class Sum(Op):
    """y = sum of x over `axis`;  every summand has derivative 1."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any, *, axis: Axis) -> Any:
        return F.sum(x, axis)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, axis: Axis) -> tuple[Any]:
        return (F.broadcast_to(dy, x.shape),)


class Mean(Op):
    """y = mean of x over `axis`;  every element has derivative 1/n."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any, *, axis: Axis) -> Any:
        return F.mean(x, axis)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, axis: Axis) -> tuple[Any]:
        return (F.broadcast_to(dy * (1.0 / F.size(x.shape, axis)), x.shape),)


class Max(Op):
    """y = largest x along `axis`;  among equals the first has derivative 1, as in PyTorch."""

    primitive = True
    keeps = ("x",)

    @staticmethod
    def forward(F: Any, x: Any, *, axis: int) -> Any:
        return F.max(x, axis)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, axis: int) -> tuple[Any]:
        return (dy * F.first_maximum(x, axis),)


class SumTo(Op):
    """y = x summed over the axes that broadcasting `shape` repeats: the adjoint of `broadcast_to`."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
        return F.sum_to(x, shape)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, shape: tuple[int, ...]) -> tuple[Any]:
        return (F.broadcast_to(dy, x.shape),)


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over `axis` (all axes by default)."""
    x = as_tensor(x)
    return _drop(apply(Sum, x, axis=_checked(x, axis)), axis, keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean over `axis` (all axes by default)."""
    x = as_tensor(x)
    return _drop(apply(Mean, x, axis=_checked(x, axis)), axis, keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest value over `axis` (all axes by default); among equals the gradient goes to the first."""
    x = as_tensor(x)
    if isinstance(axis, int):
        return _drop(apply(Max, x, axis=checked_axis(x, axis)), axis, keepdims)
    gone = sorted(range(x.ndim) if axis is None else {checked_axis(x, a) for a in axis})
    kept = [a for a in range(x.ndim) if a not in gone]
    moved = transpose(x, *kept, *gone) if x.ndim else x  # the reduced axes last, in reading order, then as one
    reduced = apply(Max, reshape(moved, *(x.shape[a] for a in kept), math.prod(x.shape[a] for a in gone)), axis=-1)
    return reshape(reduced, tuple(1 if a in gone else x.shape[a] for a in range(x.ndim) if keepdims or a in kept))


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest value over `axis` (all axes by default); among equals the gradient goes to the first."""
    smallest: Tensor = -max(-as_tensor(x), axis, keepdims)
    return smallest


def var(x: Any, axis: Axis = None, keepdims: bool = False, correction: int = 0) -> Tensor:
    """Variance over `axis`, divided by n - `correction`."""
    x = as_tensor(x)
    centered = x - mean(x, axis, keepdims=True)
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    squares: Tensor = sum(centered * centered, axis, keepdims)
    return divide(squares, math.prod(x.shape[a] for a in axes) - correction)


def logsumexp(x: Any, axis: Axis = -1, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over `axis`, without overflow."""
    x = as_tensor(x)
    shift = stop_gradient(max(x, axis, keepdims=True))
    total: Tensor = sum((x - shift).exp(), axis, keepdims=True)
    result: Tensor = total.log() + shift
    return _drop(result, axis, keepdims)


def argmax(x: Any, axis: int | None = None) -> Tensor:
    """Index of the first largest value: integers, which carry no gradient."""
    x = as_tensor(x)
    return Tensor(array_module(x.data).asarray(x.data.argmax(axis=axis)))


def argmin(x: Any, axis: int | None = None) -> Tensor:
    """Index of the first smallest value: integers, which carry no gradient."""
    x = as_tensor(x)
    return Tensor(array_module(x.data).asarray(x.data.argmin(axis=axis)))


def _checked(x: Tensor, axis: Axis) -> Axis:
    for a in axis if isinstance(axis, tuple) else () if axis is None else (axis,):
        checked_axis(x, a)
    return axis


def _drop(reduced: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    """Remove the reduced axes, which have size 1."""
    if keepdims:
        return reduced
    shape: tuple[int, ...] = ()
    if axis is not None:
        axes = {a % reduced.ndim for a in (axis if isinstance(axis, tuple) else (axis,))}
        shape = tuple(size for a, size in enumerate(reduced.shape) if a not in axes)
    return reduced if shape == reduced.shape else apply(Reshape, reduced, shape=shape)
