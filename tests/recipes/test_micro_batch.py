"""The micro-batch that suits a model."""

import pytest

from minivit import data, models
from minivit.inspect.summary import summarize
from minivit.recipes.config import TrainConfig
from minivit.recipes.micro_batch import (
    FEWER_ABOVE,
    FEWEST,
    MORE_BELOW,
    MOST,
    USUAL,
    suitable_micro_batch,
    with_micro_batch,
)
from minivit.recipes.presets import preset_settings
from minivit.recipes.supervised import Supervised
from minivit.recipes.uda_config import UdaConfig

SHAPE = (3, 32, 32)


@pytest.mark.parametrize(("depth", "limit"), [(1, MORE_BELOW), (24, FEWER_ABOVE)])
def test_more_of_a_small_model_and_fewer_of_a_large_one_up_to_what_the_tape_may_keep(depth: int, limit: int) -> None:
    model = models.create("vit_tiny_cifar", depth=depth)
    chosen = suitable_micro_batch(model, SHAPE)
    assert FEWEST < chosen < MOST
    assert (chosen > USUAL) == (limit == MORE_BELOW)
    kept = summarize(model, (1, *SHAPE)).kept_bytes
    assert chosen * kept <= limit < (chosen + 1) * kept


def test_a_model_between_them_has_the_usual_one() -> None:
    assert suitable_micro_batch(models.create("vit_tiny_cifar", depth=6), SHAPE) == USUAL
    assert suitable_micro_batch(models.create("vit_tiny_cifar"), SHAPE) == USUAL


@pytest.mark.parametrize(
    ("settings", "expected"), [({"depth": 1, "dim": 12, "heads": 3, "mlp_dim": 12}, MOST), ({"depth": 100}, FEWEST)]
)
def test_it_is_never_tiny_nor_huge(settings: dict[str, int], expected: int) -> None:
    assert suitable_micro_batch(models.create("vit_tiny_cifar", **settings), SHAPE) == expected


def test_a_model_that_takes_more_than_one_array_has_the_usual_one() -> None:
    assert suitable_micro_batch(models.create("vit_nano_cifar"), None) == USUAL


def test_what_was_asked_for_is_kept() -> None:
    config = TrainConfig(micro_batch=3)
    assert with_micro_batch(config, models.create("vit_nano_cifar"), SHAPE) is config


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (TrainConfig(batch_size=48, device="cuda"), 48),
        (UdaConfig(batch_size=8, unlabelled_ratio=2.5, device="cuda:1"), 28),
        (UdaConfig(batch_size=8, unlabelled_batch_size=30, device="cuda"), 38),
    ],
)
def test_a_gpu_takes_the_whole_batch_and_asks_no_model(config: TrainConfig, size: int) -> None:
    assert with_micro_batch(config, models.create("vit_nano_cifar"), SHAPE).micro_batch == size
    assert config.micro_batch is None


def test_a_procedure_writes_it_down_and_trains_with_it() -> None:
    splits = data.load("digits")
    procedure = Supervised(TrainConfig(threads=1).filled(preset_settings("digits")), splits, "digits")
    with procedure.workers:
        chosen = procedure.config.micro_batch
        assert chosen == suitable_micro_batch(procedure.model, (1, 8, 8))
        assert procedure.make_step(10).gradients.micro_batch == chosen
