"""The bytes and the norms of gradients in a drawn graph are those of the tape."""

import numpy as np
import pytest
from graphs import attention_and_loss, diamond, edge, fed_to_itself, images, leaf, named, one, second_order, vit

import minivit as mv
from minivit import ops
from minivit.autograd import Node, Tensor
from minivit.inspect import draw_graph
from minivit.inspect.sizes import memory_of


def kept_by_the_tape(output, inputs):
    """Bytes of all memory that the nodes keep, each once, without that of leaves and inputs."""
    nodes, stack = {output.node}, [output.node]
    while stack:
        for before in stack.pop().edges:
            if isinstance(before, Node) and before not in nodes:
                nodes.add(before)
                stack.append(before)
    leaves = {memory_of(e.data)[0] for node in nodes for e in node.edges if isinstance(e, Tensor)}
    leaves |= {memory_of(x.data)[0] for x in inputs}
    arrays = [a for node in nodes for a in (*node.saved_arrays(), *node.constants) if a is not None]
    return sum(size for key, size in {memory_of(a) for a in arrays} if key not in leaves)


@pytest.mark.parametrize("fn", [attention_and_loss, diamond, second_order, fed_to_itself])
@pytest.mark.parametrize("opened", [(), "all"])
def test_bytes_are_what_the_nodes_keep(fn, opened):
    inputs = leaf((3, 4), 1), leaf((4, 4), 2), leaf((4,), 3)
    graph = draw_graph(fn, *inputs, open=opened)
    with mv.unrolled() if opened else mv.enable_grad():
        output = fn(*inputs)
    assert graph.kept_bytes == kept_by_the_tape(output, inputs) > 0
    assert graph.kept_bytes == sum(node["kept_bytes"] for node in graph.nodes if node["kind"] == "op")


def test_bytes_of_an_op_are_those_of_its_node():
    x = leaf((6, 4))
    graph = draw_graph(lambda x: ops.softmax(x).sum(), x)
    assert one(graph, "softmax")["kept_bytes"] == sum(a.nbytes for a in ops.softmax(x).node.saved_arrays()) == 6 * 4 * 8
    assert one(graph, "sum")["kept_bytes"] == 0
    assert "keeps 192 B" in graph.svg


def test_bytes_of_a_model_agree_with_its_summary():
    model = vit()
    graph = draw_graph(model, images(3))
    assert graph.kept_bytes == mv.inspect.summarize(model, (3, 3, 8, 8)).kept_bytes


def test_the_norm_of_a_node_is_that_of_mv_grad():
    x, w, b = leaf((3, 4), 1), leaf((4, 4), 2), leaf((4,), 3)
    graph = draw_graph(attention_and_loss, x, w, b)
    for name, gradient in zip("xwb", mv.grad(attention_and_loss(x, w, b), (x, w, b)), strict=True):
        assert one(graph, name, "input")["gradient_norm"] == pytest.approx(np.linalg.norm(gradient.numpy()), rel=1e-12)
    normed = ops.layer_norm(x, np.ones(4), np.zeros(4))
    at = mv.grad(ops.cross_entropy(normed + ops.gelu(ops.linear(normed, w, b)), np.array([0, 1, 2])), normed)
    assert one(graph, "layer_norm")["gradient_norm"] == pytest.approx(np.linalg.norm(at.numpy()), rel=1e-12)


def test_the_norm_of_an_edge_is_that_of_what_comes_back_along_it():
    x, w = leaf((3, 4), 1), leaf((4, 4), 2)

    def fn(x, w):
        return (x.exp() @ w).sum() + (x.tanh() * x.tanh()).sum()

    graph = draw_graph(fn, x, w)
    source = one(graph, "x", "input")
    through_exp = mv.grad((x.exp() @ w).sum(), x)
    assert edge(graph, source, one(graph, "exp"))["gradient_norm"] == pytest.approx(
        np.linalg.norm(through_exp.numpy()), rel=1e-12
    )
    for tanh in named(graph, "tanh"):
        half = mv.grad((x.tanh() * mv.stop_gradient(x.tanh())).sum(), x)
        assert edge(graph, source, tanh)["gradient_norm"] == pytest.approx(np.linalg.norm(half.numpy()), rel=1e-12)
    assert source["gradient_norm"] == pytest.approx(np.linalg.norm(mv.grad(fn(x, w), x).numpy()), rel=1e-12)


def test_two_uses_by_one_op_are_one_edge_with_the_norm_of_the_sum():
    x = leaf((3, 4))
    graph = draw_graph(lambda x: (x * x).sum(), x)
    assert edge(graph, one(graph, "x", "input"), one(graph, "multiply"))["gradient_norm"] == pytest.approx(
        2 * np.linalg.norm(x.numpy()), rel=1e-12
    )


def test_the_gradient_of_shared_weights_is_told_apart_by_branch():
    model = vit()
    a, b = images(2), images(2, 1)
    labels = np.array([1, 2])
    graph = draw_graph(
        lambda a, b: ops.cross_entropy(model(a), labels) + 3.0 * ops.cross_entropy(model(b), labels), a, b
    )
    weights = one(graph, "VisionTransformer", "weights")

    def norm(loss):
        gradients = mv.grad(loss, tuple(model.parameters()))
        return np.sqrt(sum(np.square(g.numpy(), dtype=np.float64).sum() for g in gradients))

    drawn = [edge(graph, weights, call)["gradient_norm"] for call in named(graph, "VisionTransformer", "module")]
    expected = [norm(ops.cross_entropy(model(a), labels)), norm(3.0 * ops.cross_entropy(model(b), labels))]
    assert drawn == pytest.approx(expected, rel=1e-5)
    total = norm(ops.cross_entropy(model(a), labels) + 3.0 * ops.cross_entropy(model(b), labels))
    assert weights["gradient_norm"] == pytest.approx(total, rel=1e-5)


def test_a_cotangent_is_taken_and_without_one_a_tensor_has_no_gradients():
    x = leaf((3,))
    cotangent = np.array([1.0, -2.0, 0.5])
    graph = draw_graph(lambda x: x.exp(), x, grad_output=cotangent)
    assert one(graph, "x", "input")["gradient_norm"] == pytest.approx(np.linalg.norm(np.exp(x.numpy()) * cotangent))
    for without in (draw_graph(lambda x: x.exp(), x), draw_graph(lambda x: x.exp().sum(), x, gradients=False)):
        assert {e["gradient_norm"] for e in without.edges} == {None}
        assert one(without, "exp")["state"] == "living"


def test_an_edge_that_the_backward_never_walks_has_no_norm():
    graph = draw_graph(lambda x, y: ops.where(np.ones(3, bool), x, y).sum(), leaf((3,)), leaf((3,), 1))
    assert one(graph, "y", "input")["gradient_norm"] == 0.0
    assert one(graph, "x", "input")["gradient_norm"] == pytest.approx(3**0.5)


def test_norms_of_float32_do_not_overflow():
    graph = draw_graph(lambda x: (x * np.float32(1e30)).sum(), leaf((3,), dtype=np.float32))
    assert one(graph, "x", "input")["gradient_norm"] == pytest.approx(1e30 * 3**0.5, rel=1e-6)
