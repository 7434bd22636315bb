"""The walk: order, depth, determinism, threads; what goes wrong in it says where its forward was."""

import threading

import numpy as np
import pytest

import minivit as mv
from minivit import ops
from minivit.autograd.errors import GradientError


def leaf(value, **options):
    return mv.tensor(np.asarray(value, np.float64), requires_grad=True, **options)


def test_a_value_used_twice_gets_both_gradients():
    x = leaf(3.0)
    (x * x + x).backward()
    assert x.grad == 7.0


def test_the_example_on_which_plain_recursion_fails():
    # From a thread on micrograd (github.com/karpathy/micrograd/issues/68): c is reached through e and through f, and a
    # recursion that goes on from c before both have contributed hands part of its gradient on twice: (29, 22).
    a, b = leaf(2.0), leaf(3.0)
    c = a + b
    d = a * b
    e = c + d
    f = c * d
    (e + f).backward()
    assert (a.grad, b.grad) == (25.0, 19.0)


def test_a_diamond():
    x = leaf(2.0)
    left, right = x * 3.0, x * 5.0
    (left * right).backward()  # 15 x^2
    assert x.grad == 60.0


def test_a_dead_branch_neither_adds_nor_takes_gradient():
    x = leaf([1.0, 2.0])
    used = x * x
    dead = used.exp() * x  # not part of the loss
    used.sum().backward()
    assert np.array_equal(x.grad, [2.0, 4.0])
    assert dead.requires_grad


def test_sixty_residual_doublings_take_sixty_steps():
    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = y + y  # 2^60 paths
    y.backward()
    assert x.grad == 2.0**60


def test_residual_blocks_sum_their_branches(rng):
    x = leaf(rng.standard_normal((2, 3)))
    y = x
    for _ in range(4):
        y = y + y.tanh() * y
    mv.check_gradients(lambda x: _residual(x, 4), x)


def _residual(x, depth):
    for _ in range(depth):
        x = x + x.tanh() * x
    return x


def test_depth_is_no_limit_neither_forward_backward_nor_when_freed():
    x = leaf(1.0)
    y = x
    for _ in range(50_000):
        y = y + 1.0
    y.backward(retain_graph=True)
    assert x.grad == 1.0
    del y  # a chain of 50,000 nodes goes at once


def test_depth_is_no_limit_for_second_order():
    x = leaf(0.5)
    y = x * x
    for _ in range(5_000):
        y = y + 0.0
    (first,) = mv.grad(y, [x], create_graph=True)
    assert mv.grad(first, x).item() == 2.0


def test_gradients_are_the_same_bits_every_time(rng):
    x, w = rng.standard_normal((64, 32)).astype(np.float32), rng.standard_normal((32, 32)).astype(np.float32)

    def gradient():
        a, b = mv.tensor(x, requires_grad=True), mv.tensor(w, requires_grad=True)
        h = a
        for _ in range(3):
            h = h + (h @ b).tanh() * h
        h.sum().backward()
        return a.grad.tobytes() + b.grad.tobytes()

    assert len({gradient() for _ in range(5)}) == 1


def test_the_walk_visits_nodes_in_reverse_order_of_creation():
    class Order(mv.autograd.Hook):
        def __init__(self):
            self.sequence = []

        def before_backward(self, node, output_gradient):
            self.sequence.append(node.sequence)

    x = leaf([0.3, 0.4])
    a = x.exp()
    b = x.tanh()
    y = (b * a + a).sum()
    order = Order()
    with mv.autograd.hooked(order):
        y.backward()
    assert order.sequence == sorted(order.sequence, reverse=True)
    assert len(order.sequence) == len(set(order.sequence)) == 5  # each node once


def test_the_walk_goes_only_where_a_wanted_gradient_lies():
    class Visited(mv.autograd.Hook):
        def __init__(self):
            self.names = []

        def before_backward(self, node, output_gradient):
            self.names.append(node.op.name)

    x, w = leaf([0.3, 0.4]), leaf([1.0, 2.0])
    y = x.exp() * w.tanh()
    visited = Visited()
    with mv.autograd.hooked(visited):
        mv.grad(y, w, np.ones(2))
    assert visited.names == ["multiply", "tanh"]


