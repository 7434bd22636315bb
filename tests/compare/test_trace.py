"""The trace finds the first deviation: a fault planted in a random layer is found there and nowhere else."""

import numpy as np
import pytest

from minivit import models
from minivit.compare import FAULTS, find_faults, plant, trace
from minivit.compare.distance import NOTHING, Distance
from minivit.compare.modules import randomise
from minivit.compare.trace import Step, Trace
from minivit.compare.trace_table import show

pytestmark = pytest.mark.reference("torch")

DEPTH = 6
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 12, 12))


def small(dtype=np.float64):
    model = models.VisionTransformer(12, 4, 24, DEPTH, 3, 48, 5)
    return randomise(model, 0).astype(dtype).eval()


@pytest.fixture(scope="module")
def clean():
    return trace(small(), IMAGES)


def test_without_a_fault_nothing_deviates(clean):
    assert clean.guilty is None
    assert clean.verdict.startswith("no deviation")
    for step in clean.steps:
        measured = (step.given, step.made, step.gradient_given, step.gradient_made, step.parameters)
        assert max(one.relative for one in measured) < 1e-13, step.name


def test_every_block_and_what_is_in_it_is_followed(clean):
    inside = ("norm1", "attn.qkv", "attn.proj", "attn", "norm2", "mlp")
    names = [step.name for step in clean.steps]
    expected = [f"blocks.{i}{part}" for i in range(DEPTH) for part in (*(f".{name}" for name in inside), "")]
    assert names == ["patch_embed", *expected, "norm", "head", ""]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(3))
def test_a_fault_is_found_where_it_was_planted(fault, seed):
    block = int(np.random.default_rng([seed, *fault.encode()]).integers(DEPTH))
    model = small()
    guilty = plant(model, fault, block)
    assert guilty == f"blocks.{block}" or guilty.startswith(f"blocks.{block}.")
    found = trace(model, IMAGES, small(), seed)
    assert found.guilty is not None
    assert found.guilty.name == guilty
    assert f"first deviation: {guilty} (" in found.verdict


def test_the_list_of_faults_finds_each():
    found = find_faults(3)
    assert [one.fault for one in found] == list(FAULTS)
    assert all(one.passed for one in found)
    assert all(max(one.output, one.gradient) > 1e-8 for one in found)


def test_a_fault_in_the_backward_alone_is_called_one():
    model = small()
    plant(model, "lost_gradient", 2)
    found = trace(model, IMAGES, small())
    assert max(step.made.relative for step in found.steps) < 1e-13
    assert found.verdict.endswith("makes the same output, but hands back other gradients")


def test_a_fault_between_modules_is_the_models_own():
    model = small()
    model.pos_embed.assign(np.zeros(model.pos_embed.shape))
    found = trace(model, IMAGES, small())
    assert found.guilty.name == ""
    assert "the model itself (VisionTransformer), between its modules" in found.verdict


@pytest.mark.parametrize(
    ("name", "options", "side"),
    [("resnet18_cifar", {"width": 4}, 16), ("wrn_28_2_cifar", {"depth": 10, "widen": 1}, 16)],
)
def test_residual_networks_are_followed_too(name, options, side):
    model = randomise(models.create(name, **options), 0).astype(np.float64).train()
    found = trace(model, np.random.default_rng(0).standard_normal((2, 3, side, side)))
    assert found.guilty is None
    assert len(found.steps) > 20


def test_single_precision_finds_what_is_larger_than_its_rounding():
    images = IMAGES.astype(np.float32)
    assert trace(small(np.float32), images).guilty is None
    model = small(np.float32)
    guilty = plant(model, "transposed_qkv", 4)
    assert trace(model, images, small(np.float32)).guilty.name == guilty


def test_unknown_faults_and_blocks_are_refused():
    with pytest.raises(ValueError, match="unknown fault 'tanh'; there is tanh_gelu, wrong_eps"):
        plant(small(), "tanh", 0)
    with pytest.raises(ValueError, match="blocks 0 to 5, not 6"):
        plant(small(), "tanh_gelu", 6)


def test_the_table_shows_blocks_and_opens_the_guilty_one(clean):
    lines = show(clean).splitlines()
    assert [line.split()[0] for line in lines[1:-2]] == [
        "patch_embed",
        *(f"blocks.{i}" for i in range(DEPTH)),
        "norm",
        "head",
        "(model)",
    ]
    assert len(show(clean, everything=True).splitlines()) == len(clean.steps) + 3
    model = small()
    plant(model, "tanh_gelu", 3)
    opened = show(trace(model, IMAGES, small()))
    (here,) = [line for line in opened.splitlines() if line.endswith("<- here")]
    assert here.startswith("blocks.3.mlp ")
    assert "blocks.3.attn.qkv" in opened
    assert "blocks.2.attn" not in opened


def test_the_table_opens_no_block_whose_number_begins_alike():
    def step(name, made):
        return Step(name, "Module", NOTHING, made, NOTHING, NOTHING, NOTHING)

    far = Distance(1.0, 1.0, 1.0)
    names = {"blocks.1.mlp": NOTHING, "blocks.1": NOTHING, "blocks.10.mlp": far, "blocks.10": far, "": far}
    shown = [
        line.split()[0] for line in show(Trace(tuple(step(*one) for one in names.items()), 1e-10)).splitlines()[1:-2]
    ]
    assert shown == ["blocks.1", "blocks.10.mlp", "blocks.10", "(model)"]


def test_the_inner_of_two_suspects_is_guilty_and_the_first_of_strangers():
    far = Distance(1.0, 1.0, 1.0)

    def step(name, given, made):
        return Step(name, "Module", given, made, NOTHING, NOTHING, NOTHING)

    inner, outer, later = step("a.b", NOTHING, far), step("a", NOTHING, far), step("c", NOTHING, far)
    assert Trace((inner, outer, later), 1e-10).guilty is inner
    assert Trace((step("a.b", far, far), outer, later), 1e-10).guilty is outer
