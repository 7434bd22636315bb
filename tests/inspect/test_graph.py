"""The drawn graph is the graph that ran: its structure, its modules, opened ops; and what is refused."""

import json
from collections import Counter

import graphs
import numpy as np
import pytest
from devices import DEVICES
from graphs import (
    attention_and_loss,
    diamond,
    edge,
    fed_to_itself,
    images,
    leaf,
    named,
    one,
    second_order,
    teacher_and_student,
    vit,
)

import minivit as mv
from minivit import nn, ops
from minivit.autograd import Node
from minivit.autograd.errors import GradientError
from minivit.inspect import draw_graph


def edges_of_the_tape(output):
    """(op or leaf, op) for every arrow of the real graph that leads to an op or a leaf."""
    found, stack, seen = Counter(), [output.node], {output.node}
    while stack:
        node = stack.pop()
        for before in {id(e): e for e in node.edges if e is not None}.values():
            is_node = isinstance(before, Node)
            found[before.op.name if is_node else "leaf", node.op.name] += 1
            if is_node and before not in seen:
                seen.add(before)
                stack.append(before)
    return found


@pytest.mark.parametrize("fn", [attention_and_loss, diamond, second_order, fed_to_itself])
@pytest.mark.parametrize("opened", [(), "all"])
def test_living_edges_are_the_arrows_of_the_tape(fn, opened):
    inputs = leaf((3, 4), 1), leaf((4, 4), 2), leaf((4,), 3)
    graph = draw_graph(fn, *inputs, open=opened)
    by_id = {node["id"]: node for node in graph.nodes}

    def name(node):
        return node["name"] if node["kind"] == "op" else "leaf"

    drawn = Counter(
        (name(by_id[e["source"]]), name(by_id[e["target"]]))
        for e in graph.edges
        if e["state"] == "living" and by_id[e["target"]]["kind"] != "output"
    )
    with mv.unrolled() if opened else mv.enable_grad():
        assert drawn == edges_of_the_tape(fn(*inputs))


def test_nodes_say_what_ran():
    graph = draw_graph(attention_and_loss, leaf((3, 4)), leaf((4, 4)), leaf((4,)))
    assert Counter(node["kind"] for node in graph.nodes) == {"op": 6, "input": 3, "constant": 3, "output": 1}
    linear = one(graph, "linear")
    assert linear["shapes"] == [[3, 4]]
    assert linear["dtype"] == "float64"
    assert linear["ops"] == ["linear"]
    assert linear["where"][0] == graphs.__file__
    assert [node["name"] for node in graph.nodes if node["kind"] == "input"] == ["x", "w", "b"]
    assert {node["name"] for node in graph.nodes if node["kind"] == "constant"} == {"weight", "bias", "targets"}
    assert json.loads(json.dumps({"nodes": graph.nodes, "edges": graph.edges})) == {
        "nodes": graph.nodes,
        "edges": graph.edges,
    }


def test_what_does_not_lead_to_the_output_is_left_out():
    def fn(x):
        ops.exp(x)
        return x.tanh().sum()

    assert not named(draw_graph(fn, leaf((2,))), "exp")


def test_numbers_are_written_into_the_op_and_not_drawn_as_constants():
    graph = draw_graph(lambda x: (ops.where(np.ones(2, bool), x, 7.0) * 3.0).sum(), leaf((2,)))
    assert [node["name"] for node in graph.nodes if node["kind"] == "constant"] == ["condition"]
    assert "× 3" in graph.svg
    assert "z 7" in graph.svg


def test_arrays_are_inputs_too_and_names_can_be_given():
    labels = np.array([0, 1])
    graph = draw_graph(lambda z, t: ops.cross_entropy(z, t), leaf((2, 3)), np.eye(3)[:2], names=["logits", "target"])
    assert edge(graph, one(graph, "target", "input"), one(graph, "cross_entropy"))["state"] == "constant"
    with pytest.raises(ValueError, match="1 inputs need as many names"):
        draw_graph(lambda z: ops.cross_entropy(z, labels), leaf((2, 3)), names=["a", "b"])


def test_an_input_counts_as_a_leaf_and_what_made_it_is_left_alone():
    x = leaf((3,))
    middle = x * 2.0
    graph = draw_graph(lambda h: (h * h).sum(), middle)
    assert not named(graph, "multiply_number")
    assert one(graph, "h", "input")["gradient_norm"] == pytest.approx(np.linalg.norm(2 * middle.numpy()))
    middle.sum().backward()  # its graph is still whole


