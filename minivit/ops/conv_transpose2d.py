"""Transposed convolution: the adjoint of a convolution. Every pixel is spread over a window (Zeiler et al. 2010)."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError
from minivit.ops.conv2d import Pair, crop_image, image_columns, pair


class ConvTranspose2d(Op):
    """y[b, o, s r + i, s t + j] += weight[c, o, i, j] x[b, c, r, t], then + bias[o]: what Conv2d's backward does to dy.

    x (B, C, H, W); weight (C, O, kh, kw), that of a convolution from O channels to C; bias (O,) or None;
    y (B, O, H', W') after `padding` is cropped, with H' = s (H - 1) + kh - 2 padding + output_padding. So
    <y, z> = <x, conv2d(z, weight)> for every z of the shape of y: forward and backward change places.
    """

    keeps = ("x", "weight")

    @staticmethod
    def forward(
        F: Any, x: Any, weight: Any, bias: Any, *, stride: Pair, padding: Pair, output_padding: Pair = (0, 0)
    ) -> Any:
        b, c, rows, cols = x.shape
        o, kh, kw = weight.shape[1:]
        flat = F.reshape(weight, (c, o * kh * kw))
        windows = F.swapaxes(flat, 0, 1) @ F.reshape(x, (b, c, rows * cols))  # (B, O kh kw, H W)
        height = stride[0] * (rows - 1) + kh + output_padding[0]
        width = stride[1] * (cols - 1) + kw + output_padding[1]
        y = F.fold(F.reshape(windows, (b, o, kh, kw, rows, cols)), (b, o, height, width), stride)
        y = crop_image(F, y, padding)  # (B, O, H', W')
        return y if bias is None else y + F.reshape(bias, (o, 1, 1))

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
        output_padding: Pair = (0, 0),
        wanted: tuple[bool, ...],
    ) -> tuple[Any, Any, Any]:
        b, c, rows, cols = x.shape
        dx = dweight = dbias = None
        columns, _ = image_columns(F, dy, weight, stride, padding)  # (B, O kh kw, H W)
        if wanted[0]:  # windows = W^T x: each pixel's gradient is gathered from its window, a convolution of dy
            flat = F.reshape(weight, (c, columns.shape[1]))
            dx = F.reshape(flat @ columns, (b, c, rows, cols))
        if wanted[1]:
            pixels = F.reshape(x, (b, c, rows * cols))
            dweight = F.reshape(F.sum(pixels @ F.swapaxes(columns, -1, -2), 0), weight.shape)
        if wanted[2]:  # y = ... + bias
            dbias = F.reshape(F.sum(dy, (0, 2, 3)), (dy.shape[1],))
        return dx, dweight, dbias


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
) -> Tensor:
    """Transposed convolution ("deconvolution"), with the semantics of `torch.nn.functional.conv_transpose2d`.

    Its output has the size of an image that a `conv2d` with the same weight, stride and padding brings to the size of
    `x`.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W)
    weight : Tensor of shape (C, O, kh, kw)
    bias : Tensor of shape (O,), optional
    stride, padding : int or (int, int)
        Of that convolution, rows and columns.
    output_padding : int or (int, int)
        Rows and columns more at the end, less than the stride: a convolution with a stride brings images of several
        sizes to the same one.

    Returns
    -------
    Tensor of shape (B, O, (H - 1) stride - 2 padding + kh + output_padding, ...)

    Raises
    ------
    ShapeError
        If channels or sizes do not fit, or the output padding is not less than the stride.
    """
    x, weight = as_tensor(x), as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    stride, padding, output_padding = pair(stride), pair(padding), pair(output_padding)
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[0]:
        raise ShapeError(
            f"conv_transpose2d: expected x (B, C, H, W) and weight (C, O, kh, kw), got {x.shape} and {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[1:2]:
        raise ShapeError(f"conv_transpose2d: weight {weight.shape} needs a bias {weight.shape[1:2]}, got {bias.shape}")
    if any(not 0 <= extra < step for extra, step in zip(output_padding, stride, strict=True)):
        raise ShapeError(
            f"conv_transpose2d: the output padding {output_padding} has to be less than the stride {stride}, "
            "or no convolution would come back to x"
        )
    size = [
        step * (n - 1) + kernel - 2 * border + extra
        for n, kernel, step, border, extra in zip(
            x.shape[2:], weight.shape[2:], stride, padding, output_padding, strict=True
        )
    ]
    if min(size) < 1:
        raise ShapeError(
            f"conv_transpose2d of {x.shape} with a window of {weight.shape[2:]} leaves {size[0]} x {size[1]} pixels "
            f"after a padding of {padding} is cropped"
        )
    return apply(ConvTranspose2d, x, weight, bias, stride=stride, padding=padding, output_padding=output_padding)
