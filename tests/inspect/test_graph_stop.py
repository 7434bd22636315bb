"""What is behind a stop is drawn as behind it, with one bar on every way from there."""

import numpy as np
import pytest
from graphs import edge, leaf, named, one, teacher_and_student, uda_graph, vit

import minivit as mv
from minivit import ops
from minivit.autograd.state import STATE
from minivit.inspect import draw_graph


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
