"""Drawing leaves nothing behind, and nothing lives longer for it."""

import gc
import tracemalloc
import weakref
from collections import Counter

import numpy as np
import pytest
from graphs import images, leaf, uda_graph, vit

import minivit as mv
from minivit import ops
from minivit.autograd import Node, Tensor, hooked
from minivit.autograd.state import STATE
from minivit.backend import kernels_disabled
from minivit.inspect import draw_graph
from minivit.inspect.graph_trace import Trace
from minivit.nn.randomness import current_keys
from minivit.recipes.uda import uda_loss


def test_no_grad_attribute_is_written_and_no_mask_used_up():
    model = vit(dropout=0.5).train()
    kept = np.ones(1)
    model.head.bias.grad = kept
    before = current_keys().next_op
    draw_graph(lambda x: ops.cross_entropy(model(x), np.array([0, 1])), images(2))
    assert current_keys().next_op == before
    assert model.head.bias.grad is kept
    assert all(p.grad is None for name, p in model.named_parameters() if name != "head.bias")
    assert STATE.hooks == ()


def test_an_exception_in_the_function_leaves_no_hook():
    def fn(x):
        with mv.unrolled():
            ops.softmax(x)
            raise KeyError("planted")

    with pytest.raises(KeyError, match="planted"):
        draw_graph(fn, leaf((3,)))
    assert STATE.hooks == ()
    assert not STATE.unrolling


def test_a_failure_inside_that_is_caught_disturbs_nothing():
    def fn(x):
        try:
            ops.exp(x) @ x
        except Exception:  # noqa: BLE001 - whatever it is
            x = x * 2.0
        return x.sum()

    graph = draw_graph(fn, leaf((3, 4)))
    assert [node["name"] for node in graph.nodes if node["kind"] == "op"] == ["multiply_number", "sum"]


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("way", ["stop", "no_grad", "both"])
def test_activations_die_as_early_with_the_trace_as_without(way):
    w = leaf((5, 4), 3)

    def run(log):
        """Which of the activations are alive at each moment."""
        seen = []

        def look():
            log.append([reference() is not None for reference in seen])

        with mv.no_grad() if way != "stop" else mv.enable_grad():
            h = ops.linear(leaf((3, 4), 1), w)
            seen += [weakref.ref(h.data), weakref.ref(h)]
            h = ops.softmax(h)  # its backward needs its output, not its input
            seen += [weakref.ref(h.data), weakref.ref(h)]
            look()
            target = h * 2.0
        look()
        if way != "no_grad":
            target = mv.stop_gradient(target)
        seen.append(weakref.ref(target.data))
        del h
        look()
        y = (target * ops.linear(leaf((3, 4), 2), w)).sum()
        del target
        look()
        return y

    plain, traced = [], []
    kept = run(plain)
    trace = Trace()
    with hooked(trace):
        also_kept = run(traced)
    assert traced == plain
    assert any(not alive for alive in plain[-1])
    assert any(plain[-1])
    del kept, also_kept


@pytest.mark.usefixtures("without_collector")
def test_the_trace_keeps_no_array_no_tensor_and_no_node():
    seen = []

    class Remember(mv.autograd.Hook):
        def after_forward(self, op, inputs, output, attributes):
            seen.extend(weakref.ref(x) for x in (output, output.data, output.node) if x is not None)

    model = vit()
    trace = Trace()
    with hooked(trace, Remember()):
        with mv.no_grad():
            model(images(2))
        output = ops.cross_entropy(model(images(2)), np.array([1, 2]))
    assert any(reference() is not None for reference in seen)
    del output
    assert all(reference() is None for reference in seen)
    assert len(trace.values) > 60


@pytest.mark.usefixtures("without_collector")
def test_drawing_leaves_no_node_and_no_tensor():
    model = vit()

    def alive():
        return Counter(t for t in map(type, gc.get_objects()) if issubclass(t, Node | Tensor))

    uda_graph(model, no_grad=True)
    before = alive()
    uda_graph(model, no_grad=True)
    assert alive() == before


def measured(run):
    """Bytes that are held at the end, and the most that were held; without kernels, whose pool hides its memory."""
    with kernels_disabled():
        run()
        tracemalloc.start()
        try:
            result = run()  # noqa: F841 - holds its graph
            return tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()


def held(run):
    return measured(run)[0]


def peak(run):
    return measured(run)[1]


def test_with_no_grad_the_teacher_keeps_no_activations_and_drawing_needs_little_more_memory_than_running():
    model = vit(dim=48, mlp_dim=96, depth=2)
    many = [images(96, seed) for seed in range(3)]
    labels = np.arange(96) % 5

    def uda(labelled, original, augmented, *, recorded):
        with mv.enable_grad() if recorded else mv.no_grad():
            target = model(original)
        return uda_loss(model(labelled), labels, target, model(augmented))[0]

    def without_teacher():
        return ops.cross_entropy(model(many[0]), labels) + ops.cross_entropy(model(many[2]), labels)

    with kernels_disabled():
        graph = draw_graph(lambda *x: uda(*x, recorded=False), *many)
    student = held(without_teacher)
    assert held(lambda: uda(*many, recorded=False)) == pytest.approx(student, rel=0.03)
    assert graph.kept_bytes == pytest.approx(student, rel=0.05)  # what the picture says
    assert peak(lambda: uda(*many, recorded=True)) > 1.2 * peak(lambda: uda(*many, recorded=False))
    step = peak(lambda: uda(*many, recorded=False).backward())
    assert peak(lambda: draw_graph(lambda *x: uda(*x, recorded=False), *many)) < 1.2 * step