def test_a_tensor_from_before_is_a_leaf_too_and_its_graph_is_not_freed():
    x = leaf((3,))
    before = x.exp()
    graph = draw_graph(lambda y: (before * y).sum(), leaf((3,)))
    assert not named(graph, "exp")
    assert x.grad is None
    before.sum().backward()
    np.testing.assert_allclose(x.grad, np.exp(x.numpy()))


def test_a_module_is_a_function():
    model = vit()
    graph = draw_graph(model, images(2), grad_output=np.ones((2, 5), np.float32))
    (call,) = [node for node in graph.nodes if node["kind"] == "module"]
    assert call["name"] == "VisionTransformer"
    assert call["shapes"] == [[2, 5]]
    assert call["parameters"] == model.count_parameters()
    assert [node["name"] for node in graph.nodes if node["kind"] == "input"] == ["images"]


def test_a_checkpointed_block_is_one_op():
    model = vit(checkpoint_blocks=True)
    graph = draw_graph(lambda x: ops.cross_entropy(model(x), np.array([1, 2])), images(2), depth=1)
    assert len(named(graph, "checkpoint")) == 2
    assert all(node["gradient_norm"] > 0 for node in named(graph, "checkpoint"))


def ops_in(node):
    return Counter(node["ops"])


def test_each_depth_shows_the_same_ops():
    model = vit()

    def loss(x):
        return ops.cross_entropy(model(x), np.array([1, 2]))

    graphs = [draw_graph(loss, images(2), depth=depth) for depth in (0, 1, 2, 3, None)]
    counts = [sum((ops_in(node) for node in graph.nodes), Counter()) for graph in graphs]
    assert all(count == counts[0] for count in counts)
    assert len({graph.kept_bytes for graph in graphs}) == 1
    assert [len([node for node in graph.nodes if node["kind"] == "module"]) for graph in graphs] == [1, 5, 9, 4, 0]
    assert [node["kind"] for node in graphs[-1].nodes].count("group") == 0
    whole, blocks = graphs[0], graphs[1]
    (group,) = [node for node in blocks.nodes if node["kind"] == "group"]
    (call,) = [node for node in whole.nodes if node["kind"] == "module"]
    assert group["kept_bytes"] == call["kept_bytes"]
    assert {node["group"] for node in blocks.nodes if node["kind"] == "module"} == {group["id"]}
    assert sum(node["parameters"] for node in blocks.nodes) == model.count_parameters()


def test_a_parameter_of_one_module_is_part_of_its_box():
    layer = nn.Linear(4, 3)
    graph = draw_graph(lambda x: layer(x).sum(), leaf((2, 4), dtype=np.float32))
    assert not [node for node in graph.nodes if node["kind"] in ("parameter", "weights")]
    assert one(graph, "Linear", "module")["parameters"] == 15
    graph = draw_graph(lambda x: layer(x).sum(), leaf((2, 4), dtype=np.float32), depth=None)
    assert [node["name"] for node in graph.nodes if node["kind"] == "parameter"] == ["weight", "bias"]


def test_weights_that_two_calls_share_are_drawn_once_at_every_depth():
    model = vit()

    def loss(a, b):
        return ops.cross_entropy(model(a) - model(b), np.array([1, 2]))

    for depth in (0, 1):
        graph = draw_graph(loss, images(2), images(2, 1), depth=depth)
        (weights,) = [node for node in graph.nodes if node["kind"] == "weights"]
        assert weights["parameters"] == model.count_parameters()
        assert not [node for node in graph.nodes if node["kind"] == "parameter"]
    calls = named(draw_graph(loss, images(2), images(2, 1)), "VisionTransformer", "module")
    assert len(calls) == 2


def test_a_parameter_tied_between_modules_is_drawn_once():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    graph = draw_graph(lambda x: second(first(x)).sum(), leaf((2, 4), dtype=np.float32))
    weights = one(graph, "several modules", "weights")
    assert weights["parameters"] == 16
    assert [node["parameters"] for node in named(graph, "Linear", "module")] == [4, 4]


