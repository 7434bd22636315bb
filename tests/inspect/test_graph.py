"""The drawn graph is the graph that ran: its structure, its bytes, its gradients, and what is behind a stop."""

import gc
import json
import tracemalloc
import weakref
from collections import Counter

import numpy as np
import pytest
from devices import DEVICES

import minivit as mv
from minivit import nn, ops
from minivit.autograd import Node, Tensor, hooked
from minivit.autograd.errors import GradientError
from minivit.autograd.state import STATE
from minivit.backend import kernels_disabled
from minivit.inspect import draw_graph
from minivit.inspect.graph_trace import Trace
from minivit.inspect.sizes import memory_of
from minivit.nn.randomness import current_keys
from minivit.recipes.uda import uda_loss


def leaf(shape, seed=0, name=None, dtype=np.float64):
    return mv.tensor(np.random.default_rng(seed).normal(size=shape).astype(dtype), requires_grad=True, name=name)


def vit(**options):
    settings = {"image_size": 8, "patch_size": 4, "dim": 12, "depth": 2, "heads": 3, "mlp_dim": 16, "num_classes": 5}
    return mv.models.VisionTransformer(**settings | options)


def images(count, seed=0):
    return mv.tensor(np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32))


def named(graph, name, kind="op"):
    return [node for node in graph.nodes if node["name"] == name and node["kind"] == kind]


def one(graph, name, kind="op"):
    (node,) = named(graph, name, kind)
    return node


def edge(graph, source, target):
    found = [e for e in graph.edges if (e["source"], e["target"]) == (source["id"], target["id"])]
    (only,) = found
    return only


# The structure


def attention_and_loss(x, w, b):
    h = ops.layer_norm(x, np.ones(4), np.zeros(4))
    h = h + ops.gelu(ops.linear(h, w, b))
    return ops.cross_entropy(h, np.array([0, 1, 2]))


def diamond(x, w, b):
    a = x * x
    return (a + ops.softmax(a) @ w + b).sum() / (a.mean() + 2.0)


def second_order(x, w, b):
    first = mv.grad((ops.layer_norm(x, b, b) @ w).sum(), x, create_graph=True)
    return (first * first).sum() + w.sum()


def fed_to_itself(x, w, b):
    return (ops.concatenate([x, x, w[:3]]) * b).mean()


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
    assert linear["where"][0] == __file__
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


# Modules


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


# The stop


def teacher_and_student(x, y, w, way):
    if way == "no_grad":
        with mv.no_grad():
            target = ops.linear(x, w)
    else:
        target = ops.linear(x, w)
    if way == "both":
        with mv.no_grad():
            target = ops.linear(x, w)
    if way in ("stop", "both"):
        target = mv.stop_gradient(target)
    if way == "array":
        target = target.data
    return ops.kl_divergence(
        target_logits=target, pred_logits=ops.linear(y, w), allow_target_gradient=way == "none"
    ).mean()


def paths(graph, start, end):
    out = {}
    for e in graph.edges:
        out.setdefault(e["source"], []).append(e["target"])
    complete, stack = [], [[start["id"]]]
    while stack:
        path = stack.pop()
        if path[-1] == end["id"]:
            complete.append(path)
        stack += [[*path, target] for target in out.get(path[-1], [])]
    return complete


def stops_on(graph, path):
    kinds = {node["id"]: node["kind"] for node in graph.nodes}
    return [kinds[key] for key in path if kinds[key] in ("stop", "cut")]


@pytest.mark.parametrize(("way", "bar"), [("stop", "stop"), ("no_grad", "cut"), ("both", "stop"), ("array", "cut")])
def test_one_bar_stands_on_every_way_from_the_teacher_to_the_loss(way, bar):
    graph = draw_graph(
        lambda x, y, w: teacher_and_student(x, y, w, way), leaf((3, 4), 1), leaf((3, 4), 2), leaf((5, 4), 3)
    )
    (end,) = [node for node in graph.nodes if node["kind"] == "output"]
    from_teacher = paths(graph, one(graph, "x", "input"), end)
    assert from_teacher
    assert [stops_on(graph, path) for path in from_teacher] == [[bar]] * len(from_teacher)
    assert [stops_on(graph, path) for path in paths(graph, one(graph, "y", "input"), end)] == [[]]
    assert sorted(len(stops_on(graph, path)) for path in paths(graph, one(graph, "w", "input"), end)) == [0, 1]

    behind = {(node["name"], node["kind"]) for node in graph.nodes if node["state"] == "behind"}
    assert behind >= {("x", "input"), ("linear", "op")}
    teacher, student = sorted(named(graph, "linear"), key=lambda node: node["state"])
    assert (teacher["state"], student["state"]) == ("behind", "living")
    assert (teacher["gradient_norm"], teacher["kept_bytes"]) == (None, 0)
    weight = one(graph, "w", "input")
    assert edge(graph, weight, teacher) == {
        "source": weight["id"],
        "target": teacher["id"],
        "state": "behind",
        "gradient_norm": None,
    }
    assert edge(graph, weight, student)["state"] == "living"
    assert graph.svg.count('class="stop"') == 1


