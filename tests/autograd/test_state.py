"""no_grad, unrolled and hooks belong to a thread and are put back, also when an exception leaves them."""

import threading

import numpy as np
import pytest

import minivit as mv
from minivit import ops
from minivit.autograd import Hook, hooked, is_grad_enabled
from minivit.autograd.state import STATE
from minivit.backend import kernels_disabled


def leaf(value):
    return mv.tensor(np.asarray(value, np.float64), requires_grad=True)


class Recorder(Hook):
    """Writes down what it is told."""

    def __init__(self, name="", log=None):
        self.name, self.log = name, [] if log is None else log

    def before_forward(self, op, inputs, attributes):
        self.log.append((self.name, "before forward", op.name))

    def after_forward(self, op, inputs, output, attributes):
        self.log.append((self.name, "after forward", op.name))

    def before_backward(self, node, output_gradient):
        self.log.append((self.name, "before backward", node.op.name))

    def after_backward(self, node, input_gradients):
        self.log.append((self.name, "after backward", node.op.name))


# no_grad


def test_no_grad_records_nothing():
    x = leaf([1.0])
    with mv.no_grad():
        y = x * 2.0
        assert not is_grad_enabled()
        with mv.enable_grad():
            assert (x * 2.0).requires_grad
        assert not is_grad_enabled()
    assert not y.requires_grad
    assert y.node is None
    assert (x * 2.0).requires_grad


def test_no_grad_as_a_decorator():
    @mv.no_grad()
    def evaluate(x):
        return x * 2.0

    assert not evaluate(leaf([1.0])).requires_grad
    assert is_grad_enabled()


@pytest.mark.parametrize(
    "context",
    [
        mv.no_grad,
        mv.enable_grad,
        mv.unrolled,
        lambda: mv.unrolled("softmax"),
        lambda: hooked(Hook()),
        kernels_disabled,
    ],
)
def test_an_exception_restores_everything(context):
    def state():
        from minivit.backend.kernels import _SWITCH

        return STATE.recording, STATE.unrolling, STATE.unrolled_ops, STATE.hooks, _SWITCH.disabled

    before = state()
    with pytest.raises(KeyError), context(), context():
        raise KeyError
    assert state() == before
    with mv.no_grad():  # also from another state than the first
        inner = state()
        with pytest.raises(KeyError), context():
            raise KeyError
        assert state() == inner
    assert state() == before


@pytest.mark.parametrize("context", [mv.no_grad, mv.unrolled, lambda: hooked(Recorder())])
def test_another_thread_does_not_notice(context):
    seen = []

    def look():
        y = ops.softmax(leaf([1.0, 2.0]))
        seen.append((y.requires_grad, y.node.op.name, STATE.hooks))

    with context():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == [(True, "softmax", ())]


# unrolled


def test_unrolled_builds_an_op_from_primitives():
    x = leaf([[1.0, 2.0, 0.5]])
    assert ops.softmax(x).node.op.name == "softmax"
    log = []
    with mv.unrolled(), hooked(Recorder(log=log)):
        y = ops.softmax(x)
    names = [name for _, when, name in log if when == "before forward"]
    assert names == ["max", "stop_gradient", "subtract", "exp", "sum", "divide"]
    assert np.allclose(y.numpy(), ops.softmax(x).numpy())


def names_of(run):
    log = []
    with hooked(Recorder(log=log)):
        run()
    return [name for _, when, name in log if when == "before forward"]


def test_unrolled_builds_only_the_ops_that_are_named():
    x = leaf([[1.0, 2.0, 0.5]])

    def run():
        with mv.unrolled("log_softmax"):
            ops.log_softmax(ops.softmax(x))
            with mv.unrolled():
                ops.softmax(x)
            ops.softmax(x)

    names = names_of(run)
    assert names[0] == names[-1] == "softmax"
    assert names.count("softmax") == 2
    assert "log_softmax" not in names
    assert names.count("exp") == 2


