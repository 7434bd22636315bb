"""Tests of minivit/models/whitening.py."""

import numpy as np
import pytest
from devices import DEVICES

import minivit as mv
from minivit.models import VisionTransformer, whiten_first_layer
from minivit.models.whitening import FLOOR, whitening

VIT = {"image_size": 8, "dim": 16, "depth": 1, "heads": 2, "mlp_dim": 16, "num_classes": 5}


def images(count=500):
    """Smooth ones, as photographs are, whose channels have a mean and go together."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 3, 8, 8)) + 2 * rng.standard_normal((count, 1, 1, 1))
    x = x + np.roll(x, 1, 2) + np.roll(x, 1, 3)
    return (x + np.array([0.5, -1.0, 2.0]).reshape(3, 1, 1)).astype(np.float32)


def vectors():
    rng = np.random.default_rng(1)
    return rng.standard_normal((2000, 6)) @ rng.standard_normal((6, 6)) * 3 + rng.standard_normal(6)


def test_whitened_vectors_are_uncorrelated_and_of_unit_variance():
    x = vectors()
    components, mean = whitening(x)
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-12)
    covariance = np.cov((x - mean) @ components.T, rowvar=False, bias=True)
    np.testing.assert_allclose(covariance, np.eye(6), atol=0.01)


def test_the_strongest_component_comes_first_and_signs_are_settled():
    x = vectors()
    components, _ = whitening(x)
    strength = [(c / np.linalg.norm(c)) @ np.cov(x, rowvar=False) @ (c / np.linalg.norm(c)) for c in components]
    assert strength == sorted(strength, reverse=True)
    assert all(c[np.abs(c).argmax()] > 0 for c in components)


def test_directions_without_variance_are_not_blown_up():
    x = vectors()
    x[:, 3] = 7.0
    components, _ = whitening(x)
    assert np.abs(components).max() <= FLOOR**-0.5 * 1.001


def test_a_patch_embedding_starts_with_outputs_of_mean_zero_and_unit_variance():
    model = VisionTransformer(**VIT, patch_size=2)
    whiten_first_layer(model, images())
    y = model.patch_embed(mv.Tensor(images())).numpy().reshape(-1, 16)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-3)
    assert 0.7 < (y.std(0) ** 2).mean() < 1.3
    assert (np.abs(np.corrcoef(y, rowvar=False) - np.eye(16)).max()) < 0.95


def test_a_stem_starts_with_both_signs_of_the_strongest_filters():
    model = VisionTransformer(**VIT, patch_size=4, stem=(10, 12))
    later = np.array(model.patch_embed.convs[1].weight.data)
    whiten_first_layer(model, images())
    weight = model.patch_embed.convs[0].weight.data
    np.testing.assert_array_equal(weight[:5], -weight[5:])
    windows = np.lib.stride_tricks.sliding_window_view(images(), (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 27)
    responses = (patches - patches.mean(0)) @ weight[:5].reshape(5, 27).T
    np.testing.assert_allclose(np.cov(responses, rowvar=False), np.eye(5), atol=0.01)
    np.testing.assert_array_equal(model.patch_embed.convs[1].weight.data, later)


def test_filters_that_are_left_over_keep_their_random_start():
    model = VisionTransformer(**VIT, patch_size=4, stem=(60, 12))  # 54 = 2 * 27 whiten
    before = np.array(model.patch_embed.convs[0].weight.data)
    whiten_first_layer(model, images())
    after = model.patch_embed.convs[0].weight.data
    assert (after[:54] != before[:54]).all()
    np.testing.assert_array_equal(after[54:], before[54:])


@pytest.mark.parametrize("device", [*DEVICES])
def test_it_works_where_the_model_is(device):
    here = VisionTransformer(**VIT, patch_size=2)
    there = VisionTransformer(**VIT, patch_size=2).to(device)
    for model in (here, there):
        whiten_first_layer(model, images(50), seed=3)
    for name, array in there.state_dict().items():
        np.testing.assert_array_equal(array, here.state_dict()[name])
