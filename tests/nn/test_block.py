"""Tests of minivit/nn/block.py."""

import numpy as np

import minivit as mv
from minivit import nn

X = np.random.default_rng(1).standard_normal((4, 5, 8))


def make(**options):
    rng = np.random.default_rng(0)
    block = nn.TransformerBlock(8, 2, 12, **options).astype(np.float64)
    for parameter in block.parameters():
        parameter.assign(rng.standard_normal(parameter.shape))
    return block


def test_both_branches_read_the_normalised_stream_and_add_to_it():
    block = make()
    x = mv.Tensor(X)
    middle = x + block.attn(block.norm1(x))
    expected = middle + block.mlp(block.norm2(middle))
    np.testing.assert_array_equal(block(x).numpy(), expected.numpy())


def test_the_mask_reaches_the_attention():
    block = make()
    allowed = mv.Tensor(np.eye(5, dtype=bool))
    changed = X.copy()
    changed[:, 0] += 1.0
    one, other = (block(mv.Tensor(x), allowed).numpy() for x in (X, changed))
    np.testing.assert_array_equal(one[:, 1:], other[:, 1:])


def test_a_dropped_branch_leaves_the_stream_as_it_is_and_others_are_scaled():
    block = make(drop_path=0.5)
    block.mlp.fc2.weight.assign(np.zeros((8, 12)))  # then the second branch adds nothing
    block.mlp.fc2.bias.assign(np.zeros(8))
    with nn.mask_keys(0, 0, np.arange(4)):
        y = block(mv.Tensor(X)).numpy()
    branch = block.attn(block.norm1(mv.Tensor(X))).numpy()
    dropped = (y == X).all((1, 2))
    assert 0 < dropped.sum() < 4
    np.testing.assert_allclose(y[~dropped], (X + 2 * branch)[~dropped], rtol=1e-12)
    np.testing.assert_allclose(block.eval()(mv.Tensor(X)).numpy(), X + branch, rtol=1e-12)


def test_the_two_branches_are_dropped_independently():
    block = make(drop_path=0.5)
    x = mv.Tensor(np.ones((200, 1)))
    with nn.mask_keys(0, 0):
        kept = [path(x).numpy()[:, 0] > 0 for path in (block.drop_path1, block.drop_path2)]
    agreement = (kept[0] == kept[1]).mean()
    assert 0.3 < agreement < 0.7


def test_parameters_have_timms_names():
    assert [name for name, _ in make().named_parameters()] == [
        "norm1.weight",
        "norm1.bias",
        "attn.qkv.weight",
        "attn.qkv.bias",
        "attn.proj.weight",
        "attn.proj.bias",
        "norm2.weight",
        "norm2.bias",
        "mlp.fc1.weight",
        "mlp.fc1.bias",
        "mlp.fc2.weight",
        "mlp.fc2.bias",
    ]


def test_settings_reach_the_layers():
    block = make(qkv_bias=False, dropout=0.1, drop_path=0.2, gelu="tanh", eps=1e-3)
    assert block.attn.qkv.bias is None
    assert block.attn.proj_drop.rate == block.mlp.drop1.rate == block.mlp.drop2.rate == 0.1
    assert block.drop_path1.rate == block.drop_path2.rate == 0.2
    assert block.mlp.gelu == "tanh"
    assert block.norm1.eps == block.norm2.eps == 1e-3
