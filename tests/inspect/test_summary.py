"""The summary against published numbers, against the ops' own primitives, and against stored text.

To write the stored text anew after a wanted change: ``python tests/inspect/test_summary.py``.
"""

import math
from pathlib import Path

import numpy as np
import pytest

from minivit import models, nn
from minivit.autograd import Hook, hooked, no_grad, tensor, unrolled
from minivit.backend import kernels_disabled
from minivit.inspect import summarize
from minivit.models import VisionTransformer
from minivit.nn.randomness import current_keys

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_MODELS = ("vit_tiny_patch16_224", "vit_tiny_cifar")


def golden_text(name: str) -> str:
    with kernels_disabled():  # a kernel may keep more or less than the text of its op
        return summarize(models.create(name, initialization="none"), title=name).text() + "\n"


@pytest.mark.parametrize("name", GOLDEN_MODELS)
def test_the_table_is_as_stored(name: str) -> None:
    assert golden_text(name) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "expected", "parameters"),
    [
        ("vit_tiny_patch16_224", 1.254e9, 5_717_416),
        ("vit_small_patch16_224", 4.599e9, 22_050_664),
        ("vit_base_patch32_224", 4.409e9, 88_224_232),
        ("resnet18", 1.814e9, 11_689_512),  # 1.8, 3.6 and 4.1: He et al. 2015, table 1, and torchvision (v1.5)
        ("resnet34", 3.664e9, 21_797_672),
        ("resnet50", 4.089e9, 25_557_032),
        pytest.param("vit_base_patch16_224", 17.564e9, 86_567_656, marks=pytest.mark.slow),
        pytest.param("vit_large_patch16_224", 61.555e9, 304_326_632, marks=pytest.mark.slow),
        pytest.param("vit_huge_patch14_224", 167.295e9, 632_045_800, marks=pytest.mark.slow),
    ],
)
def test_published_sizes(name: str, expected: float, parameters: int) -> None:
    summary = summarize(models.create(name, initialization="none"))
    assert abs(summary.multiply_adds - expected) <= 0.0005e9
    assert summary.parameters == parameters


class CountsProducts(Hook):
    """Multiply-adds of every matrix product that really runs."""

    def __init__(self) -> None:
        self.total = 0

    def after_forward(self, op, inputs, output, attributes) -> None:
        if op.name == "matmul":
            self.total += math.prod(output.shape) * inputs[0].shape[-1]


@pytest.mark.parametrize(
    "settings",
    [{}, {"dropout": 0.1, "drop_path": 0.2}, {"stem": (6, 12), "pool": "mean"}, {"num_classes": 0}],
)
def test_no_product_of_a_model_is_missed(settings: dict) -> None:
    model = VisionTransformer(
        **{"image_size": 16, "patch_size": 4, "dim": 12, "depth": 2, "heads": 3, "mlp_dim": 20, "num_classes": 5}
        | settings
    )
    counted = CountsProducts()
    with no_grad(), hooked(counted), unrolled():
        model(tensor(np.zeros((1, 3, 16, 16), np.float32)))
    summary = summarize(model)
    assert summary.multiply_adds == counted.total > 0
    assert summary.parameters == model.count_parameters()


def test_bytes_kept_are_those_of_the_graph() -> None:
    """One linear layer keeps its input; the input of the model itself and the weights do not count."""

    class Two(nn.Module):
        def __init__(self) -> None:
            self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.second(self.first(x))

    with kernels_disabled():
        summary = summarize(Two(), input_shape=(5, 4))
    first, second = summary.layer.children
    assert first.kept_bytes == 0
    assert second.kept_bytes == 5 * 6 * 4
    assert summary.kept_bytes == 5 * 6 * 4


def test_memory_that_several_ops_keep_counts_once_and_views_count_as_what_they_view() -> None:
    class Shares(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter(np.ones((4, 4), np.float32))

        def forward(self, x):
            y = x @ self.weight  # 8 x 4 floats
            return (y[:1] @ self.weight).sum() + (y * y).sum()

    with kernels_disabled():
        assert summarize(Shares(), input_shape=(8, 4)).kept_bytes == 8 * 4 * 4


def test_checkpointing_keeps_one_input_a_block() -> None:
    settings = {"image_size": 16, "patch_size": 4, "dim": 12, "heads": 3, "mlp_dim": 20, "num_classes": 5}
    kept = [
        summarize(VisionTransformer(depth=depth, checkpoint_blocks=True, **settings)).kept_bytes for depth in (2, 3, 4)
    ]
    assert kept[2] - kept[1] == kept[1] - kept[0] == 17 * 12 * 4


def test_the_model_is_left_as_it_was() -> None:
    model = VisionTransformer(image_size=8, patch_size=4, dim=12, depth=1, heads=3, mlp_dim=20, dropout=0.5).eval()
    before, next_op = model.state_dict(), current_keys().next_op
    summarize(model)
    assert not any(module.training for _, module in model.named_modules())
    assert current_keys().next_op == next_op
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())


def test_equal_blocks_are_shown_once_unless_asked_for() -> None:
    summary = summarize(models.create("vit_tiny_cifar", initialization="none"))
    assert "blocks.0 … blocks.11" in str(summary)
    assert "12 × TransformerBlock, each:" in str(summary)
    expanded = summary.text(expand=True)
    assert "…" not in expanded
    assert expanded.count("TransformerBlock") == 12
    assert [child.name for child in summary.layer.children][-3:] == ["blocks.11", "norm", "head"]


def test_a_module_without_configuration_needs_a_shape() -> None:
    with pytest.raises(ValueError, match="input_shape of Linear"):
        summarize(nn.Linear(2, 3))
    assert summarize(nn.Linear(2, 3), (1, 2)).multiply_adds == 6


def test_a_parameter_of_two_modules_counts_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    model = Tied()
    assert summarize(model, (1, 4)).parameters == model.count_parameters() == 4 * 4 + 4 + 4


if __name__ == "__main__":
    for golden in GOLDEN_MODELS:
        (GOLDEN / f"{golden}.txt").write_text(golden_text(golden), encoding="utf-8")
