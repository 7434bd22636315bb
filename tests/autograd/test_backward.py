"""The walk: order, accumulation, ownership, depth, determinism, and gradients of what lies in the middle."""

import threading

import numpy as np
import pytest

import minivit as mv
from minivit import ops
from minivit.autograd.errors import GradientError, GraphFreedError, ModifiedInPlaceError


def leaf(value, **options):
    return mv.tensor(np.asarray(value, np.float64), requires_grad=True, **options)


# Order


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


# Accumulation and ownership


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


# Freeing


def test_a_second_backward_raises_and_says_what_to_do():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward()
    with pytest.raises(GraphFreedError, match=r"retain_graph=True.*or run the forward again") as caught:
        y.backward()
    assert "test_backward.py" in str(caught.value)


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


# In-place changes


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


# grad()


def test_grad_leaves_every_grad_alone():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    dx, dw = mv.grad((x * w).sum(), [x, w])
    assert np.array_equal(dx.numpy(), [3.0, 4.0])
    assert np.array_equal(dw.numpy(), [1.0, 2.0])
    assert x.grad is None
    assert w.grad is None


def test_grad_with_respect_to_one_tensor_is_one_tensor():
    x = leaf([1.0, 2.0])
    assert isinstance(mv.grad((x * x).sum(), x), mv.Tensor)
    assert isinstance(mv.grad((x * x).sum(), [x]), tuple)


def test_grad_with_respect_to_the_middle_of_a_graph():
    x = leaf([0.5, 2.0])
    h = x * x
    y = (h.exp() + h).sum()
    dh, dx = mv.grad(y, [h, x])
    assert np.allclose(dh.numpy(), np.exp(x.data**2) + 1.0)
    assert np.allclose(dx.numpy(), dh.numpy() * 2.0 * x.data)


def test_grad_with_respect_to_the_output_itself_and_to_a_leaf_that_is_the_output():
    x = leaf([0.5, 2.0])
    y = x * 2.0
    dy = np.array([3.0, 4.0])
    assert np.array_equal(mv.grad(y, y, dy).numpy(), dy)
    assert np.array_equal(mv.grad(x, x, dy).numpy(), dy)
    x.backward(dy)
    assert np.array_equal(x.grad, dy)


def test_the_same_input_asked_for_twice():
    x = leaf([0.5, 2.0])
    first, second = mv.grad((x * x).sum(), [x, x])
    assert np.array_equal(first.numpy(), second.numpy())


def test_an_input_that_was_not_used():
    x, unused = leaf([1.0]), leaf([1.0], name="unused")
    with pytest.raises(GradientError, match=r"no gradient reaches input 1 unused.*allow_unused=True"):
        mv.grad((x * x).sum(), [x, unused])
    dx, nothing = mv.grad((x * x).sum(), [x, unused], allow_unused=True)
    assert nothing is None
    assert dx.item() == 2.0


def test_an_input_without_gradient():
    x, constant = leaf([1.0]), mv.tensor([1.0], dtype=np.float64)
    with pytest.raises(GradientError, match="input 1  does not require gradient"):
        mv.grad((x * constant).sum(), [x, constant])
    assert mv.grad((x * constant).sum(), [x, constant], allow_unused=True)[1] is None


def test_an_output_without_gradient():
    with pytest.raises(GradientError, match=r"backward\(\) on a tensor that carries no gradient"):
        mv.tensor([1.0]).sum().backward()
    with mv.no_grad():
        y = leaf([1.0]) * 2.0
    with pytest.raises(GradientError, match=r"no_grad\(\)"):
        y.backward()


def test_a_cotangent_has_the_outputs_shape_and_dtype():
    y = leaf([1.0, 2.0]) * 2.0
    with pytest.raises(GradientError, match=r"reduce it first \(\.sum\(\), \.mean\(\)\) or pass grad_output"):
        y.backward()
    with pytest.raises(GradientError, match=r"\(2,\) float64; got \(3,\) float64"):
        y.backward(np.ones(3))
    with pytest.raises(GradientError, match=r"\(2,\) float64; got \(2,\) float32"):
        y.backward(np.ones(2, np.float32))


def test_a_number_is_a_cotangent_for_an_output_of_one_element():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward(0.5)
    assert np.array_equal(x.grad, [1.0, 2.0])
    assert mv.grad((x * x).sum(axis=0, keepdims=True), x, 2, create_graph=True).numpy().tolist() == [4.0, 8.0]


# Threads


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


# What goes wrong in a backward says where its forward was


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