def test_a_hook_is_told_where_the_inside_of_a_composed_op_begins_and_ends():
    class Inside(Recorder):
        def before_composed(self, op, inputs, attributes):
            self.log.append(("", "before composed", op.name, inputs[0].shape, attributes))

        def after_composed(self, op):
            self.log.append(("", "after composed", op.name))

    hook = Inside()
    with hooked(hook):
        ops.softmax(leaf([1.0, 2.0]))
        with mv.unrolled():
            ops.softmax(leaf([1.0, 2.0]))
            with pytest.raises(Exception, match="axis"):
                ops.softmax(leaf([1.0, 2.0]), axis=7)
    events = [entry[1:] for entry in hook.log if entry[1].endswith("composed") or entry[2] == "softmax"]
    assert events == [
        ("before forward", "softmax"),
        ("after forward", "softmax"),
        ("before composed", "softmax", (2,), {"axis": -1}),
        ("after composed", "softmax"),
        ("before composed", "softmax", (2,), {"axis": 7}),
        ("after composed", "softmax"),
    ]


# Hooks


def test_a_hook_is_called_around_every_op_in_order():
    hook = Recorder()
    x = leaf([1.0, 2.0])
    with hooked(hook):
        y = x.exp().tanh()
        y.backward(np.ones(2))
    x.exp()
    assert hook.log == [
        ("", "before forward", "exp"),
        ("", "after forward", "exp"),
        ("", "before forward", "tanh"),
        ("", "after forward", "tanh"),
        ("", "before backward", "tanh"),
        ("", "after backward", "tanh"),
        ("", "before backward", "exp"),
        ("", "after backward", "exp"),
    ]


def test_several_hooks_are_called_in_the_order_in_which_they_were_set():
    log = []
    with hooked(Recorder("outer", log)), hooked(Recorder("first", log), Recorder("second", log)):
        leaf([1.0]).exp()
    assert [name for name, when, _ in log if when == "before forward"] == ["outer", "first", "second"]


def test_a_hook_sees_inputs_attributes_output_and_gradients():
    seen = {}

    class Look(Hook):
        def before_forward(self, op, inputs, attributes):
            seen["inputs"], seen["attributes"] = inputs, attributes

        def after_forward(self, op, inputs, output, attributes):
            seen["output"] = output

        def before_backward(self, node, output_gradient):
            seen["dy"] = output_gradient

        def after_backward(self, node, input_gradients):
            seen["dx"] = input_gradients

    x, w = leaf([[1.0, 2.0]]), leaf([[3.0, 4.0]])
    with hooked(Look()):
        y = ops.linear(x, w)
        mv.grad(y, w, np.array([[2.0]]))
    assert seen["inputs"] == (x, w, None) or all(a is b for a, b in zip(seen["inputs"], (x, w, None), strict=True))
    assert seen["attributes"] == {}
    assert seen["output"] is y
    assert np.array_equal(seen["dy"], [[2.0]])
    assert seen["dx"][0] is None
    assert np.array_equal(seen["dx"][1], [[2.0, 4.0]])


def test_a_hook_that_raises_stops_the_op():
    class Refuse(Hook):
        def after_forward(self, op, inputs, output, attributes):
            if not np.isfinite(output.data).all():
                raise FloatingPointError(f"{op.name} is not finite")

    with pytest.raises(FloatingPointError, match="log is not finite"), np.errstate(divide="ignore"), hooked(Refuse()):
        leaf([0.0]).log().exp()
    leaf([0.0]).exp()


def test_under_create_graph_a_backward_hook_sees_tensors():
    kinds = []

    class Look(Hook):
        def before_backward(self, node, output_gradient):
            kinds.append(type(output_gradient))

    x = leaf(2.0)
    y = x**3
    with hooked(Look()):
        mv.grad(y, x, create_graph=True)
        mv.grad(y, x)
    assert kinds == [mv.Tensor, np.ndarray]
