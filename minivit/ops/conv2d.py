"""Two-dimensional convolution (cross-correlation, as everywhere in deep learning) as one matrix product of windows."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError

Pair = tuple[int, int]


class Conv2d(Op):
    """y[b, o] = bias[o] + sum over c, i, j of weight[o, c, i, j] x[b, c, s r + i, s t + j].

    x (B, C, H, W) after padding; weight (O, C, kh, kw); bias (O,) or None; y (B, O, H', W').
    """

    keeps = ("x", "weight")

    @staticmethod
    def forward(F: Any, x: Any, weight: Any, bias: Any, *, stride: Pair, padding: Pair) -> Any:
        columns, (rows, cols) = image_columns(F, x, weight, stride, padding)  # (B, C kh kw, L), L = H' W'
        y = F.reshape(weight, (weight.shape[0], columns.shape[1])) @ columns  # (B, O, L)
        if bias is not None:
            y = y + F.reshape(bias, (bias.shape[0], 1))
        return F.reshape(y, (x.shape[0], weight.shape[0], rows, cols))

    @staticmethod
    def backward(
        F: Any,
        dy: Any,
        saved: Any,
        x: Any,
        weight: Any,
        bias: Any,
        *,
        stride: Pair,
        padding: Pair,
        wanted: tuple[bool, ...],
    ) -> tuple[Any, Any, Any]:
        b, o, rows, cols = dy.shape
        dy = F.reshape(dy, (b, o, rows * cols))  # (B, O, L)
        dx = dweight = dbias = None
        if wanted[0]:  # y = W columns: each window's gradient, added back where the window was taken
            flat = F.reshape(weight, (o, F.size(weight.shape[1:])))
            windows = F.reshape(F.swapaxes(flat, 0, 1) @ dy, (b, *weight.shape[1:], rows, cols))
            padded = (b, x.shape[1], x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1])
            dx = crop_image(F, F.fold(windows, padded, stride), padding)
        if wanted[1]:
            columns, _ = image_columns(F, x, weight, stride, padding)
            dweight = F.reshape(F.sum(dy @ F.swapaxes(columns, -1, -2), 0), weight.shape)
        if wanted[2]:
            dbias = F.reshape(F.sum(dy, (0, 2)), (o,))
        return dx, dweight, dbias


def image_columns(F: Any, x: Any, weight: Any, stride: Pair, padding: Pair) -> tuple[Any, Pair]:
    """Every window of x as a column, (B, C kh kw, H' W'), and (H', W')."""
    windows = F.unfold(pad_image(F, x, padding), weight.shape[2:], stride)  # (B, C, kh, kw, H', W')
    b, c, kh, kw, rows, cols = windows.shape
    return F.reshape(windows, (b, c * kh * kw, rows * cols)), (rows, cols)


def pad_image(F: Any, x: Any, padding: Pair, value: float = 0.0) -> Any:
    """(B, C, H, W) with a border of `value`."""
    if padding == (0, 0):
        return x
    return F.pad(x, ((0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1])), value)


def crop_image(F: Any, x: Any, padding: Pair) -> Any:
    """The inverse of `pad_image`."""
    if padding == (0, 0):
        return x
    height, width = x.shape[2] - padding[0], x.shape[3] - padding[1]
    return F.take(x, (slice(None), slice(None), slice(padding[0], height), slice(padding[1], width)))


def conv2d(x: Any, weight: Any, bias: Any = None, stride: int | Pair = 1, padding: int | Pair = 0) -> Tensor:
    """Convolution.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
    weight : Tensor of shape (O, C, kh, kw)
    bias : Tensor of shape (O,), optional
    stride, padding : int or (int, int)
        Rows and columns; the padding is of zeros.

    Returns
    -------
    Tensor of shape (B, O, (H + 2 padding - kh) // stride + 1, ...)

    Raises
    ------
    ShapeError
        If channels or sizes do not fit.
    """
    x, weight = as_tensor(x), as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    stride, padding = pair(stride), pair(padding)
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ShapeError(f"conv2d: expected x (B, C, H, W) and weight (O, C, kh, kw), got {x.shape} and {weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"conv2d: weight {weight.shape} needs a bias {weight.shape[:1]}, got {bias.shape}")
    check_window("conv2d", x.shape, weight.shape[2:], padding)
    return apply(Conv2d, x, weight, bias, stride=stride, padding=padding)


def pair(value: int | Pair) -> Pair:
    """(3, 3) from 3 and from (3, 3)."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def check_window(name: str, shape: tuple[int, ...], kernel_size: tuple[int, ...], padding: Pair) -> None:
    """Raise a ShapeError if the window is larger than the padded image."""
    height, width = shape[2] + 2 * padding[0], shape[3] + 2 * padding[1]
    if kernel_size[0] > height or kernel_size[1] > width:
        raise ShapeError(
            f"{name}: a window of {tuple(kernel_size)} does not fit into {height} x {width} (padding included)"
        )
