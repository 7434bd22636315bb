"""A backward frees what was kept for it; what changed since its forward is noticed."""

import numpy as np
import pytest

import minivit as mv
from minivit.autograd.errors import GraphFreedError, ModifiedInPlaceError


def leaf(value, **options):
    return mv.tensor(np.asarray(value, np.float64), requires_grad=True, **options)


def test_a_second_backward_raises_and_says_what_to_do():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward()
    with pytest.raises(GraphFreedError, match=r"retain_graph=True.*or run the forward again") as caught:
        y.backward()
    assert "test_freeing.py" in str(caught.value)


def test_a_graph_that_shares_a_freed_part_raises():
    x = leaf([1.0, 2.0])
    shared = x * x
    one, other = shared.sum(), shared.exp().sum()
    one.backward()
    with pytest.raises(GraphFreedError, match=r"backward through multiply \(called at"):
        other.backward()


def test_retain_graph_keeps_it():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert np.array_equal(x.grad, [4.0, 8.0])


def test_grad_frees_too_unless_told_otherwise():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    mv.grad(y, x, retain_graph=True)
    mv.grad(y, x)
    with pytest.raises(GraphFreedError):
        mv.grad(y, x)


def test_what_a_backward_does_not_reach_is_freed_as_well():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    side = w.exp()
    y = (x * side).sum()
    mv.grad(y, x)
    with pytest.raises(GraphFreedError):
        side.backward(np.ones(2))


def test_saved_arrays_go_as_soon_as_their_backward_has_run():
    alive = []

    class Count(mv.autograd.Hook):
        def before_backward(self, node, output_gradient):
            alive.append(sum(len(n.saved_arrays()) for n in chain if not n.freed))

    x = leaf(np.zeros(3))
    y, chain = x, []
    for _ in range(4):
        y = y.tanh()
        chain.append(y.node)
    with mv.autograd.hooked(Count()):
        y.backward(np.ones(3))
    assert alive == [4, 3, 2, 1]


def test_a_parameter_that_changed_before_its_backward_raises():
    w = leaf([1.0, 2.0], name="head.weight")
    y = (w * w).sum()
    w.data += 1.0
    w.version += 1
    with pytest.raises(
        ModifiedInPlaceError, match=r"head\.weight was changed after multiply \(called at .*forward again"
    ):
        y.backward()


def test_a_parameter_whose_values_are_not_needed_may_change():
    w = leaf([1.0, 2.0])
    y = (w + 1.0).sum()
    w.version += 1
    y.backward()
    assert np.array_equal(w.grad, [1.0, 1.0])


@pytest.mark.parametrize(
    "view", [lambda w: w.reshape(2, 2), lambda w: w.T, lambda w: w[1:], lambda w: w.broadcast_to(3, 4)]
)
def test_a_view_of_a_parameter_counts_as_the_parameter(view):
    w = leaf([1.0, 2.0, 3.0, 4.0])
    h = view(w)
    y = (h * h).sum()
    w.data[...] = 0.0  # h, which shares its memory, changes too
    w.version += 1
    with pytest.raises(ModifiedInPlaceError, match="a leaf was changed"):
        y.backward()