def test_a_backward_is_told_which_gradients_are_wanted(rng):
    asked = []

    class Spy(mv.Op):
        keeps = ("a", "b")

        def forward(F, a, b):
            return a * b

        def backward(F, dy, saved, a, b, *, wanted):
            asked.append(wanted)
            return dy * b, dy * a

    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    constant = mv.tensor([5.0, 6.0], dtype=np.float64)
    mv.autograd.apply(Spy, a, constant).sum().backward()
    mv.grad(mv.autograd.apply(Spy, a, b), b, np.ones(2))
    mv.autograd.apply(Spy, a, b).sum().backward()
    assert asked == [(True, False), (False, True), (True, True)]


def test_two_threads_build_and_walk_their_own_graphs(rng):
    x, results = rng.standard_normal((50, 50)), {}

    def work(name, factor):
        for _ in range(20):
            a = leaf(x)
            ((a * factor).tanh() @ a).sum().backward()
        results[name] = a.grad

    threads = [threading.Thread(target=work, args=(name, 0.1 * name)) for name in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in range(1, 4):
        expected = mv.grad(((a := leaf(x)) * (0.1 * name)).tanh().__matmul__(a).sum(), a)
        assert np.array_equal(results[name], expected.numpy())


def test_an_error_in_a_backward_carries_the_users_line():
    class Breaks(mv.Op):
        def forward(F, x):
            return x * 1.0

        def backward(F, dy, saved, x):
            raise ZeroDivisionError("planted")

    y = mv.autograd.apply(Breaks, leaf([1.0]))
    with pytest.raises(ZeroDivisionError, match="planted") as caught:
        y.backward(np.ones(1))
    (note,) = caught.value.__notes__
    assert note.startswith("in the backward of breaks (called at")
    assert "test_backward.py:" in note


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda dy: dy, "must return a tuple with one gradient for each of its 1 inputs, got ndarray"),
        (lambda dy: (dy, dy), "got tuple of 2"),
        (lambda dy: (dy[:1],), r"for input 0 a gradient of float64 \(1,\); the input is float64 \(2,\)"),
        (lambda dy: (dy.astype(np.float32),), r"a gradient of float32 \(2,\); .*F\.sum_to, or a promotion"),
    ],
)
def test_a_backward_that_returns_something_else_raises(result, message):
    class Wrong(mv.Op):
        def forward(F, x):
            return x * 1.0

        def backward(F, dy, saved, x):
            return result(dy)

    with pytest.raises(GradientError, match=message) as caught:
        mv.autograd.apply(Wrong, leaf([1.0, 2.0])).sum().backward()
    assert "test_backward.py:" in caught.value.__notes__[0]


def test_an_op_without_a_backward_runs_forward_and_raises_backward():
    class Rounded(mv.Op):
        def forward(F, x):
            return x * 1.0

    y = mv.autograd.apply(Rounded, leaf([1.0]))
    assert y.item() == 1.0
    with pytest.raises(GradientError, match=r"rounded \(called at .* has no backward; give Rounded one"):
        y.sum().backward()


def test_a_failed_backward_can_be_run_again():
    fail = [True]

    class Sometimes(mv.Op):
        def forward(F, x):
            return x * 1.0

        def backward(F, dy, saved, x):
            if fail:
                raise ValueError(fail.pop())
            return (dy,)

    x = leaf([1.0])
    y = mv.autograd.apply(Sometimes, x).sum()
    with pytest.raises(ValueError, match="True"):
        y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    assert x.grad == 1.0


def test_a_gradient_of_none_means_no_gradient():
    class First(mv.Op):
        def forward(F, a, b):
            return a + b

        def backward(F, dy, saved, a, b):
            return dy, None

    a, b = leaf([1.0]), leaf([1.0])
    mv.autograd.apply(First, a, ops.exp(b)).sum().backward()
    assert a.grad == 1.0
    assert b.grad is None
