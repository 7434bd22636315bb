"""Reshape, transpose, broadcast, concatenate, stack, pad: no arithmetic, so each backward is the inverse movement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError


class Reshape(Op):
    """y = the same elements in another shape."""

    primitive = True
    shares_memory = True

    @staticmethod
    def forward(F: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
        return F.reshape(x, shape)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, shape: tuple[int, ...]) -> tuple[Any]:
        return (F.reshape(dy, x.shape),)


class Transpose(Op):
    """y = x with its axes in another order; the backward applies the inverse permutation."""

    primitive = True
    shares_memory = True

    @staticmethod
    def forward(F: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
        return F.transpose(x, axes)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, axes: tuple[int, ...]) -> tuple[Any]:
        inverse = tuple(sorted(range(len(axes)), key=axes.__getitem__))
        return (F.transpose(dy, inverse),)


class BroadcastTo(Op):
    """y = x repeated to a larger shape; its adjoint is `sum_to`."""

    primitive = True
    shares_memory = True

    @staticmethod
    def forward(F: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
        return F.broadcast_to(x, shape)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, shape: tuple[int, ...]) -> tuple[Any]:
        return (F.sum_to(dy, x.shape),)


class Concatenate(Op):
    """y = the inputs one after another along `axis`; the backward cuts dy into their lengths."""

    primitive = True

    @staticmethod
    def forward(F: Any, *xs: Any, axis: int) -> Any:
        return F.concatenate(list(xs), axis)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, *xs: Any, axis: int) -> tuple[Any, ...]:
        axis %= len(dy.shape)
        pieces, start = [], 0
        for x in xs:
            stop = start + x.shape[axis]
            pieces.append(F.take(dy, (slice(None),) * axis + (slice(start, stop),)))
            start = stop
        return tuple(pieces)


class Pad(Op):
    """y = x with a border of `value`; the backward cuts the border off."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any, *, widths: tuple[tuple[int, int], ...], value: float) -> Any:
        return F.pad(x, widths, value)

    @staticmethod
    def backward(
        F: Any, dy: Any, saved: Any, x: Any, *, widths: tuple[tuple[int, int], ...], value: float
    ) -> tuple[Any]:
        return (F.take(dy, tuple(slice(b, b + size) for (b, _), size in zip(widths, x.shape, strict=True))),)


def reshape(x: Any, *shape: Any) -> Tensor:
    """The same elements in another shape; one length may be -1.

    Raises
    ------
    ShapeError
        If the number of elements does not fit.
    """
    x = as_tensor(x)
    target = _shape(shape)
    if target.count(-1) == 1:
        known = -math.prod(target)
        if known == 0 or x.size % known:
            raise ShapeError(f"reshape: {x.shape} has {x.size} elements, which {target} does not divide")
        target = tuple(x.size // known if size == -1 else size for size in target)
    count = math.prod(target)
    if count != x.size or min(target, default=0) < 0:
        raise ShapeError(f"reshape: {x.shape} has {x.size} elements, {target} would have {count}")
    return x if target == x.shape else apply(Reshape, x, shape=target)


def flatten(x: Any, start_axis: int = 0) -> Tensor:
    """All axes from `start_axis` on as one."""
    x = as_tensor(x)
    if not x.ndim:
        return reshape(x, 1)
    start_axis = checked_axis(x, start_axis)
    return reshape(x, *x.shape[:start_axis], math.prod(x.shape[start_axis:]))


def transpose(x: Any, *axes: Any) -> Tensor:
    """Axes in another order; reversed when none is given."""
    x = as_tensor(x)
    order = tuple(checked_axis(x, a) for a in _shape(axes)) or tuple(reversed(range(x.ndim)))
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(f"transpose: axes {order} are no permutation of the {x.ndim} axes of {x.shape}")
    return apply(Transpose, x, axes=order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Exchange two axes."""
    x = as_tensor(x)
    order = list(range(x.ndim))
    axis1, axis2 = checked_axis(x, axis1), checked_axis(x, axis2)
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(x, *order)


def broadcast_to(x: Any, *shape: Any) -> Tensor:
    """Repeat to a larger shape without copying."""
    x = as_tensor(x)
    target = _shape(shape)
    return x if target == x.shape else apply(BroadcastTo, x, shape=target)


def expand_dims(x: Any, axis: int) -> Tensor:
    """Insert an axis of size 1."""
    x = as_tensor(x)
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise ShapeError(f"expand_dims: axis {axis} for {x.shape}; it must lie in [{-x.ndim - 1}, {x.ndim}]")
    axis %= x.ndim + 1
    return reshape(x, *x.shape[:axis], 1, *x.shape[axis:])


def squeeze(x: Any, axis: int | None = None) -> Tensor:
    """Remove an axis of size 1 (all of them by default)."""
    x = as_tensor(x)
    gone = {a for a, size in enumerate(x.shape) if size == 1} if axis is None else {checked_axis(x, axis)}
    if any(x.shape[a] != 1 for a in gone):
        raise ShapeError(f"squeeze: axis {axis} of {x.shape} has size {x.shape[gone.pop()]}, not 1")
    return reshape(x, tuple(size for a, size in enumerate(x.shape) if a not in gone))


def concatenate(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Join along an existing axis.

    Raises
    ------
    ShapeError
        If the other axes differ.
    """
    parts = [as_tensor(x) for x in tensors]
    if not parts:
        raise ShapeError("concatenate: at least one tensor is needed")
    axis = checked_axis(parts[0], axis)
    for part in parts:
        if part.shape[:axis] + part.shape[axis + 1 :] != parts[0].shape[:axis] + parts[0].shape[axis + 1 :]:
            raise ShapeError(f"concatenate: {parts[0].shape} and {part.shape} differ in more than axis {axis}")
    return apply(Concatenate, *parts, axis=axis)


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Join along a new axis."""
    return concatenate([expand_dims(x, axis) for x in tensors], axis)


def split(x: Any, parts: int, axis: int = 0) -> list[Tensor]:
    """Cut an axis into `parts` equal pieces."""
    x = as_tensor(x)
    axis = checked_axis(x, axis)
    size, rest = divmod(x.shape[axis], parts)
    if rest:
        raise ShapeError(f"split: axis {axis} of {x.shape} cannot be cut into {parts} equal parts")
    return [x[(slice(None),) * axis + (slice(i * size, (i + 1) * size),)] for i in range(parts)]


def pad(x: Any, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """Surround with a constant; `widths` gives (before, after) for every axis."""
    x = as_tensor(x)
    if len(widths) != x.ndim:
        raise ShapeError(f"pad: {len(widths)} pairs of widths for the {x.ndim} axes of {x.shape}")
    return apply(Pad, x, widths=tuple((int(b), int(a)) for b, a in widths), value=float(value))


def checked_axis(x: Tensor, axis: int) -> int:
    """The axis counted from the front.

    Raises
    ------
    ShapeError
        If `x` has no such axis.
    """
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"axis {axis} of a tensor of shape {x.shape}; it must lie in [{-x.ndim}, {x.ndim - 1}]")
    return axis % x.ndim


def _shape(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    """(2, 3) from f(2, 3) and from f((2, 3))."""
    if len(arguments) == 1 and isinstance(arguments[0], tuple | list):
        arguments = tuple(arguments[0])
    return tuple(int(size) for size in arguments)