def test_without_the_stop_the_teacher_is_not_behind_and_a_gradient_reaches_it():
    graph = draw_graph(
        lambda x, y, w: teacher_and_student(x, y, w, "none"), leaf((3, 4), 1), leaf((3, 4), 2), leaf((5, 4), 3)
    )
    assert {node["state"] for node in graph.nodes} == {"living"}
    assert 'class="stop"' not in graph.svg
    assert all(node["gradient_norm"] > 1e-3 for node in named(graph, "linear"))
    assert one(graph, "x", "input")["gradient_norm"] > 1e-3


def test_what_is_used_on_both_sides_of_a_stop_is_living():
    graph = draw_graph(lambda x: (x.exp() * mv.stop_gradient(x.exp().tanh())).sum() + x.sum(), leaf((3,)))
    assert sorted(node["state"] for node in named(graph, "exp")) == ["behind", "living"]
    assert one(graph, "x", "input")["state"] == "living"
    h = leaf((3,))
    graph = draw_graph(lambda: (ops.exp(h) * (e := ops.tanh(h)) * mv.stop_gradient(e)).sum())
    assert one(graph, "tanh")["state"] == "living"
    assert edge(graph, one(graph, "tanh"), one(graph, "stop_gradient", "stop"))["state"] == "behind"


def test_constants_are_neither_living_nor_behind():
    graph = draw_graph(lambda x, m: (x * (m * 2.0 + 1.0)).sum(), leaf((3,)), mv.tensor(np.ones(3)))
    assert one(graph, "multiply_number")["state"] == "constant"
    with_no_grad = draw_graph(constant_under_no_grad, leaf((3,)))
    assert not [node for node in with_no_grad.nodes if node["kind"] == "cut"]  # nothing was lost there


def constant_under_no_grad(x):
    with mv.no_grad():
        mask = mv.tensor(np.ones(3)) * 2.0
    return (x * mask).sum()


def test_nothing_recorded_draws_no_bar_and_no_gradient():
    def fn(x):
        with mv.no_grad():
            return x.exp().sum()

    graph = draw_graph(fn, leaf((3,)))
    assert not [node for node in graph.nodes if node["kind"] in ("stop", "cut")]
    assert {e["gradient_norm"] for e in graph.edges} == {None}


def test_a_value_that_enters_twice_has_one_bar_and_two_values_two():
    def fn(x, y):
        with mv.no_grad():
            a = x.exp()
            b = a.tanh()
        return (a * y + a * y.exp()).sum() + (b * y).sum()

    graph = draw_graph(fn, leaf((3,)), leaf((3,)))
    assert [node["name"] for node in graph.nodes if node["kind"] == "cut"] == ["no_grad", "no_grad"]
    (end,) = [node for node in graph.nodes if node["kind"] == "output"]
    assert {len(stops_on(graph, path)) for path in paths(graph, one(graph, "x", "input"), end)} == {1}


def test_recording_is_on_while_it_draws_also_inside_no_grad():
    with mv.no_grad():
        graph = draw_graph(lambda x: x.exp().sum(), leaf((3,)))
        assert not STATE.recording
    assert one(graph, "exp")["gradient_norm"] > 0


def uda_graph(model, *, no_grad, **settings):
    def uda(labelled, original, augmented):
        with mv.no_grad() if no_grad else mv.enable_grad():
            target = model(original)
        return uda_loss(model(labelled), np.array([0, 1]), target, model(augmented), confidence=0.0, **settings)[0]

    return draw_graph(uda, images(2), images(4, 1), images(4, 2))


@pytest.mark.parametrize("no_grad", [False, True])
def test_the_loss_of_uda_is_three_calls_of_which_the_teacher_keeps_and_learns_nothing(no_grad):
    model = vit()
    graph = uda_graph(model, no_grad=no_grad)
    calls = named(graph, "VisionTransformer", "module")
    by_input = {
        name: next(c for c in calls if any(e["source"] == source["id"] and e["target"] == c["id"] for e in graph.edges))
        for name in ("labelled", "original", "augmented")
        for source in named(graph, name, "input")
    }
    assert [by_input[name]["state"] for name in ("labelled", "original", "augmented")] == ["living", "behind", "living"]
    assert by_input["original"]["kept_bytes"] == 0
    assert by_input["augmented"]["kept_bytes"] > by_input["labelled"]["kept_bytes"] > 0
    weights = one(graph, "VisionTransformer", "weights")
    norms = {name: edge(graph, weights, call)["gradient_norm"] for name, call in by_input.items()}
    assert norms["original"] is None
    assert norms["labelled"] > 0
    assert norms["augmented"] > 0
    assert [node["kind"] for node in graph.nodes if node["kind"] in ("stop", "cut")] == ["stop"]
    assert "keeps 0 bytes" in graph.svg

    drifting = uda_graph(model, no_grad=False, stop_gradient=False)
    weights = one(drifting, "VisionTransformer", "weights")
    branches = [edge(drifting, weights, call) for call in named(drifting, "VisionTransformer", "module")]
    assert all(branch["gradient_norm"] > 0 for branch in branches)
    assert not [node for node in drifting.nodes if node["state"] == "behind"]


def test_the_entropy_term_trains_the_teacher_past_the_stop():
    graph = uda_graph(vit(), no_grad=False, entropy_weight=0.5)
    assert {call["state"] for call in named(graph, "VisionTransformer", "module")} == {"living"}
    assert len(named(graph, "stop_gradient", "stop")) == 1


# Bytes


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


# Gradients


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


# Nothing is left behind, and nothing lives longer


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


# Opened ops


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


# Refusals


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
