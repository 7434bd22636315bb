import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError
from minivit.compare import cases


@pytest.mark.parametrize("case", cases("mlp"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    shape=array_shapes(min_dims=1, max_dims=3, max_side=4),
    hidden=st.integers(1, 6),
    outputs=st.integers(1, 4),
    approximate=st.sampled_from(["none", "tanh"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_shape(shape, hidden, outputs, approximate, seed):
    rng = np.random.default_rng(seed)
    fc1 = rng.standard_normal((hidden, shape[-1])), rng.standard_normal(hidden)
    fc2 = rng.standard_normal((outputs, hidden)), rng.standard_normal(outputs)
    mv.prove(ops.mlp, 0.5 * rng.standard_normal(shape), *fc1, *fc2, attributes={"approximate": approximate})


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_it_is_linear_gelu_linear(approximate, rng):
    arrays = [rng.standard_normal(shape) for shape in ((2, 3, 4), (6, 4), (6,), (4, 6), (4,))]
    fused, parts = ([mv.tensor(a, requires_grad=True) for a in arrays] for _ in range(2))
    y = ops.mlp(*fused, approximate)
    x, w1, b1, w2, b2 = parts
    z = ops.linear(ops.gelu(ops.linear(x, w1, b1), approximate), w2, b2)
    assert np.allclose(y.numpy(), z.numpy(), rtol=1e-13)
    dy = rng.standard_normal(y.shape)
    for ours, theirs in zip(mv.grad(y, fused, dy), mv.grad(z, parts, dy), strict=True):
        assert np.allclose(ours.numpy(), theirs.numpy(), rtol=1e-12, atol=1e-13)


def test_it_is_one_node_where_its_parts_are_three(rng):
    x, w1, b1, w2, b2 = (rng.standard_normal(shape) for shape in ((2, 4), (6, 4), (6,), (4, 6), (4,)))
    y = ops.mlp(mv.tensor(x, requires_grad=True), w1, b1, w2, b2)
    assert [type(edge).__name__ for edge in y.node.edges if edge is not None] == ["Tensor"]


@pytest.mark.parametrize("position", [1, 2, 3, 4])
def test_shapes_that_do_not_fit(position):
    arrays = [np.ones(shape) for shape in ((2, 4), (6, 4), (6,), (4, 6), (4,))]
    arrays[position] = np.ones((7,) * arrays[position].ndim)
    with pytest.raises(ShapeError, match=r"mlp: x \(2, 4\) needs fc1 \(M, 4\), \(M,\) and fc2 \(O, M\), \(O,\)"):
        ops.mlp(*arrays)


def test_the_kind_of_gelu_has_to_exist():
    arrays = [np.ones(shape) for shape in ((2, 4), (6, 4), (6,), (4, 6), (4,))]
    with pytest.raises(ValueError, match="approximate must be"):
        ops.mlp(*arrays, approximate="fast")
