"""What the tests of drawn graphs draw, and how they look things up in a drawing."""

import numpy as np

import minivit as mv
from minivit import ops
from minivit.inspect import draw_graph
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


def uda_graph(model, *, no_grad, **settings):
    def uda(labelled, original, augmented):
        with mv.no_grad() if no_grad else mv.enable_grad():
            target = model(original)
        return uda_loss(model(labelled), np.array([0, 1]), target, model(augmented), confidence=0.0, **settings)[0]

    return draw_graph(uda, images(2), images(4, 1), images(4, 2))