def test_an_opened_op_shows_its_primitives_inside_a_box():
    target, prediction = leaf((3, 4), 1), leaf((3, 4), 2)

    def fn(target, prediction):
        stopped = mv.stop_gradient(target)
        return ops.kl_divergence(target_logits=stopped, pred_logits=prediction, temperature=0.4).mean()

    closed, opened = (draw_graph(fn, target, prediction, open=names) for names in ((), "kl_divergence"))
    assert one(closed, "kl_divergence")["group"] is None
    box = one(opened, "kl_divergence", "group")
    assert box["attributes"] == {"temperature": 0.4}
    inside = [node for node in opened.nodes if node["group"] == box["id"]]
    assert Counter(node["name"] for node in inside) >= Counter(
        {"exp": 3, "log": 2, "sum": 3, "max": 2, "stop_gradient": 2}
    )
    assert box["kept_bytes"] == sum(node["kept_bytes"] for node in inside) > 0
    assert one(opened, "mean")["group"] is None
    for name in ("target_logits", "pred_logits"):
        assert f">{name}</text>" in opened.svg
        assert f">{name}</text>" not in closed.svg
    for graph in (closed, opened):
        norm = one(graph, "prediction", "input")["gradient_norm"]
        assert norm == pytest.approx(np.linalg.norm(mv.grad(fn(target, prediction), prediction).numpy()), rel=1e-12)


def test_all_opens_every_op_and_an_opened_op_in_a_closed_module_stays_inside():
    model = vit()
    graph = draw_graph(lambda x: ops.cross_entropy(model(x), np.array([0, 1])), images(2), open="all")
    assert [node["name"] for node in graph.nodes if node["kind"] == "group"] == ["cross_entropy"]
    (call,) = [node for node in graph.nodes if node["kind"] == "module"]
    assert "layer_norm" not in call["ops"]
    assert {"matmul", "exp"} <= set(call["ops"])
    assert "with a stop_gradient inside" in graph.svg


def test_open_says_what_cannot_be_opened():
    def fn(x):
        return ops.softmax(x).sum()

    with pytest.raises(ValueError, match="no op 'kl' ran; there were softmax, sum"):
        draw_graph(fn, leaf((3,)), open=["softmax", "kl"])
    with pytest.raises(ValueError, match="sum is a primitive"):
        draw_graph(fn, leaf((3,)), open="sum")


@pytest.mark.parametrize("result", [None, 3.0, (1, 2), np.ones(3)])
def test_a_function_has_to_return_a_tensor(result):
    with pytest.raises(TypeError, match="must return the Tensor whose graph is drawn, got"):
        draw_graph(lambda: result)


def test_a_negative_depth_is_refused():
    with pytest.raises(ValueError, match="0 or more, or None"):
        draw_graph(lambda x: x, leaf((3,)), depth=-1)


def test_a_cotangent_that_does_not_fit_is_refused():
    with pytest.raises(GradientError, match="grad_output must have the output's shape"):
        draw_graph(lambda x: x.exp(), leaf((3,)), grad_output=np.ones(4))


def deep(x, length):
    for _ in range(length):
        x = x * 1.0001
    return x.sum()


def test_a_graph_that_nobody_could_read_is_refused_and_says_what_to_do():
    with pytest.raises(ValueError, match=r"5,003 nodes are more than a picture can show .*depth=0.*raise max_nodes"):
        draw_graph(lambda x: deep(x, 5000), leaf((3,)))


def test_depth_is_no_limit_where_it_is_asked_for():
    graph = draw_graph(lambda x: deep(x, 1500), leaf((3,)), max_nodes=2000)  # beyond Python's limit of recursion
    assert len(graph.nodes) == 1503
    assert all(e["gradient_norm"] is not None for e in graph.edges[:-1])


def test_the_simplest_graph_is_an_input_and_an_output():
    graph = draw_graph(lambda x: x, leaf((1,)))
    assert [node["kind"] for node in graph.nodes] == ["input", "output"]
    assert draw_graph(lambda: mv.tensor([1.0])).nodes[0]["kind"] == "constant"


@pytest.mark.parametrize("device", DEVICES)
def test_it_draws_what_runs_on_a_device(device):
    x = mv.tensor(np.random.default_rng(0).normal(size=(3, 4)), requires_grad=True, device=device)
    w = mv.tensor(np.random.default_rng(1).normal(size=(5, 4)), requires_grad=True, device=device)
    graph = draw_graph(lambda x, w: teacher_and_student(x, x.tanh(), w, "stop"), x, w)
    host = draw_graph(
        lambda x, w: teacher_and_student(x, x.tanh(), w, "stop"),
        *(
            mv.tensor(np.random.default_rng(s).normal(size=n), requires_grad=True)
            for s, n in ((0, (3, 4)), (1, (5, 4)))
        ),
    )
    assert [(e["source"], e["target"], e["state"]) for e in graph.edges] == [
        (e["source"], e["target"], e["state"]) for e in host.edges
    ]
    norms = [[e["gradient_norm"] or 0.0 for e in drawn.edges] for drawn in (graph, host)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-9)
