"""Tests of minivit/models/discriminator.py."""

import numpy as np
import pytest

import minivit as mv
from minivit.models.discriminator import Discriminator


@pytest.mark.parametrize(
    ("side", "widths"), [(4, []), (8, [6]), (9, [6]), (16, [6, 12]), (33, [6, 12, 24]), (128, [6, 12, 24, 48, 48])]
)
def test_it_halves_pictures_of_any_side_and_gives_one_number_each(side, widths):
    model = Discriminator(3, side, width=6)
    assert [conv.weight.shape[0] for conv in model.convs] == widths
    assert len(model.norms) == max(len(widths) - 1, 0)
    assert model.score.weight.shape[2] <= 4
    pictures = np.random.default_rng(0).standard_normal((5, 3, side, side)).astype(np.float32)
    assert model(mv.Tensor(pictures)).shape == (5,)


def test_its_weights_are_dcgans_and_come_from_the_seed():
    one, same, other = (Discriminator(3, 16, seed=seed).state_dict() for seed in (0, 0, 1))
    for name, array in one.items():
        np.testing.assert_array_equal(array, same[name])
    assert one["convs.1.weight"].std() == pytest.approx(0.02, rel=0.01)
    assert (one["convs.1.weight"] != other["convs.1.weight"]).any()
    assert "convs.0.bias" in one
    assert "convs.1.bias" not in one, "batch normalisation takes a bias away"


def test_a_picture_is_judged_beside_the_others_of_its_batch():
    model = Discriminator(1, 16, width=4)
    x, y = np.random.default_rng(0).standard_normal((2, 6, 1, 16, 16)).astype(np.float32)
    y[0] = x[0]
    assert model(mv.Tensor(x)).numpy()[0] != model(mv.Tensor(y)).numpy()[0]
    model.eval()
    assert model(mv.Tensor(x)).numpy()[0] == pytest.approx(model(mv.Tensor(y)).numpy()[0], abs=1e-6)
