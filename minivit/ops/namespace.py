"""`F` over Tensors: the same names as `minivit.backend.namespace.ArrayNamespace`, each an op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minivit.autograd import Tensor, stop_gradient
from minivit.autograd.apply import apply
from minivit.backend import array_module
from minivit.backend.namespace import ArrayNamespace
from minivit.ops import elementwise, indexing, reductions, shaping, windows


class TensorNamespace:
    """The namespace `F` for Tensors: a text that runs on it builds the op from primitives."""

    exp = staticmethod(elementwise.exp)
    log = staticmethod(elementwise.log)
    sqrt = staticmethod(elementwise.sqrt)
    sin = staticmethod(elementwise.sin)
    cos = staticmethod(elementwise.cos)
    tanh = staticmethod(elementwise.tanh)
    erf = staticmethod(elementwise.erf)
    abs = staticmethod(elementwise.absolute)
    maximum = staticmethod(elementwise.maximum)
    where = staticmethod(elementwise.where)
    cast = staticmethod(elementwise.astype)
    reshape = staticmethod(shaping.reshape)
    broadcast_to = staticmethod(shaping.broadcast_to)
    concatenate = staticmethod(shaping.concatenate)
    stack = staticmethod(shaping.stack)
    swapaxes = staticmethod(shaping.swapaxes)
    pad = staticmethod(shaping.pad)
    take = staticmethod(indexing.take)
    place = staticmethod(indexing.place)
    unfold = staticmethod(windows.unfold)
    fold = staticmethod(windows.fold)
    stop = staticmethod(stop_gradient)
    size = staticmethod(ArrayNamespace.size)

    def transpose(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Axes in another order."""
        return shaping.transpose(x, *axes)

    def sum(self, x: Tensor, axis: Any = None) -> Tensor:
        """Sum over `axis`, which stays with size 1."""
        return reductions.sum(x, axis, keepdims=True)

    def mean(self, x: Tensor, axis: Any = None) -> Tensor:
        """Mean over `axis`, which stays with size 1."""
        return reductions.mean(x, axis, keepdims=True)

    def max(self, x: Tensor, axis: Any = None) -> Tensor:
        """Largest value over `axis`, which stays with size 1."""
        return reductions.max(x, axis, keepdims=True)

    def sum_to(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Sum over the axes that broadcasting repeats."""
        return x if x.shape == tuple(shape) else apply(reductions.SumTo, x, shape=tuple(shape))

    # What follows has no derivative: constants computed from the arrays.

    def first_maximum(self, x: Tensor, axis: int) -> Tensor:
        """1 where the first largest value along `axis` stands."""
        return self._constant("first_maximum", x, axis)

    def sign(self, x: Tensor) -> Tensor:
        """-1, 0 or 1."""
        return self._constant("sign", x)

    def isfinite(self, x: Tensor) -> Tensor:
        """True where neither infinite nor NaN."""
        return self._constant("isfinite", x)

    def one_hot(self, labels: Tensor, classes: int, dtype: Any) -> Tensor:
        """(...,) integers -> (..., classes)."""
        return self._constant("one_hot", labels, classes, dtype)

    def zeros_like(self, x: Tensor) -> Tensor:
        """Zeros of the same shape and dtype."""
        return self._constant("zeros_like", x)

    def ones_like(self, x: Tensor) -> Tensor:
        """Ones of the same shape and dtype."""
        return self._constant("ones_like", x)

    def _constant(self, name: str, x: Tensor, *arguments: Any) -> Tensor:
        from minivit.backend import backend_of

        backend = backend_of(x.data)
        return Tensor(array_module(x.data).asarray(getattr(backend.F, name)(x.data, *arguments)))
