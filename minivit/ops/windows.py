"""Windows of an image, and adding them back: the two movements behind convolution and pooling."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor


class Unfold(Op):
    """(B, C, H, W) -> (B, C, kh, kw, H', W'): every window; an element is copied once for each window it lies in."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any, *, kernel_size: tuple[int, int], stride: tuple[int, int]) -> Any:
        return F.unfold(x, kernel_size, stride)

    @staticmethod
    def backward(
        F: Any, dy: Any, saved: Any, x: Any, *, kernel_size: tuple[int, int], stride: tuple[int, int]
    ) -> tuple[Any]:
        return (F.fold(dy, x.shape, stride),)


class Fold(Op):
    """(B, C, kh, kw, H', W') -> (B, C, H, W): adds every window back where it came from."""

    primitive = True

    @staticmethod
    def forward(F: Any, windows: Any, *, shape: tuple[int, ...], stride: tuple[int, int]) -> Any:
        return F.fold(windows, shape, stride)

    @staticmethod
    def backward(
        F: Any, dy: Any, saved: Any, windows: Any, *, shape: tuple[int, ...], stride: tuple[int, int]
    ) -> tuple[Any]:
        return (F.unfold(dy, windows.shape[2:4], stride),)


def unfold(x: Any, kernel_size: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Every (kh, kw) window of (B, C, H, W), as (B, C, kh, kw, H', W')."""
    return apply(Unfold, as_tensor(x), kernel_size=tuple(kernel_size), stride=tuple(stride))


def fold(windows: Any, shape: tuple[int, ...], stride: tuple[int, int]) -> Tensor:
    """Add windows (B, C, kh, kw, H', W') back into (B, C, H, W): the adjoint of `unfold`."""
    return apply(Fold, as_tensor(windows), shape=tuple(shape), stride=tuple(stride))
