"""Slicing and indexing: y = x[key]. Its adjoint puts dy into zeros at the same places, adding where they repeat."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor, check_devices


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
    DeviceError
        If an array in the key is on another device.
    """
    x = as_tensor(x)
    return apply(Take, x, key=_plain("take", x, key))


def place(x: Any, key: Any, shape: tuple[int, ...]) -> Tensor:
    """Zeros of `shape` with `x` added at `key`; places that repeat add up."""
    x = as_tensor(x)
    return apply(Place, x, key=_plain("place", x, key), shape=tuple(shape))


def _plain(name: str, x: Tensor, key: Any) -> Any:
    """The key with arrays, on the device of `x`, in place of Tensors."""
    if isinstance(key, tuple):
        return tuple(_plain(name, x, part) for part in key)
    if not isinstance(key, Tensor) and not (hasattr(key, "dtype") and hasattr(key, "shape") and key.shape):
        return key
    indices = as_tensor(key)
    check_devices(name, x, indices)
    return indices.data
