"""Tests of minivit/recipes/text_config.py and text_presets.py."""

import dataclasses

import pytest

from minivit.recipes.text_config import TextConfig
from minivit.recipes.text_presets import MODELS, PRESETS, build_text_model, text_preset


@pytest.mark.parametrize("kind", PRESETS)
def test_a_preset_fills_everything_that_training_needs(kind):
    config = TextConfig(dataset=kind).filled(text_preset(kind))
    assert isinstance(config, TextConfig)
    for name in ("vocabulary", "length", "augmentation", "labelled_augmentation", "replacement", "dropout", "labels"):
        assert getattr(config, name) == text_preset(kind)[name]
    assert config.loss_settings().temperature == config.temperature
    assert TextConfig.from_dict(dataclasses.asdict(config)) == config
    own = TextConfig(dataset=kind, replacement=0.2, steps=7).filled(text_preset(kind))
    assert (own.replacement, own.steps, own.minutes) == (0.2, 7, None)


@pytest.mark.parametrize("kind", MODELS)
def test_every_preset_has_a_model(kind):
    model = build_text_model(kind, vocabulary_size=10, max_length=5, num_classes=4, seed=1, dropout=0.1, drop_path=0.2)
    assert model.config["num_classes"] == 4
    assert (model.config["seed"], model.config["dropout"], model.config["drop_path"]) == (1, 0.1, 0.2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replacement": 1.1}, r"replacement must lie in \[0, 1\], got 1.1"),
        ({"replacement": -0.1}, "replacement"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
        ({"vocabulary": 0}, "vocabulary must be at least 1, got 0"),
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"augmentation": "back_translation"}, "back_translation needs a file.*--export-for-translation"),
        ({"augmentation": "both"}, "needs a file of paraphrases"),
        ({"labelled_augmentation": "both"}, "needs a file of paraphrases"),
        ({"model": "vit_tiny_cifar"}, "texts have one model, the preset's; got model 'vit_tiny_cifar'"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"confidence": 1.5}, "confidence"),
        ({"labels": 0}, "labels must be at least 1"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        TextConfig(**settings)
