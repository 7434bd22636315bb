import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError
from minivit.compare import cases


@pytest.mark.parametrize("case", cases("attention", "qkv_attention"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    batch=st.integers(1, 2),
    heads=st.integers(1, 3),
    queries=st.integers(1, 4),
    keys=st.integers(2, 4),
    width=st.integers(1, 4),
    masked=st.booleans(),
    scale=st.sampled_from([None, 1e-3, 2.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_shape(batch, heads, queries, keys, width, masked, scale, seed):
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((batch, heads, queries, width))
    k, v = rng.standard_normal((2, batch, heads, keys, width))
    mask = [rng.standard_normal((batch, 1, queries, keys))] if masked else []
    mv.prove(ops.attention, q, k, v, *mask, attributes={"scale": scale})


@settings(max_examples=20)
@given(heads=st.integers(1, 3), tokens=st.integers(2, 4), width=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_the_ladder_for_packed_projections(heads, tokens, width, seed):
    qkv = np.random.default_rng(seed).standard_normal((2, tokens, 3 * heads * width))
    mv.prove(lambda qkv: ops.qkv_attention(qkv, heads), qkv)


def random(rng, *shape):
    return [mv.tensor(rng.standard_normal(shape), requires_grad=True) for _ in range(3)]


def test_the_packed_form_is_the_plain_one_head_by_head(rng):
    qkv = mv.tensor(rng.standard_normal((2, 5, 3 * 6)), requires_grad=True)
    mask = rng.standard_normal((5, 5))
    packed = ops.qkv_attention(qkv, heads=2, mask=mask)
    q, k, v = (part.reshape(2, 5, 2, 3).transpose(0, 2, 1, 3) for part in ops.split(qkv, 3, axis=-1))
    plain = ops.attention(q, k, v, mask).transpose(0, 2, 1, 3).reshape(2, 5, 6)
    assert np.allclose(packed.numpy(), plain.numpy(), rtol=1e-13, atol=1e-15)
    dy = rng.standard_normal(packed.shape)
    assert np.allclose(mv.grad(packed, qkv, dy).numpy(), mv.grad(plain, qkv, dy).numpy(), rtol=1e-11, atol=1e-14)


def test_it_is_equivariant_to_a_permutation_of_the_tokens(rng):
    """Without positions, attention does not know the order: permuted tokens give permuted outputs and gradients."""
    order = rng.permutation(6)
    qkv, dy = rng.standard_normal((2, 6, 12)), rng.standard_normal((2, 6, 4))

    def run(values, cotangent):
        x = mv.tensor(values, requires_grad=True)
        y = ops.qkv_attention(x, heads=2)
        return y.numpy(), mv.grad(y, x, cotangent).numpy()

    y, gradient = run(qkv, dy)
    permuted_y, permuted_gradient = run(qkv[:, order], dy[:, order])
    assert not np.allclose(permuted_y, y)
    assert np.allclose(permuted_y, y[:, order], rtol=1e-12, atol=1e-14)
    assert np.allclose(permuted_gradient, gradient[:, order], rtol=1e-11, atol=1e-14)


def test_the_order_of_keys_and_values_does_not_matter(rng):
    q, k, v = rng.standard_normal((3, 2, 1, 5, 4))
    order = rng.permutation(5)
    shuffled = ops.attention(q, k[..., order, :], v[..., order, :])
    assert np.allclose(shuffled.numpy(), ops.attention(q, k, v).numpy(), rtol=1e-12)


def test_a_bias_of_the_keys_changes_nothing_and_gets_no_gradient(rng):
    q, k, v = (x.numpy() for x in random(rng, 2, 2, 3, 4))
    bias = rng.standard_normal(4)
    assert np.allclose(ops.attention(q, k + bias, v).numpy(), ops.attention(q, k, v).numpy(), rtol=1e-12)
    mv.check_gradients(lambda q, k, v, bias: ops.attention(q, k + bias, v), q, k, v, bias, zero=(3,))


def test_with_one_key_its_value_is_the_output(rng):
    q, k, v = rng.standard_normal((2, 1, 3, 4)), rng.standard_normal((2, 1, 1, 4)), rng.standard_normal((2, 1, 1, 4))
    assert np.allclose(ops.attention(q, k, v).numpy(), np.broadcast_to(v, q.shape))


def test_equal_scores_take_the_mean_of_the_values(rng):
    _, k, v = rng.standard_normal((3, 2, 1, 5, 4))
    y = ops.attention(np.zeros((2, 1, 3, 4)), k, v).numpy()
    assert np.allclose(y, v.mean(-2, keepdims=True))


# Masks


def test_a_mask_of_bools_says_where_attention_is_allowed(rng):
    q, k, v = random(rng, 1, 1, 4, 3)
    allowed = np.tril(np.ones((4, 4), bool))  # each token sees itself and those before it
    y = ops.attention(q, k, v, allowed)
    assert np.allclose(y.numpy()[0, 0, 0], v.numpy()[0, 0, 0])
    _, dk, dv = mv.grad(y[..., 1, :].sum(), [q, k, v])
    assert np.array_equal(dv.numpy()[0, 0, 2:], np.zeros((2, 3)))  # nothing from the future
    assert np.array_equal(dk.numpy()[0, 0, 2:], np.zeros((2, 3)))
    assert np.abs(dv.numpy()[0, 0, :2]).min() > 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bools_and_the_numbers_they_stand_for_agree(dtype, rng):
    q, k, v = (rng.standard_normal((2, 2, 3, 4)).astype(dtype) for _ in range(3))
    allowed = rng.random((2, 1, 3, 3)) < 0.6
    allowed[..., 0] = True
    numbers = np.where(allowed, 0.0, -1e9).astype(dtype)
    assert np.array_equal(ops.attention(q, k, v, allowed).numpy(), ops.attention(q, k, v, numbers).numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_that_may_attend_to_nothing_stays_finite(dtype, rng):
    q, k, v = (mv.tensor(rng.standard_normal((1, 1, 2, 3)), requires_grad=True, dtype=dtype) for _ in range(3))
    y = ops.attention(q, k, v, np.array([[False, False], [True, True]]))
    assert np.allclose(y.numpy()[0, 0, 0], v.numpy()[0, 0].mean(0), rtol=1e-5)  # uniform
    gradients = mv.grad(y, [q, k, v], rng.standard_normal(y.shape).astype(dtype))
    assert all(np.isfinite(gradient.numpy()).all() for gradient in gradients)


# Scale


def test_the_scale_is_one_over_the_square_root_of_the_width(rng):
    q, k, v = rng.standard_normal((3, 1, 1, 5, 16))
    assert np.array_equal(ops.attention(q, k, v).numpy(), ops.attention(q, k, v, scale=0.25).numpy())
    assert not np.allclose(ops.attention(q, k, v, scale=1.0).numpy(), ops.attention(q, k, v).numpy())


def test_large_scores_do_not_overflow(rng):
    q, k, v = (
        mv.tensor(100.0 * rng.standard_normal((1, 1, 3, 4)).astype(np.float32), requires_grad=True) for _ in "qkv"
    )
    y = ops.attention(q, k, v)
    assert np.isfinite(y.numpy()).all()
    assert all(np.isfinite(g.numpy()).all() for g in mv.grad(y, [q, k, v], np.ones(y.shape, np.float32)))


@pytest.mark.parametrize(
    ("q", "k", "v"),
    [
        ((1, 2, 3, 4), (1, 2, 5, 3), (1, 2, 5, 4)),
        ((1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 6, 4)),
        ((1, 2, 3, 4), (1, 3, 5, 4), (1, 3, 5, 4)),
    ],
)
def test_shapes_that_do_not_fit(q, k, v):
    with pytest.raises(ShapeError, match=r"must be \(\.\.\., N, d\), \(\.\.\., M, d\)"):
        ops.attention(np.ones(q), np.ones(k), np.ones(v))


@pytest.mark.parametrize("shape", [(2, 3, 8), (3, 12), (2, 3, 9)])
def test_a_packed_projection_that_does_not_fit(shape):
    with pytest.raises(ShapeError, match=r"expected \(B, N, 3D\) with D a multiple of 2 heads"):
        ops.qkv_attention(np.ones(shape), heads=2)
