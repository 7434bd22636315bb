import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError
from minivit.compare import against_numpy, cases
from minivit.compare.cases import spread


@pytest.mark.parametrize("case", cases("max_pool2d", "avg_pool2d"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.one_of(st.none(), st.integers(1, 3)),
    padding=st.integers(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_window(size, kernel, stride, padding, seed):
    assume(all(k <= n + 2 * padding and padding <= k // 2 for k, n in zip(kernel, size, strict=True)))
    x = spread(np.random.default_rng(seed), 2, 2, *size)
    attributes = {"kernel_size": kernel, "stride": stride, "padding": padding}
    mv.prove(ops.max_pool2d, x, attributes=attributes, reference=against_numpy.max_pool2d, linear=True)
    mv.prove(ops.avg_pool2d, x, attributes=attributes, reference=against_numpy.avg_pool2d, linear=True)


def test_among_equals_the_first_of_a_window_gets_the_gradient():
    x = mv.tensor(np.ones((1, 1, 2, 4)), requires_grad=True)
    dx = mv.grad(ops.max_pool2d(x, 2), x, np.array([[[[3.0, 5.0]]]])).numpy()
    assert dx[0, 0].tolist() == [[3.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, 0.0]]


def test_a_pixel_that_wins_in_several_windows_gets_all_their_gradients():
    image = np.zeros((1, 1, 3, 3))
    image[0, 0, 1, 1] = 1.0
    x = mv.tensor(image, requires_grad=True)
    y = ops.max_pool2d(x, 2, stride=1)
    assert np.array_equal(y.numpy(), np.ones((1, 1, 2, 2)))
    assert mv.grad(y, x, np.ones(y.shape)).numpy()[0, 0, 1, 1] == 4.0


def test_padding_never_wins_a_maximum_and_counts_as_zero_in_a_mean():
    x = -np.ones((1, 1, 2, 2))
    assert np.array_equal(ops.max_pool2d(x, 2, padding=1).numpy(), -np.ones((1, 1, 2, 2)))
    assert np.array_equal(ops.avg_pool2d(x, 2, padding=1).numpy(), -0.25 * np.ones((1, 1, 2, 2)))


@pytest.mark.parametrize("pool", [ops.max_pool2d, ops.avg_pool2d])
def test_the_stride_is_the_window_by_default(pool):
    assert pool(np.ones((1, 2, 6, 9)), (2, 3)).shape == (1, 2, 3, 3)
    assert pool(np.ones((1, 2, 6, 9)), 3, stride=2).shape == (1, 2, 2, 4)


@pytest.mark.parametrize("pool", [ops.max_pool2d, ops.avg_pool2d])
@pytest.mark.parametrize(
    ("shape", "kernel", "padding", "message"),
    [
        ((2, 3, 4), 2, 0, r"expected \(B, C, H, W\), got \(2, 3, 4\)"),
        ((1, 1, 4, 4), 2, 2, r"padding \(2, 2\) is more than half of the window \(2, 2\)"),
        ((1, 1, 2, 2), 5, 0, r"a window of \(5, 5\) does not fit into 2 x 2"),
    ],
)
def test_shapes_that_do_not_fit(pool, shape, kernel, padding, message):
    with pytest.raises(ShapeError, match=message):
        pool(np.ones(shape), kernel, padding=padding)
