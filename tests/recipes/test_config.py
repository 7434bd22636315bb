import dataclasses
import json

import pytest

from minivit.recipes.config import TrainConfig


def test_a_preset_fills_only_what_is_left_open() -> None:
    filled = TrainConfig(batch_size=7).filled({"batch_size": 64, "learning_rate": 0.5})
    assert (filled.batch_size, filled.learning_rate) == (7, 0.5)


@pytest.mark.parametrize("given", [{"steps": 5}, {"epochs": 1.0}, {"minutes": 2.0}])
def test_a_length_that_was_given_is_not_joined_by_the_presets(given: dict) -> None:
    filled = TrainConfig(**given).filled({"minutes": 10.0, "epochs": 3})
    lengths = {
        name: getattr(filled, name) for name in ("steps", "epochs", "minutes") if getattr(filled, name) is not None
    }
    assert lengths == given


def test_only_one_length_may_be_given() -> None:
    with pytest.raises(ValueError, match="only one of"):
        TrainConfig(epochs=1, minutes=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size must be above 0, got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be at least 0, got -1"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1"),
        ({"precision": "fp16"}, "precision must be one of float32, bf16; got 'fp16'"),
        ({"schedule": "cosin"}, "schedule must be one of cosine"),
        ({"model": "vit_tinny_cifar"}, "did you mean vit_tiny_cifar"),
    ],
)
def test_what_cannot_be_is_refused_before_a_run(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**settings)


def test_json_round_trip() -> None:
    config = TrainConfig(dataset="shapes", learning_rate=0.1)
    assert TrainConfig.from_dict(json.loads(json.dumps(dataclasses.asdict(config)))) == config
