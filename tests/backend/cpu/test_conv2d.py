"""Convolution."""

from __future__ import annotations

import numpy as np
import pytest

from minivit.backend.cpu import KERNELS, conv2d, winograd


def convolution(stride, padding):
    (sh, sw), (top, left) = stride, padding

    def reference(x, weight, bias):
        B, _, H, W = x.shape
        outputs, _, kh, kw = weight.shape
        padded = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
        rows, cols = (H + 2 * top - kh) // sh + 1, (W + 2 * left - kw) // sw + 1

        def taps(array):
            for i in range(kh):
                for j in range(kw):
                    window = (..., slice(i, i + sh * (rows - 1) + 1, sh), slice(j, j + sw * (cols - 1) + 1, sw))
                    yield i, j, array[window]

        y = np.zeros((B, outputs, rows, cols)) + (0 if bias is None else bias[:, None, None])
        for i, j, tap in taps(padded):
            y += np.einsum("bchw,oc->bohw", tap, weight[:, :, i, j])

        def gradients(dy):
            dpadded, dweight = np.zeros_like(padded), np.zeros_like(weight)
            for i, j, tap in taps(padded):
                dweight[:, :, i, j] = np.einsum("bohw,bchw->oc", dy, tap)
            for i, j, tap in taps(dpadded):
                tap += np.einsum("bohw,oc->bchw", dy, weight[:, :, i, j])
            return dpadded[:, :, top : top + H, left : left + W], dweight, dy.sum((0, 2, 3))

        return y, gradients

    return reference


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "weight_shape", "stride", "padding"),
    [
        ((2, 3, 6, 5), (4, 3, 3, 3), (1, 1), (1, 1)),  # the stem's
        ((2, 3, 6, 5), (4, 3, 3, 3), (1, 1), (0, 0)),
        ((2, 3, 6, 5), (4, 3, 3, 3), (1, 1), (2, 2)),
        ((2, 3, 6, 5), (4, 3, 3, 3), (1, 1), (4, 3)),  # more padding than the kernel reaches
        ((2, 3, 7, 8), (4, 3, 3, 3), (2, 2), (1, 1)),  # last rows and columns left over or not
        ((2, 3, 8, 7), (4, 3, 2, 3), (3, 2), (0, 1)),
        ((3, 2, 8, 8), (5, 2, 4, 4), (4, 4), (0, 0)),  # patches
        ((2, 3, 6, 5), (4, 3, 1, 1), (1, 1), (0, 0)),
        ((2, 3, 6, 5), (4, 3, 1, 1), (2, 2), (0, 0)),
        ((2, 3, 6, 5), (4, 3, 1, 1), (1, 1), (1, 1)),
        ((2, 3, 6, 5), (4, 3, 6, 5), (1, 1), (0, 0)),  # one window
        ((2, 1, 6, 5), (1, 1, 2, 4), (1, 1), (0, 2)),
        ((2, 1, 6, 5), (2, 1, 3, 2), (1, 1), (0, 0)),  # one channel, whose stride in memory says nothing
        ((2, 1, 6, 5), (2, 1, 3, 2), (2, 2), (0, 0)),
        ((2, 3, 1, 1), (1, 3, 2, 3), (1, 1), (1, 2)),  # one output, the same for the gradient
        ((0, 3, 6, 5), (4, 3, 3, 3), (1, 1), (1, 1)),
    ],
)
def test_formula(rng, agree, shape, weight_shape, stride, padding, with_bias):
    inputs = [rng.standard_normal(shape), rng.standard_normal(weight_shape), rng.standard_normal(weight_shape[0])]
    if not with_bias:
        inputs[2] = None
    agree("conv2d", inputs, convolution(stride, padding), stride=stride, padding=padding)


@pytest.mark.parametrize("column_bytes", [1, 2000, 20_000])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_any_tiling_gives_the_same(rng, agree, monkeypatch, column_bytes, stride):
    monkeypatch.setattr(conv2d, "COLUMN_BYTES", column_bytes)
    inputs = [rng.standard_normal((5, 3, 9, 8)), rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(4)]
    agree("conv2d", inputs, convolution(stride, (1, 1)), stride=stride, padding=(1, 1))


@pytest.mark.parametrize(
    ("shape", "outputs", "padding"),
    [
        ((3, 40, 8, 6), 33, (1, 1)),
        ((3, 33, 8, 6), 40, (0, 0)),
        ((3, 33, 6, 8), 33, (2, 2)),
        ((3, 32, 6, 7), 32, (1, 0)),  # an odd side, whose output is even
        ((3, 32, 5, 6), 32, (2, 1)),  # an odd output, by windows
        ((3, 32, 2, 2), 32, (1, 1)),  # one tile
        ((0, 32, 4, 4), 32, (1, 1)),
    ],
)
def test_formula_where_there_are_channels_enough_for_tiles(rng, agree, shape, outputs, padding):
    inputs = [rng.standard_normal(shape), rng.standard_normal((outputs, shape[1], 3, 3)), rng.standard_normal(outputs)]
    agree("conv2d", inputs, convolution((1, 1), padding), stride=(1, 1), padding=padding)


