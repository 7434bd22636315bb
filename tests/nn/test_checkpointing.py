"""Tests of minivit/nn/checkpointing.py."""

import gc
import weakref

import numpy as np
import pytest

import minivit as mv
from minivit import nn
from minivit.autograd import Node
from minivit.autograd.errors import GradientError, ModifiedInPlaceError
from minivit.nn import checkpoint, mask_keys

B, N, D = 3, 5, 8


class Stack(nn.Module):
    """Blocks, each checkpointed or not."""

    def __init__(self, depth=2, checkpointed=True, **options):
        rng = np.random.default_rng(0)
        self.blocks = [nn.TransformerBlock(D, 2, 12, **options) for _ in range(depth)]
        self.checkpointed = checkpointed
        self.astype(np.float64)
        for parameter in self.parameters():
            parameter.assign(0.5 * rng.standard_normal(parameter.shape))

    def forward(self, x):
        for block in self.blocks:
            x = checkpoint(block, x) if self.checkpointed else block(x)
        return x


def tokens(dtype=np.float64, seed=1):
    return np.random.default_rng(seed).standard_normal((B, N, D)).astype(dtype)


def outputs_and_gradients(model, dtype=np.float64, requires_grad=True):
    x = mv.Tensor(tokens(dtype), requires_grad=requires_grad)
    with mask_keys(3, 4, np.array([7, 1, 9])):
        y = model(x)
        after = nn.randomness.current_keys().next_op
    y.backward(tokens(dtype, seed=2))
    return y.numpy(), x.grad, {name: p.grad for name, p in model.named_parameters()}, after


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"dropout": 0.3, "drop_path": 0.4}], ids=["plain", "with masks"])
def test_values_gradients_and_later_masks_are_bit_for_bit_those_without(dtype, options):
    y, dx, gradients, after = outputs_and_gradients(Stack(**options).astype(dtype), dtype)
    expected = outputs_and_gradients(Stack(checkpointed=False, **options).astype(dtype), dtype)
    np.testing.assert_array_equal(y, expected[0])
    np.testing.assert_array_equal(dx, expected[1])
    assert gradients.keys() == expected[2].keys()
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, expected[2][name], err_msg=name)
    assert after == expected[3]


def kept_arrays(output, model):
    """Distinct arrays that the graph keeps for its backward, other than parameters."""
    found, stack, seen = {}, [output.node], set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        stack.extend(edge for edge in node.edges if isinstance(edge, Node))
        for array in node.saved_arrays():
            if not any(np.may_share_memory(array, p.data) for p in model.parameters()):
                found[array.ctypes.data, array.nbytes] = array
    return list(found.values())


def test_what_is_kept_grows_by_one_input_a_block():
    kept = {}
    for depth in (1, 2, 5):
        model = Stack(depth)
        kept[depth] = sum(a.nbytes for a in kept_arrays(model(mv.Tensor(tokens(), requires_grad=True)), model))
    one = B * N * D * 8
    assert kept == {1: one, 2: 2 * one, 5: 5 * one}
    model = Stack(1, checkpointed=False)
    assert sum(a.nbytes for a in kept_arrays(model(mv.Tensor(tokens(), requires_grad=True)), model)) > 5 * one


def test_the_inside_is_computed_again_and_freed_block_by_block():
    class Watch(mv.autograd.Hook):
        def __init__(self):
            self.nodes, self.most, self.attentions = [], 0, 0

        def after_forward(self, op, inputs, output, attributes):
            self.attentions += op.name == "qkv_attention"
            if output.node is not None:
                self.nodes.append(weakref.ref(output.node))

        def before_backward(self, node, output_gradient):
            nodes = [reference() for reference in self.nodes]
            self.most = max(self.most, sum(node is not None and not node.freed for node in nodes))

    def watched(model):
        watch = Watch()
        with mv.autograd.hooked(watch):
            model(mv.Tensor(tokens(), requires_grad=True)).backward(tokens(seed=2))
        return watch

    checkpointed, plain = watched(Stack(6)), watched(Stack(6, checkpointed=False))
    assert (checkpointed.attentions, plain.attentions) == (12, 6)
    inside = plain.most // 6
    assert checkpointed.most <= 6 + inside


def test_gradient_reaches_the_parameters_where_the_input_has_none():
    _, dx, gradients, _ = outputs_and_gradients(Stack(), requires_grad=False)
    expected = outputs_and_gradients(Stack(checkpointed=False), requires_grad=False)
    assert dx is None
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, expected[2][name], err_msg=name)


def test_frozen_parameters_get_no_gradient():
    model = Stack()
    model.blocks[0].attn.requires_grad(False)
    _, dx, gradients, _ = outputs_and_gradients(model)
    expected = outputs_and_gradients(Stack())
    np.testing.assert_array_equal(dx, expected[1])
    for name, gradient in gradients.items():
        if name.startswith("blocks.0.attn"):
            assert gradient is None
        else:
            np.testing.assert_array_equal(gradient, expected[2][name], err_msg=name)


def test_grad_goes_through():
    results = []
    for checkpointed in (True, False):
        model = Stack(checkpointed=checkpointed)
        x = mv.Tensor(tokens(), requires_grad=True)
        weight = model.blocks[0].mlp.fc1.weight
        results.append([g.numpy() for g in mv.grad(model(x), [x, weight], tokens(seed=2))])
        assert x.grad is None
        assert weight.grad is None
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_second_order_goes_through():
    results = []
    for checkpointed in (True, False):
        model = Stack(checkpointed=checkpointed)
        x = mv.Tensor(tokens(), requires_grad=True)
        weight = model.blocks[0].mlp.fc1.weight
        dx = mv.grad(model(x), x, tokens(seed=2), create_graph=True)
        second = mv.grad(dx, [x, weight], tokens(seed=3))
        results.append([dx.numpy(), *(g.numpy() for g in second)])
    for one, other in zip(*results, strict=True):
        assert np.abs(other).max() > 1e-3
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_unrolled_it_is_the_module_itself():
    model = Stack(1)
    with mv.unrolled():
        y = model(mv.Tensor(tokens(), requires_grad=True))
    assert y.node.op.name == "add"
    y.backward(tokens(seed=2))
    expected = outputs_and_gradients(Stack(1, checkpointed=False))
    np.testing.assert_allclose(model.blocks[0].mlp.fc1.weight.grad, expected[2]["blocks.0.mlp.fc1.weight"], rtol=1e-10)


def test_a_parameter_that_changed_in_between_is_noticed():
    model = Stack(1)
    y = model(mv.Tensor(tokens(), requires_grad=True))
    model.blocks[0].norm1.weight.assign(np.zeros(D))
    with pytest.raises(ModifiedInPlaceError, match="was changed after checkpoint"):
        y.backward(tokens())


def test_a_mode_that_changed_in_between_is_noticed():
    model = Stack(1)
    y = model(mv.Tensor(tokens(), requires_grad=True))
    model.eval()
    with pytest.raises(GradientError, match=r"TransformerBlock ran with training=True and is now switched to False"):
        y.backward(tokens())


def test_without_recording_nothing_is_kept():
    model = Stack()
    with mv.no_grad():
        assert model(mv.Tensor(tokens())).node is None
    model.requires_grad(False)
    assert model(mv.Tensor(tokens())).node is None


def test_nothing_is_left_alive():
    gc.collect()
    gc.disable()
    try:
        before = sum(type(o) is Node for o in gc.get_objects())
        outputs_and_gradients(Stack())
        assert sum(type(o) is Node for o in gc.get_objects()) == before
    finally:
        gc.enable()
