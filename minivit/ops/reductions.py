"""Sum, mean, max, min, variance, log-sum-exp. Inside a text reduced axes stay; the public functions drop them."""

from __future__ import annotations

import math
from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor, stop_gradient
from minivit.backend import array_module
from minivit.ops.arithmetic import divide
from minivit.ops.shaping import checked_axis, reshape, transpose

Axis = int | tuple[int, ...] | None


class Sum(Op):
    """y = sum of x over `axis`;  every summand has derivative 1."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any, *, axis: Axis, keepdims: bool) -> Any:
        y = F.sum(x, axis)
        return y if keepdims else F.reshape(y, without_axes(x.shape, axis))

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, axis: Axis, keepdims: bool) -> tuple[Any]:
        return (F.broadcast_to(F.reshape(dy, with_ones(x.shape, axis)), x.shape),)


class Mean(Op):
    """y = mean of x over `axis`;  every element has derivative 1/n."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any, *, axis: Axis, keepdims: bool) -> Any:
        y = F.mean(x, axis)
        return y if keepdims else F.reshape(y, without_axes(x.shape, axis))

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, axis: Axis, keepdims: bool) -> tuple[Any]:
        dy = F.reshape(dy, with_ones(x.shape, axis))
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
    return apply(Sum, x, axis=_checked(x, axis), keepdims=keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean over `axis` (all axes by default)."""
    x = as_tensor(x)
    return apply(Mean, x, axis=_checked(x, axis), keepdims=keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest value over `axis` (all axes by default); among equals the gradient goes to the first."""
    x = as_tensor(x)
    if isinstance(axis, int):
        largest = apply(Max, x, axis=checked_axis(x, axis))
        return largest if keepdims else reshape(largest, without_axes(x.shape, axis))
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
    return result if keepdims else reshape(result, without_axes(x.shape, axis))


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


def without_axes(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """What is left of a shape when the reduced axes are dropped."""
    if axis is None:
        return ()
    reduced = _from_the_front(shape, axis)
    return tuple([size for a, size in enumerate(shape) if a not in reduced])


def with_ones(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """What is left of a shape when the reduced axes stay, with size 1."""
    if axis is None:
        return (1,) * len(shape)
    reduced = _from_the_front(shape, axis)
    return tuple([1 if a in reduced else size for a, size in enumerate(shape)])


def _from_the_front(shape: tuple[int, ...], axis: int | tuple[int, ...]) -> set[int]:
    return {a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))}
