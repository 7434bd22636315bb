"""A small model with weights and a few small images, for the tests of transfers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from minivit import data, interop
from minivit.models import VisionTransformer
from minivit.recipes.console import Console
from minivit.recipes.transfer.config import TransferConfig
from minivit.recipes.transfer.encoder import Pretrained, load_pretrained
from minivit.recipes.transfer.finetuning import Finetuning
from minivit.recipes.transfer.frozen import FrozenEvaluation
from minivit.recipes.transfer.presets import transfer_preset

SMALL = {"image_size": 8, "patch_size": 4, "dim": 12, "depth": 2, "heads": 3, "mlp_dim": 20, "channels": 1}


@pytest.fixture(scope="session")
def splits() -> data.Splits:
    whole = data.load("digits")
    assert whole.validation is not None
    return data.Splits(
        whole.train.subset(range(160), whole.train.name),
        whole.test.subset(range(60), whole.test.name),
        whole.validation.subset(range(40), whole.validation.name),
    )


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a model of seven classes, every parameter of which is random."""
    model = VisionTransformer(**SMALL, num_classes=7, initialization="fan_in")
    numbers = np.random.default_rng(0)
    model.head.weight.assign(numbers.standard_normal((7, 12)))
    path = tmp_path_factory.mktemp("weights") / "checkpoint.safetensors"
    interop.save(model, path, {"mean": [0.25], "std": [0.5], "classes": list("abcdefg")})
    return path


@pytest.fixture
def pretrained(weights: Path) -> Pretrained:
    return load_pretrained(weights)


def configured(weights: Path, **settings) -> TransferConfig:
    config = TransferConfig(dataset="digits", weights=str(weights), threads=1, **settings)
    return config.filled(transfer_preset(config.mode, config.preset, "digits"))


@pytest.fixture
def make_finetuning(weights: Path, splits: data.Splits):
    def make(pretrained: Pretrained | None = None, **settings) -> Finetuning:
        settings = settings if "epochs" in settings else {"steps": 20, **settings}
        return Finetuning(configured(weights, **settings), pretrained or load_pretrained(weights), splits, "digits")

    return make


@pytest.fixture
def make_frozen(weights: Path, splits: data.Splits, tmp_path: Path):
    def make(folder: str = "run", stream: io.StringIO | None = None, **settings) -> FrozenEvaluation:
        config = configured(weights, **settings)
        console = Console(stream or io.StringIO())
        return FrozenEvaluation(config, load_pretrained(weights), splits, "digits", tmp_path / folder, console)

    return make
