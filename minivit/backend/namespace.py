"""`F` over arrays: the small namespace that the text of every op is written against.

The same names exist for Tensors (`minivit.ops.namespace`), so one text runs on arrays (the fused op), on Tensors (the
op composed from primitives) and on complex arrays (the complex-step derivative). Reductions keep their axes: a text
then broadcasts without having to count dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

Axis = int | tuple[int, ...] | None


def reduced_axes(shape: Sequence[int], target: Sequence[int]) -> tuple[int, ...]:
    """The axes over which an array of `shape` was broadcast from `target` (both after left-padding with ones)."""
    lead = len(shape) - len(target)
    return tuple(range(lead)) + tuple(
        lead + axis for axis, size in enumerate(target) if size == 1 and shape[lead + axis] != 1
    )


class ArrayNamespace:
    """The namespace `F` for the arrays of one library.

    Parameters
    ----------
    module : module
        The NumPy-like module.
    erf : callable
        Its error function.
    """

    def __init__(self, module: Any, erf: Callable[[Any], Any]) -> None:
        self.xp = module
        self.erf = erf
        self.exp = module.exp
        self.log = module.log
        self.sqrt = module.sqrt
        self.sin = module.sin
        self.cos = module.cos
        self.tanh = module.tanh
        self.maximum = module.maximum
        self.broadcast_to = module.broadcast_to
        self.concatenate = module.concatenate
        self.stack = module.stack
        self.zeros_like = module.zeros_like
        self.ones_like = module.ones_like

    def sum(self, x: Any, axis: Axis = None) -> Any:
        """Sum over `axis`, which stays with size 1."""
        return x.sum(axis=axis, keepdims=True)

    def mean(self, x: Any, axis: Axis = None) -> Any:
        """Mean over `axis`, which stays with size 1."""
        return x.mean(axis=axis, keepdims=True)

    def max(self, x: Any, axis: Axis = None) -> Any:
        """Largest value over `axis` (which stays with size 1); complex numbers are ordered by their real part."""
        return x.max(axis=axis, keepdims=True)

    def first_maximum(self, x: Any, axis: int) -> Any:
        """1 where the first largest value along `axis` stands, 0 elsewhere: the derivative of `max`."""
        position = self.xp.expand_dims(x.argmax(axis=axis), axis)
        return self.cast(self._index_along(x, axis) == position, x.dtype)

    def _index_along(self, x: Any, axis: int) -> Any:
        axis %= x.ndim
        shape = [1] * x.ndim
        shape[axis] = x.shape[axis]
        return self.xp.arange(x.shape[axis]).reshape(shape)

    def reshape(self, x: Any, shape: Sequence[int]) -> Any:
        """The same elements in another shape."""
        return x.reshape(shape)

    def transpose(self, x: Any, axes: Sequence[int]) -> Any:
        """Axes in another order."""
        return x.transpose(axes)

    def swapaxes(self, x: Any, axis1: int, axis2: int) -> Any:
        """Exchange two axes."""
        return x.swapaxes(axis1, axis2)

    def sum_to(self, x: Any, shape: Sequence[int]) -> Any:
        """Sum over the axes that broadcasting `shape` to `x.shape` repeats: the adjoint of `broadcast_to`."""
        shape = tuple(shape)
        if x.shape == shape:
            return x
        axes = reduced_axes(x.shape, shape)
        return x.sum(axis=axes, keepdims=True).reshape(shape) if axes else x.reshape(shape)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """`x` where the condition holds, `y` elsewhere."""
        return self.xp.where(condition, x, y)

    def sign(self, x: Any) -> Any:
        """-1, 0 or 1 by the sign of the real part."""
        return self.xp.sign(x.real).astype(x.dtype)

    def abs(self, x: Any) -> Any:
        """Absolute value, continued analytically for complex numbers (so that a complex step passes through)."""
        return x * self.sign(x) if x.dtype.kind == "c" else self.xp.abs(x)

    def isfinite(self, x: Any) -> Any:
        """True where neither infinite nor NaN."""
        return self.xp.isfinite(x)

    def cast(self, x: Any, dtype: Any) -> Any:
        """Convert to another dtype."""
        return x.astype(dtype)

    def stop(self, x: Any) -> Any:
        """On arrays nothing is recorded, so there is nothing to stop."""
        return x

    def pad(self, x: Any, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Any:
        """Pad every axis with `value`."""
        return self.xp.pad(x, widths, constant_values=value)

    def one_hot(self, labels: Any, classes: int, dtype: Any) -> Any:
        """(...,) integers -> (..., classes): built by comparison, so that no scatter is needed."""
        return self.cast(labels[..., None] == self.xp.arange(classes), dtype)

    def take(self, x: Any, key: Any) -> Any:
        """`x[key]`."""
        return x[key]

    def place(self, dy: Any, key: Any, shape: Sequence[int]) -> Any:
        """Zeros of `shape` with `dy` added at `key`: the adjoint of `x[key]`, repeated indices included."""
        dx = self.xp.zeros(shape, dtype=dy.dtype)
        if _is_basic(key):
            dx[key] = dy
        else:
            self.xp.add.at(dx, key, dy)
        return dx

    def unfold(self, x: Any, kernel_size: tuple[int, int], stride: tuple[int, int]) -> Any:
        """(B, C, H, W) -> (B, C, kh, kw, H', W'): every window of an image, window positions last."""
        (kh, kw), (sh, sw) = kernel_size, stride
        rows, columns = (x.shape[2] - kh) // sh + 1, (x.shape[3] - kw) // sw + 1
        windows = [
            x[:, :, i : i + sh * (rows - 1) + 1 : sh, j : j + sw * (columns - 1) + 1 : sw]
            for i in range(kh)
            for j in range(kw)
        ]  # kh*kw arrays (B, C, H', W')
        return self.xp.stack(windows, axis=2).reshape(*x.shape[:2], kh, kw, rows, columns)

    def fold(self, windows: Any, shape: Sequence[int], stride: tuple[int, int]) -> Any:
        """(B, C, kh, kw, H', W') -> (B, C, H, W): adds every window back where `unfold` took it; its adjoint."""
        kh, kw, rows, columns = windows.shape[2:]
        sh, sw = stride
        x = self.xp.zeros(shape, dtype=windows.dtype)
        for i in range(kh):
            for j in range(kw):
                x[:, :, i : i + sh * (rows - 1) + 1 : sh, j : j + sw * (columns - 1) + 1 : sw] += windows[:, :, i, j]
        return x

    @staticmethod
    def size(shape: Sequence[int], axis: Axis = None) -> int:
        """Number of elements along `axis`."""
        if axis is None:
            return math.prod(shape)
        return math.prod(shape[a] for a in ((axis,) if isinstance(axis, int) else axis))


def _is_basic(key: Any) -> bool:
    """Whether an index is basic (integers, slices, None, Ellipsis): such a view never repeats an element."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(
        part is None or part is Ellipsis or (isinstance(part, int | slice) and not isinstance(part, bool))
        for part in parts
    )
