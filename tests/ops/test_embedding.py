import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minivit as mv
from minivit import ops
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.compare import cases


@pytest.mark.parametrize("case", cases("embed_tokens", "embedding"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    batch=st.integers(1, 3),
    tokens=st.integers(1, 3),
    width=st.integers(1, 4),
    with_class_token=st.booleans(),
    with_positions=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_shape(batch, tokens, width, with_class_token, with_positions, seed):
    normal = np.random.default_rng(seed).standard_normal
    class_token = normal((1, 1, width)) if with_class_token else None
    positions = normal((1, tokens + with_class_token, width)) if with_positions else None
    mv.prove(ops.embed_tokens, normal((batch, tokens, width)), class_token, positions, linear=True)


@settings(max_examples=25)
@given(shape=array_shapes(min_dims=0, max_dims=3, max_side=3), seed=st.integers(0, 2**32 - 1))
def test_the_ladder_for_any_indices(shape, seed):
    rng = np.random.default_rng(seed)
    mv.prove(ops.embedding, rng.integers(0, 4, shape), rng.standard_normal((4, 3)), linear=True)


def test_the_class_token_comes_first_and_positions_are_added_to_all(rng):
    patches, class_token, positions = rng.standard_normal((2, 3, 4)), np.full((1, 1, 4), 9.0), np.ones((1, 4, 4))
    z = ops.embed_tokens(patches, class_token, positions).numpy()
    assert np.array_equal(z[:, 0], np.full((2, 4), 10.0))
    assert np.array_equal(z[:, 1:], patches + 1.0)


def test_what_the_batch_shares_gets_the_sum_over_the_batch(rng):
    patches, class_token, positions = (
        mv.tensor(rng.standard_normal(s), requires_grad=True) for s in ((5, 3, 4), (1, 1, 4), (1, 4, 4))
    )
    dy = rng.standard_normal((5, 4, 4))
    z = ops.embed_tokens(patches, class_token, positions)
    dpatches, dclass_token, dpositions = mv.grad(z, [patches, class_token, positions], dy)
    assert np.array_equal(dpatches.numpy(), dy[:, 1:])
    assert np.allclose(dclass_token.numpy(), dy[:, :1].sum(0, keepdims=True))
    assert np.allclose(dpositions.numpy(), dy.sum(0, keepdims=True))


def test_a_row_looked_up_twice_gets_both_gradients():
    weight = mv.tensor(np.zeros((3, 2)), requires_grad=True)
    ops.embedding(np.array([2, 2, 0]), weight).sum().backward()
    assert weight.grad.tolist() == [[1.0, 1.0], [0.0, 0.0], [2.0, 2.0]]


@pytest.mark.parametrize(
    ("class_token", "positions", "message"),
    [
        ((1, 4), None, r"patches \(2, 3, 4\) need a class token \(1, 1, 4\), got \(1, 4\)"),
        ((1, 1, 4), (1, 3, 4), r"4 tokens of width 4 need positions \(1, 4, 4\), got \(1, 3, 4\).*resized"),
        (None, (1, 4, 4), r"3 tokens of width 4"),
    ],
)
def test_shapes_that_do_not_fit(class_token, positions, message):
    given = [None if shape is None else np.ones(shape) for shape in (class_token, positions)]
    with pytest.raises(ShapeError, match=message):
        ops.embed_tokens(np.ones((2, 3, 4)), *given)


def test_indices_are_integers_that_exist():
    with pytest.raises(DTypeError, match="indices must be integers, got float64"):
        ops.embedding(np.ones(2), np.ones((3, 2)))
    with pytest.raises(IndexError, match="out of bounds"):
        ops.embedding(np.array([3]), np.ones((3, 2)))
