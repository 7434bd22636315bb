"""The README's picture shows the arrays of a real step."""

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

import minivit as mv
from minivit.data import load_digits

ROOT = Path(__file__).resolve().parents[2]
_specification = importlib.util.spec_from_file_location("make_picture", ROOT / "docs" / "make_picture.py")
make_picture = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(make_picture)


def words_of(path: Path) -> list[str]:
    return [element.text for element in ElementTree.parse(path).iter() if element.tag.endswith("text")]


def test_it_is_drawn_whole(tmp_path: Path) -> None:
    assert make_picture.main(["--steps", "2", "--out", str(tmp_path / "step.svg")]) == 0
    words = words_of(tmp_path / "step.svg")
    assert {"image (8, 8)", "tokens (17, 64)", "attention P (17, 17)", "dL/dlogits = p - y"} <= {
        " ".join(line.split()) for line in words
    }
    fixed = [line for line in words if not line[0].isdigit()]  # all but the probabilities
    assert fixed == [line for line in words_of(ROOT / "docs" / "_static" / "step.svg") if not line[0].isdigit()]


def test_the_panels_are_the_arrays_of_the_step() -> None:
    rng = np.random.default_rng(0)
    qkv, dy = rng.normal(size=(1, 5, 24)), rng.normal(size=(1, 5, 8))
    mask = mv.tensor(np.zeros((1, 2, 5, 5)), requires_grad=True)  # added to the scores: its gradient is theirs
    mv.ops.qkv_attention(qkv, 2, mask).backward(dy)
    p, ds = make_picture.probabilities_and_their_scores_gradient({"qkv": qkv, "heads": 2, "dy": dy})
    np.testing.assert_allclose(p.sum(-1), 1)
    np.testing.assert_allclose(ds, mask.grad[0], atol=1e-13)

    digits = load_digits().test
    model = mv.models.create(
        "vit_tiny_cifar", image_size=8, channels=1, patch_size=2, dim=16, depth=2, heads=2, mlp_dim=16
    )
    step = make_picture.one_step(model, digits, 3)
    assert step["tokens"].shape == step["tokens gradient"].shape == (17, 16)
    np.testing.assert_allclose(step["tokens gradient"], model.pos_embed.grad[0])  # tokens = patches + positions
    np.testing.assert_allclose(step["logits gradient"], model.head.bias.grad, atol=1e-6)
