"""Slicing and indexing: y = x[key]. Its adjoint puts dy into zeros at the same places, adding where they repeat."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor


class Take(Op):
    """y = x[key]."""

    primitive = True
    shares_memory = True

    @staticmethod
    def forward(F: Any, x: Any, *, key: Any) -> Any:
        return F.take(x, key)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, key: Any) -> tuple[Any]:
        return (F.place(dy, key, x.shape),)


class Place(Op):
    """y = zeros of `shape`, with x added at `key`."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any, *, key: Any, shape: tuple[int, ...]) -> Any:
        return F.place(x, key, shape)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, key: Any, shape: tuple[int, ...]) -> tuple[Any]:
        return (F.take(dy, key),)


def take(x: Any, key: Any) -> Tensor:
    """`x[key]`: integers, slices, None, Ellipsis, integer arrays and boolean masks, as in NumPy.

    Raises
    ------
    IndexError
        If the key does not fit the shape.
    """
    return apply(Take, as_tensor(x), key=_plain(key))


def place(x: Any, key: Any, shape: tuple[int, ...]) -> Tensor:
    """Zeros of `shape` with `x` added at `key`; places that repeat add up."""
    return apply(Place, as_tensor(x), key=_plain(key), shape=tuple(shape))


def _plain(key: Any) -> Any:
    """The key with arrays in place of Tensors."""
    if isinstance(key, tuple):
        return tuple(_plain(part) for part in key)
    return key.data if isinstance(key, Tensor) else key
