"""Gradients add up in `.grad`, which owns its memory."""

import numpy as np
import pytest

import minivit as mv


def leaf(value, **options):
    return mv.tensor(np.asarray(value, np.float64), requires_grad=True, **options)


def test_gradients_add_up_over_backwards():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    (3.0 * x).sum().backward()
    assert np.array_equal(x.grad, [5.0, 7.0])


def test_a_grad_shares_memory_with_nothing(rng):
    a, b = leaf(rng.standard_normal(3)), leaf(rng.standard_normal(3))
    dy = rng.standard_normal(3)
    (a + b).backward(dy)
    assert not np.shares_memory(a.grad, b.grad)
    assert not np.shares_memory(a.grad, dy)
    a.grad *= 100.0
    assert np.array_equal(b.grad, dy)


def test_accumulation_never_writes_into_a_cotangent_or_a_shared_array(rng):
    x = leaf(rng.standard_normal(3))
    dy = rng.standard_normal(3)
    kept = dy.copy()
    h = x + 0.0  # hands its gradient on as it is
    (((h + h) + h) + h).backward(dy)
    assert np.array_equal(dy, kept)
    assert np.allclose(x.grad, 4.0 * kept)


def test_an_earlier_grad_that_somebody_holds_does_not_change():
    x = leaf([1.0, 2.0])
    (x * 2.0).sum().backward()
    held = x.grad
    (x * 3.0).sum().backward()
    assert np.array_equal(held, [2.0, 2.0])
    assert np.array_equal(x.grad, [5.0, 5.0])


@pytest.mark.parametrize("uses", [1, 2, 3, 4])
def test_a_grad_is_a_plain_array_of_the_leafs_shape_and_dtype(uses):
    for shape in [(), (1,), (2, 3), (0, 2)]:
        x = mv.tensor(np.ones(shape, np.float32), requires_grad=True)
        y = x * 2.0
        total = x
        for _ in range(uses):
            total = total + y * y
        total.sum().backward()
        assert type(x.grad) is np.ndarray
        assert (x.grad.shape, x.grad.dtype) == (shape, np.float32)
        assert type(mv.grad((x * x + x * x).sum(), x).data) is np.ndarray


def test_gradients_go_into_a_buffer_where_a_leaf_has_one():
    x = leaf([1.0, 2.0])
    x.gradient_buffer = np.full(2, 9.0)
    (x * x).sum().backward()
    assert x.grad is x.gradient_buffer
    assert np.array_equal(x.grad, [2.0, 4.0])
    (x * x).sum().backward()
    assert x.grad is x.gradient_buffer
    assert np.array_equal(x.grad, [4.0, 8.0])


def test_grads_can_be_delivered_elsewhere():
    from minivit.autograd import backward

    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    found = {}
    backward((x * w + x).sum(), deliver=lambda target, gradient: found.setdefault(target, []).append(gradient))
    assert np.array_equal(sum(found[x]), [4.0, 5.0])
    assert np.array_equal(sum(found[w]), [1.0, 2.0])
    assert x.grad is None
