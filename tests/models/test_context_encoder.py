"""Tests of minivit/models/context_encoder.py."""

import numpy as np
import pytest

import minivit as mv
from minivit import ops
from minivit.models.context_encoder import ChannelwiseLinear, ConvolutionalDecoder, PatchDecoder, wholly_hidden


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


def feature_map(shape=(2, 6, 2, 3)):
    return np.random.default_rng(1).standard_normal(shape)


def test_the_channelwise_layer_mixes_all_positions_of_a_channel_and_no_channels():
    layer = ChannelwiseLinear(6, 6, np.random.default_rng(0)).astype(np.float64)
    layer.bias.assign(np.random.default_rng(2).standard_normal((6, 1, 6)))
    x = feature_map()
    expected = np.einsum("bdn,dnm->bdm", x.reshape(2, 6, 6), layer.weight.numpy()) + layer.bias.numpy()[:, 0]
    np.testing.assert_allclose(layer(mv.Tensor(x)).numpy(), expected.reshape(x.shape), atol=1e-13)
    assert layer.weight.size == 6 * 6**2


def test_the_convolutional_decoder_doubles_the_sides_until_the_image_is_whole():
    decoder = ConvolutionalDecoder((6, 2, 3), (3, 16, 24)).astype(np.float64)
    assert len(decoder.ups) + 1 == 3
    assert decoder(mv.Tensor(feature_map())).shape == (2, 3, 16, 24)
    large = ConvolutionalDecoder((512, 4, 4), (3, 32, 32))
    assert [up.weight.shape[:2] for up in (*large.ups, large.pixels)] == [(256, 128), (128, 64), (64, 3)]


def test_every_parameter_of_the_convolutional_decoder_has_the_right_gradient():
    decoder = ConvolutionalDecoder((3, 2, 2), (2, 4, 4)).astype(np.float64)
    x = feature_map((3, 3, 2, 2))

    def answer(mixing, bias, across, scale, shift, pixels, last, x):
        decoder.mixing.weight, decoder.mixing.bias, decoder.across.weight = mixing, bias, across
        decoder.norms[0].weight, decoder.norms[0].bias = scale, shift
        decoder.pixels.weight, decoder.pixels.bias = pixels, last
        with mv.nn.frozen_running_statistics():
            return decoder(x)

    names = ("mixing.weight", "mixing.bias", "across.weight", "norms.0.weight", "norms.0.bias")
    state = decoder.state_dict()
    values = [state[name] for name in (*names, "pixels.weight", "pixels.bias")]
    assert len(values) == len(list(decoder.parameters()))
    # The mean that batch normalisation takes off takes a bias of the layers before it along, but not a position's.
    mv.check_gradients(answer, *values, x, rtol=1e-6)


def test_its_answers_begin_about_as_large_as_normalised_pixels():
    decoder = ConvolutionalDecoder((64, 4, 4), (3, 32, 32), seed=1)
    features = np.random.default_rng(0).standard_normal((8, 64, 4, 4)).astype(np.float32)
    answer = decoder(mv.Tensor(np.maximum(features, 0))).numpy()
    assert 0.2 < answer.std() < 2
    same, other = (ConvolutionalDecoder((64, 4, 4), (3, 32, 32), seed=seed).state_dict() for seed in (1, 2))
    for name, array in decoder.state_dict().items():
        if "running" not in name and "tracked" not in name:
            np.testing.assert_array_equal(array, same[name])
    assert (same["across.weight"] != other["across.weight"]).any()


@pytest.mark.parametrize("image", [(3, 4, 4), (3, 12, 12), (3, 16, 32)])
def test_a_map_that_does_not_double_to_the_image_is_refused(image):
    with pytest.raises(ValueError, match="does not become"):
        ConvolutionalDecoder((8, 4, 4), image)
