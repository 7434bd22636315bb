import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minivit as mv
from minivit import ops
from minivit.compare import against_numpy, cases


@pytest.mark.parametrize("case", cases("unfold", "fold"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 2**32 - 1),
)
def test_fold_is_the_adjoint_of_unfold(size, kernel, stride, seed):
    assume(all(k <= n for k, n in zip(kernel, size, strict=True)))
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, *size))
    windows = ops.unfold(x, kernel, stride)
    assert np.array_equal(windows.numpy(), against_numpy.unfold(x, kernel, stride))
    y = rng.standard_normal(windows.shape)
    folded = ops.fold(y, x.shape, stride)
    assert np.allclose(folded.numpy(), against_numpy.fold(y, x.shape, stride))
    assert np.isclose((windows.numpy() * y).sum(), (x * folded.numpy()).sum())


def test_folding_ones_counts_the_windows_a_pixel_lies_in():
    x = mv.tensor(np.ones((1, 1, 3, 4)), requires_grad=True)
    windows = ops.unfold(x, (2, 2), (1, 1))
    counts = mv.grad(windows, x, np.ones(windows.shape)).numpy()[0, 0]
    assert counts.tolist() == [[1, 2, 2, 1], [2, 4, 4, 2], [1, 2, 2, 1]]
