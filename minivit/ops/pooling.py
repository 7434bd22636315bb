"""Max and average pooling."""

from __future__ import annotations

import math
from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError
from minivit.ops.conv2d import Pair, check_window, crop_image, pad_image, pair


class MaxPool2d(Op):
    """y = the largest of each window; among equals the first has derivative 1.   (B, C, H, W) -> (B, C, H', W')."""

    @staticmethod
    def forward(F: Any, x: Any, *, kernel_size: Pair, stride: Pair, padding: Pair) -> Any:
        windows = _flat_windows(F, pad_image(F, x, padding, -math.inf), kernel_size, stride)  # (B, C, kh kw, H', W')
        y = F.max(windows, 2)  # (B, C, 1, H', W')
        return F.reshape(y, _without_axis(y.shape, 2)), F.first_maximum(windows, 2)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, kernel_size: Pair, stride: Pair, padding: Pair) -> tuple[Any]:
        b, c, rows, cols = dy.shape
        return (_spread(F, saved * F.reshape(dy, (b, c, 1, rows, cols)), x.shape, kernel_size, stride, padding),)


class AvgPool2d(Op):
    """y = the mean of each window, zeros of the padding included.   (B, C, H, W) -> (B, C, H', W')."""

    @staticmethod
    def forward(F: Any, x: Any, *, kernel_size: Pair, stride: Pair, padding: Pair) -> Any:
        y = F.mean(_flat_windows(F, pad_image(F, x, padding), kernel_size, stride), 2)  # (B, C, 1, H', W')
        return F.reshape(y, _without_axis(y.shape, 2))

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, kernel_size: Pair, stride: Pair, padding: Pair) -> tuple[Any]:
        b, c, rows, cols = dy.shape
        share = F.reshape(dy * (1.0 / math.prod(kernel_size)), (b, c, 1, rows, cols))
        windows = F.broadcast_to(share, (b, c, math.prod(kernel_size), rows, cols))
        return (_spread(F, windows, x.shape, kernel_size, stride, padding),)


def _flat_windows(F: Any, x: Any, kernel_size: Pair, stride: Pair) -> Any:
    windows = F.unfold(x, kernel_size, stride)  # (B, C, kh, kw, H', W')
    b, c, kh, kw, rows, cols = windows.shape
    return F.reshape(windows, (b, c, kh * kw, rows, cols))


def _spread(F: Any, windows: Any, shape: tuple[int, ...], kernel_size: Pair, stride: Pair, padding: Pair) -> Any:
    """The adjoint of `_flat_windows` and of the padding before it."""
    b, c, _, rows, cols = windows.shape
    padded = (b, c, shape[2] + 2 * padding[0], shape[3] + 2 * padding[1])
    return crop_image(F, F.fold(F.reshape(windows, (b, c, *kernel_size, rows, cols)), padded, stride), padding)


def _without_axis(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def max_pool2d(x: Any, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> Tensor:
    """Largest value of each window; the stride is the window's size by default.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
    kernel_size, stride, padding : int or (int, int)
        The padding counts as -infinity and may be at most half a window.
    """
    return _pool(MaxPool2d, x, kernel_size, stride, padding)


def avg_pool2d(x: Any, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> Tensor:
    """Mean of each window, padding counted as zeros; the stride is the window's size by default.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
    kernel_size, stride, padding : int or (int, int)
    """
    return _pool(AvgPool2d, x, kernel_size, stride, padding)


def _pool(op: type[Op], x: Any, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair) -> Tensor:
    x, kernel, border = as_tensor(x), pair(kernel_size), pair(padding)
    if x.ndim != 4:
        raise ShapeError(f"{op.name}: expected (B, C, H, W), got {x.shape}")
    if border[0] > kernel[0] // 2 or border[1] > kernel[1] // 2:
        raise ShapeError(f"{op.name}: padding {border} is more than half of the window {kernel}")
    check_window(op.name, x.shape, kernel, border)
    return apply(op, x, kernel_size=kernel, stride=kernel if stride is None else pair(stride), padding=border)
