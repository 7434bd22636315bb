import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError
from minivit.compare import against_numpy, cases


@pytest.mark.parametrize("case", cases("conv_transpose2d"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    extra=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    with_bias=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_window(size, kernel, stride, padding, extra, channels, with_bias, seed):
    assume(all(e < s for e, s in zip(extra, stride, strict=True)))
    ends = zip(size, kernel, stride, padding, extra, strict=True)
    assume(all(s * (n - 1) + k - 2 * p + e > 0 for n, k, s, p, e in ends))
    rng = np.random.default_rng(seed)
    x, weight = rng.standard_normal((2, channels[0], *size)), rng.standard_normal((*channels, *kernel))
    bias = rng.standard_normal(channels[1]) if with_bias else None
    attributes = {"stride": stride, "padding": padding, "output_padding": extra}
    # Where everything that the windows write is cropped away, there is no gradient to prove.
    left = ops.conv_transpose2d(np.ones_like(x), np.ones_like(weight), None, **attributes).numpy()
    assume(np.any(left > 0))
    mv.prove(ops.conv_transpose2d, x, weight, bias, attributes=attributes, reference=against_numpy.conv_transpose2d)


@pytest.mark.parametrize(("stride", "padding", "size"), [(1, 0, (6, 5)), (2, 1, (7, 8)), ((3, 2), (0, 1), (8, 7))])
def test_it_is_the_adjoint_of_a_convolution(rng, stride, padding, size):
    z, weight = rng.standard_normal((2, 3, *size)), rng.standard_normal((4, 3, 3, 2))
    strides, paddings = (v if isinstance(v, tuple) else (v, v) for v in (stride, padding))
    left_over = tuple((n + 2 * p - k) % s for n, p, k, s in zip(size, paddings, (3, 2), strides, strict=True))
    convolved = ops.conv2d(z, weight, None, stride, padding).numpy()
    x = rng.standard_normal(convolved.shape)
    y = ops.conv_transpose2d(x, weight, None, stride, padding, output_padding=left_over).numpy()
    assert y.shape == z.shape
    assert np.isclose((y * z).sum(), (x * convolved).sum())
    leaf = mv.tensor(z, requires_grad=True)
    by_backward = mv.grad(ops.conv2d(leaf, weight, None, stride, padding), leaf, x).numpy()
    np.testing.assert_allclose(y, by_backward, atol=1e-13)


def test_a_single_pixel_paints_the_kernel(rng):
    weight = rng.standard_normal((1, 2, 3, 4))
    x = np.zeros((1, 1, 2, 3))
    x[0, 0, 1, 2] = 2.0
    y = ops.conv_transpose2d(x, weight, stride=2).numpy()
    assert y.shape == (1, 2, 5, 8)
    np.testing.assert_array_equal(y[:, :, 2:5, 4:8], 2.0 * weight)
    assert np.count_nonzero(y) == weight.size


@pytest.mark.parametrize(
    ("x", "weight", "bias", "options", "message"),
    [
        ((2, 3, 4), (3, 4, 2, 2), None, {}, r"expected x \(B, C, H, W\)"),
        ((2, 3, 4, 4), (4, 3, 2, 2), None, {}, r"got \(2, 3, 4, 4\) and \(4, 3, 2, 2\)"),
        ((2, 3, 4, 4), (3, 4, 2, 2), (3,), {}, r"weight \(3, 4, 2, 2\) needs a bias \(4,\), got \(3,\)"),
        ((2, 3, 4, 4), (3, 4, 2, 2), None, {"stride": 2, "output_padding": 2}, r"\(2, 2\) has to be less than the"),
        ((2, 3, 1, 4), (3, 4, 2, 2), None, {"padding": 1}, r"leaves 0 x 3 pixels after a padding of \(1, 1\)"),
    ],
)
def test_shapes_that_do_not_fit(x, weight, bias, options, message):
    with pytest.raises(ShapeError, match=message):
        ops.conv_transpose2d(np.ones(x), np.ones(weight), None if bias is None else np.ones(bias), **options)
