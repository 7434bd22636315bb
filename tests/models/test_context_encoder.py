"""Tests of minivit/models/context_encoder.py."""

import numpy as np

import minivit as mv
from minivit import ops
from minivit.models.context_encoder import PatchDecoder, wholly_hidden


def tokens(batch=2, count=6, dim=4):
    return np.random.default_rng(0).standard_normal((batch, count, dim))


def test_without_blocks_a_patch_is_a_linear_map_of_its_token():
    decoder = PatchDecoder(4, 2, 2, (3, 4, 6), depth=0).astype(np.float64)
    found = decoder(mv.Tensor(tokens()))
    assert found.shape == (2, 3, 4, 6)
    x = tokens()
    normalised = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    pixels = normalised @ decoder.proj.weight.numpy().T
    np.testing.assert_allclose(ops.patchify(found, 2).numpy(), pixels, atol=1e-12)


def test_blocks_let_tokens_look_at_each_other():
    x, y = tokens(), tokens()
    y[:, 0] += np.arange(4)  # not along ones alone: LayerNorm would not see that
    for depth in (0, 2):
        decoder = PatchDecoder(4, 2, 2, (3, 4, 6), depth).astype(np.float64)
        change = decoder(mv.Tensor(x)).numpy() - decoder(mv.Tensor(y)).numpy()
        assert np.abs(change[:, :, :2, :2]).max() > 0.1
        assert (np.abs(change[:, :, 2:]).max() > 1e-6) == (depth > 0)


def test_its_weights_come_from_the_seed():
    one, same, other = (PatchDecoder(4, 2, 2, (3, 4, 6), seed=seed).state_dict() for seed in (0, 0, 1))
    for name, array in one.items():
        np.testing.assert_array_equal(array, same[name])
    assert (one["proj.weight"] != other["proj.weight"]).any()
    assert np.std(one["blocks.0.attn.qkv.weight"]) > 0.3


def test_a_patch_is_wholly_hidden_if_no_pixel_of_it_is_seen():
    hidden = np.zeros((2, 1, 4, 6), bool)
    hidden[0, 0, :2, 2:4] = True
    hidden[0, 0, 2:, 4:] = True
    hidden[0, 0, 3, 5] = False
    hidden[1] = True
    expected = [[False, True, False, False, False, False], [True] * 6]
    assert wholly_hidden(hidden, 2).tolist() == expected
    np.testing.assert_array_equal(wholly_hidden(hidden, 2), ops.patchify(hidden.astype(float), 2).numpy().all(axis=2))
