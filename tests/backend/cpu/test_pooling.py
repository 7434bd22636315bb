"""Max and average pooling."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minivit.backend.cpu import KERNELS

CASES = [
    ((2, 3, 6, 8), (2, 2), (2, 2), (0, 0)),
    ((2, 3, 7, 5), (2, 2), (2, 2), (0, 0)),  # a row and a column left over
    ((2, 3, 7, 8), (3, 3), (2, 2), (1, 1)),
    ((2, 3, 7, 8), (3, 2), (1, 3), (1, 0)),
    ((2, 3, 6, 6), (2, 2), (3, 3), (0, 0)),  # gaps between windows
    ((2, 3, 6, 6), (2, 2), (2, 2), (1, 1)),
    ((2, 3, 4, 5), (4, 5), (4, 5), (0, 0)),
    ((2, 3, 4, 5), (1, 1), (1, 1), (0, 0)),
    ((0, 3, 4, 4), (2, 2), (2, 2), (0, 0)),
    ((40, 64, 16, 16), (2, 2), (2, 2), (0, 0)),  # more than one piece
]


def windows(x, kernel, stride, padding, value):
    """Yields ((b, c, row, col) of the output, slices of the padded input)."""
    (kh, kw), (sh, sw), (top, left) = kernel, stride, padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)), constant_values=value)
    rows, cols = (padded.shape[2] - kh) // sh + 1, (padded.shape[3] - kw) // sw + 1
    places = [
        ((r, c), (slice(r * sh, r * sh + kh), slice(c * sw, c * sw + kw)))
        for r, c in itertools.product(range(rows), range(cols))
    ]
    return padded, (*x.shape[:2], rows, cols), places


def crop(padded, x, padding):
    return padded[:, :, padding[0] : padding[0] + x.shape[2], padding[1] : padding[1] + x.shape[3]]


def max_pool(kernel, stride, padding):
    def reference(x):
        padded, shape, places = windows(x, kernel, stride, padding, -np.inf)
        y = np.empty(shape)
        for (r, c), (rows, cols) in places:
            y[:, :, r, c] = padded[:, :, rows, cols].max((2, 3))

        def gradients(dy):
            dpadded = np.zeros_like(padded)
            for (r, c), (rows, cols) in places:
                window = padded[:, :, rows, cols].reshape(*x.shape[:2], kernel[0] * kernel[1])
                first = np.arange(kernel[0] * kernel[1]) == window.argmax(-1)[..., None]
                dpadded[:, :, rows, cols] += (first * dy[:, :, r, c, None]).reshape(*x.shape[:2], *kernel)
            return (crop(dpadded, x, padding),)

        return y, gradients

    return reference


def avg_pool(kernel, stride, padding):
    def reference(x):
        padded, shape, places = windows(x, kernel, stride, padding, 0.0)
        y = np.empty(shape)
        for (r, c), (rows, cols) in places:
            y[:, :, r, c] = padded[:, :, rows, cols].mean((2, 3))

        def gradients(dy):
            dpadded = np.zeros_like(padded)
            for (r, c), (rows, cols) in places:
                dpadded[:, :, rows, cols] += dy[:, :, r, c, None, None] / (kernel[0] * kernel[1])
            return (crop(dpadded, x, padding),)

        return y, gradients

    return reference


@pytest.mark.parametrize(("shape", "kernel_size", "stride", "padding"), CASES)
def test_max_formula(rng, agree, shape, kernel_size, stride, padding):
    attributes = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    agree("max_pool2d", [rng.standard_normal(shape)], max_pool(*attributes.values()), **attributes)


@pytest.mark.parametrize(("shape", "kernel_size", "stride", "padding"), CASES)
def test_the_first_of_equals_gets_the_gradient(rng, agree, shape, kernel_size, stride, padding):
    attributes = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    x = rng.integers(-1, 2, shape).astype(np.float64)  # as after a relu, most windows have equals
    agree("max_pool2d", [x], max_pool(*attributes.values()), **attributes)


@pytest.mark.parametrize(("shape", "kernel_size", "stride", "padding"), CASES)
def test_average_formula(rng, agree, shape, kernel_size, stride, padding):
    attributes = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    agree("avg_pool2d", [rng.standard_normal(shape)], avg_pool(*attributes.values()), **attributes)


def test_infinities_and_nan():
    x = np.array([[1.0, np.inf], [2.0, -np.inf]], np.float32).reshape(1, 1, 2, 2)
    attributes = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    kernel = KERNELS["max_pool2d"]
    y, saved = kernel.forward(x, **attributes)
    assert y.item() == np.inf
    dx = kernel.backward(np.full_like(y, 3), saved, x, wanted=(True,), **attributes)[0]
    np.testing.assert_array_equal(dx.ravel(), [0, 3, 0, 0])
    x[0, 0, 0, 0] = np.nan
    assert np.isnan(kernel.forward(x, **attributes)[0]).all()
