"""Tests of minivit/interop/timm.py: what timm's own config.json says."""

import json

import numpy as np
import pytest

from minivit import interop, models
from minivit.interop import WeightsError
from minivit.interop.npz_file import write_npz

PIXELS = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 0.95, "interpolation": "bicubic"}
HUB = {"architecture": "vit_testing", "num_classes": 3, "pretrained_cfg": PIXELS}  # as timm writes it


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "model.safetensors"
    interop.save(models.create("vit_testing", image_size=32, num_classes=3), found, format="timm")
    return found


def write(path, content) -> None:
    path.with_name("config.json").write_text(json.dumps(content))


def test_the_pixels_come_from_timms_configuration(path) -> None:
    write(path, HUB)
    _, metadata = interop.load_model(path)
    assert (metadata["mean"], metadata["std"]) == (PIXELS["mean"], PIXELS["std"])
    assert (metadata["preprocessing"], metadata["crop_fraction"]) == ("timm", 0.95)
    assert metadata["flavour"]["mean"] == "0.1 0.2 0.3 (config.json)"
    assert metadata["flavour"]["gelu"] == "erf (convention)"


@pytest.mark.parametrize("content", [{}, {"model_type": "vit", "layer_norm_eps": 1.0}])
def test_a_configuration_that_is_not_timms_says_nothing(path, content) -> None:
    write(path, content)
    assert set(interop.load_model(path)[1]) == {"flavour"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrained_cfg": [1]}, "pretrained_cfg has to be an object"),
        ({"pretrained_cfg": {"mean": [0.5]}}, "mean has to be 3 finite numbers"),
        ({"pretrained_cfg": {"std": [0.5, 0.5, -1]}}, "std has to be 3 finite numbers"),
        ({"pretrained_cfg": {"std": [0.5, 0.5, float("nan")]}}, "std has to be 3 finite numbers"),
    ],
    ids=str,
)
def test_impossible_pixels_are_refused(path, changes, message) -> None:
    write(path, HUB | changes)
    with pytest.raises(WeightsError, match=message):
        interop.load_model(path)


def test_other_patches_than_a_named_models_do_not_hide_the_heads(tmp_path) -> None:
    """The heads are those of the named models of this width, depth and perceptron."""
    model = models.create("vit_testing", image_size=24, patch_size=8)
    interop.save(model, tmp_path / "model.npz")
    again, metadata = interop.load_model(tmp_path / "model.npz")
    assert (again.config["heads"], again.config["patch_size"], again.config["image_size"]) == (2, 8, 24)
    assert metadata["flavour"]["heads"] == "2 (shapes)"


def test_pre_logits_of_older_files_are_read(tmp_path) -> None:
    model = models.create("vit_testing", image_size=32, num_classes=3, representation_size=7)
    interop.save(model, tmp_path / "model.npz")
    again, metadata = interop.load_model(tmp_path / "model.npz")
    assert again.config["representation_size"] == 7
    assert metadata["flavour"]["pre_logits"] == "7, tanh (shapes)"
    positions = np.zeros((1, 197, 10), np.float32)  # of the named model, which takes images of 224 pixels
    write_npz(tmp_path / "named.npz", model.state_dict() | {"pos_embed": positions})
    named = interop.load("vit_testing", tmp_path / "named.npz")
    assert np.array_equal(named.pre_logits.fc.weight.data, model.pre_logits.fc.weight.data)
