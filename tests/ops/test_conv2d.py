import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError
from minivit.compare import against_numpy, cases


@pytest.mark.parametrize("case", cases("conv2d"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=25)
@given(
    size=SIZES,
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    with_bias=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_window(size, kernel, stride, padding, channels, with_bias, seed):
    assume(all(k <= n + 2 * p for k, n, p in zip(kernel, size, padding, strict=True)))
    rng = np.random.default_rng(seed)
    x, weight = rng.standard_normal((2, channels[0], *size)), rng.standard_normal((*channels[::-1], *kernel))
    bias = rng.standard_normal(channels[1]) if with_bias else None
    # Where the windows see nothing but padding, x has no gradient at all: such a case says nothing about it.
    seen = ops.conv2d(np.ones_like(x), np.ones_like(weight), None, stride, padding).numpy()
    assume(np.any(seen > 0))
    mv.prove(
        ops.conv2d, x, weight, bias, attributes={"stride": stride, "padding": padding}, reference=against_numpy.conv2d
    )


def test_a_kernel_of_one_pixel_is_the_identity(rng):
    x = rng.standard_normal((2, 1, 4, 5))
    assert np.array_equal(ops.conv2d(x, np.ones((1, 1, 1, 1))).numpy(), x)


def test_it_is_a_cross_correlation_that_does_not_flip_the_kernel():
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1.0
    weight = np.arange(9.0).reshape(1, 1, 3, 3)
    assert np.array_equal(ops.conv2d(x, weight, padding=1).numpy()[0, 0], np.arange(9.0)[::-1].reshape(3, 3))


def test_the_backward_by_the_image_is_its_adjoint(rng):
    x, weight = mv.tensor(rng.standard_normal((2, 3, 6, 5)), requires_grad=True), rng.standard_normal((4, 3, 3, 2))
    y = ops.conv2d(x, weight, stride=(2, 1), padding=1)
    dy = rng.standard_normal(y.shape)
    assert np.isclose((y.numpy() * dy).sum(), (x.data * mv.grad(y, x, dy).numpy()).sum())


def test_pixels_that_no_window_sees_have_no_gradient(rng):
    x = mv.tensor(rng.standard_normal((1, 1, 5, 5)), requires_grad=True)
    y = ops.conv2d(x, np.ones((1, 1, 2, 2)), stride=3)
    dx = mv.grad(y, x, np.ones(y.shape)).numpy()[0, 0]
    expected = np.zeros((5, 5))
    for i in (0, 3):
        for j in (0, 3):
            expected[i : i + 2, j : j + 2] = 1.0
    assert np.array_equal(dx, expected)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "padding", "message"),
    [
        ((2, 3, 4), (4, 3, 2, 2), None, 0, r"expected x \(B, C, H, W\)"),
        ((2, 3, 4, 4), (4, 2, 2, 2), None, 0, r"got \(2, 3, 4, 4\) and \(4, 2, 2, 2\)"),
        ((2, 3, 4, 4), (4, 3, 2, 2), (3,), 0, r"weight \(4, 3, 2, 2\) needs a bias \(4,\), got \(3,\)"),
        ((2, 3, 4, 4), (4, 3, 7, 2), None, 1, r"a window of \(7, 2\) does not fit into 6 x 6 \(padding included\)"),
    ],
)
def test_shapes_that_do_not_fit(x, weight, bias, padding, message):
    with pytest.raises(ShapeError, match=message):
        ops.conv2d(np.ones(x), np.ones(weight), None if bias is None else np.ones(bias), padding=padding)