@pytest.mark.parametrize("tiles", [1, 13, 24])
def test_any_number_of_tiles_at_once_gives_the_same(rng, agree, monkeypatch, tiles):
    monkeypatch.setattr(winograd, "TILES", tiles)
    inputs = [rng.standard_normal((5, 32, 8, 6)), rng.standard_normal((36, 32, 3, 3)), rng.standard_normal(36)]
    agree("conv2d", inputs, convolution((1, 1), (1, 1)), stride=(1, 1), padding=(1, 1))


def test_channels_lie_last_in_memory(rng):
    x, weight = rng.standard_normal((2, 3, 6, 6)), rng.standard_normal((4, 3, 3, 3))
    attributes = {"stride": (1, 1), "padding": (1, 1)}
    y, saved = KERNELS["conv2d"].forward(x, weight, None, **attributes)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    wanted = (True, False, False)
    dx = KERNELS["conv2d"].backward(y, saved, x, weight, None, wanted=wanted, **attributes)[0]
    assert dx.transpose(0, 2, 3, 1).flags.c_contiguous


def transposed_convolution(stride, padding, output_padding):
    (sh, sw), (top, left), (below, right) = stride, padding, output_padding

    def reference(x, weight, bias):
        B, _, H, W = x.shape
        _, outputs, kh, kw = weight.shape
        height, width = sh * (H - 1) + kh + below, sw * (W - 1) + kw + right

        def taps(array):
            for i in range(kh):
                for j in range(kw):
                    yield i, j, array[:, :, i : i + sh * (H - 1) + 1 : sh, j : j + sw * (W - 1) + 1 : sw]

        canvas = np.zeros((B, outputs, height, width))
        for i, j, tap in taps(canvas):
            tap += np.einsum("bchw,co->bohw", x, weight[:, :, i, j])
        y = canvas[:, :, top : height - top, left : width - left]

        def gradients(dy):
            dcanvas, dx, dweight = np.zeros_like(canvas), np.zeros_like(x), np.zeros_like(weight)
            dcanvas[:, :, top : height - top, left : width - left] = dy
            for i, j, tap in taps(dcanvas):
                dx += np.einsum("bohw,co->bchw", tap, weight[:, :, i, j])
                dweight[:, :, i, j] = np.einsum("bohw,bchw->co", tap, x)
            return dx, dweight, dy.sum((0, 2, 3))

        return y + (0 if bias is None else bias[:, None, None]), gradients

    return reference


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "weight_shape", "stride", "padding", "output_padding"),
    [
        ((2, 3, 5, 4), (3, 4, 4, 4), (2, 2), (1, 1), (0, 0)),  # the decoder's
        ((2, 3, 5, 4), (3, 4, 3, 3), (2, 2), (1, 1), (1, 1)),
        ((2, 3, 5, 4), (3, 4, 3, 3), (1, 1), (1, 1), (0, 0)),
        ((2, 3, 5, 4), (3, 4, 3, 2), (1, 1), (0, 1), (0, 0)),
        ((2, 32, 5, 4), (32, 33, 3, 3), (1, 1), (1, 0), (0, 0)),  # in tiles where the output's sides are even
        ((2, 32, 6, 4), (32, 33, 3, 3), (1, 1), (1, 0), (0, 0)),
        ((2, 3, 6, 6), (3, 4, 1, 1), (1, 1), (1, 2), (0, 0)),  # more padding than the kernel reaches
        ((2, 3, 5, 4), (3, 4, 2, 3), (3, 4), (0, 1), (2, 0)),  # gaps between the windows
        ((2, 3, 1, 1), (3, 4, 4, 4), (1, 1), (0, 0), (0, 0)),  # one pixel becomes an image
        ((0, 3, 5, 4), (3, 4, 4, 4), (2, 2), (1, 1), (0, 0)),
    ],
)
def test_formula_of_the_transpose(rng, agree, shape, weight_shape, stride, padding, output_padding, with_bias):
    inputs = [rng.standard_normal(shape), rng.standard_normal(weight_shape), rng.standard_normal(weight_shape[1])]
    if not with_bias:
        inputs[2] = None
    attributes = {"stride": stride, "padding": padding, "output_padding": output_padding}
    agree("conv_transpose2d", inputs, transposed_convolution(stride, padding, output_padding), **attributes)


@pytest.mark.parametrize("column_bytes", [1, 2000, 20_000])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_any_tiling_gives_the_same_transpose(rng, agree, monkeypatch, column_bytes, stride):
    monkeypatch.setattr(conv2d, "COLUMN_BYTES", column_bytes)
    inputs = [rng.standard_normal((5, 3, 6, 5)), rng.standard_normal((3, 4, 3, 3)), rng.standard_normal(4)]
    attributes = {"stride": stride, "padding": (1, 1), "output_padding": (0, 0)}
    agree("conv_transpose2d", inputs, transposed_convolution(stride, (1, 1), (0, 0)), **attributes)
