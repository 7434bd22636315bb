import json
from types import SimpleNamespace

import numpy as np
import pytest

from minivit import cli, inspect, models
from minivit.inspect import matrix_product_speed, summarize
from minivit.recipes.micro_batch import suitable_micro_batch
from minivit.recipes.results import read_result

NANO = ["profile", "--model", "vit_nano_cifar", "--image-size", "8", "--batch", "4", "--micro-batch", "2"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """One step a side, and a peak that is known."""
    monkeypatch.setattr(inspect, "matrix_product_speed", lambda device: 1e9)


def rows(printed: str, first: str) -> list[str]:
    """Of the table whose header begins with a word, without its header and rules."""
    table = next(part for part in printed.split("\n\n") if part.split()[0] == first)
    return [line for line in table.splitlines()[1:] if not line.startswith("─")]


def test_a_step_by_op_and_by_layer(capsys) -> None:
    assert cli.main([*NANO, "--steps", "1"]) == 0
    printed = capsys.readouterr().out
    ops = {tuple(line.split()[:3]) for line in rows(printed, "op")}
    assert {("mlp", "forward", "8"), ("mlp", "backward", "8")} <= ops  # 4 blocks, 2 micro-batches
    layers = {tuple(line.split()[:2]) for line in rows(printed, "layer")}
    assert {("blocks.*.attn.qkv", "4"), ("patch_embed.proj", "1"), ("head", "1"), ("norm", "1")} <= layers
    assert "Matrix products: " in printed
    assert "One large product reaches 1.0 GFLOP/s here" in printed


def test_a_forward_alone_with_each_block_to_a_depth(capsys) -> None:
    assert cli.main([*NANO, "--steps", "1", "--forward-only", "--by", "layer", "--depth", "1", "--expand"]) == 0
    printed = capsys.readouterr().out
    assert printed.split()[0] == "layer"
    found = [line.split() for line in rows(printed, "layer")]
    assert [row[0] for row in found if row[0].startswith("blocks")] == [f"blocks.{number}" for number in range(4)]
    assert all(row[3] == "0.00" for row in found if row[0].startswith("blocks"))  # no backward


@pytest.mark.parametrize("forward_only", [True, False])
def test_the_file_has_all_numbers(capsys, tmp_path, forward_only: bool) -> None:
    path = tmp_path / "profile.json"
    options = [*NANO[:-2], "--steps", "2", "--by", "op", "--json", str(path), *["--forward-only"] * forward_only]
    assert cli.main(options) == 0
    assert [part.split()[0] for part in capsys.readouterr().out.split("\n\n")] == ["op", "Matrix"]
    found = read_result(path)
    assert json.loads(path.read_text(encoding="utf-8")) == found
    suitable = suitable_micro_batch(models.create("vit_nano_cifar", image_size=8), (3, 8, 8))
    assert (found["model"], found["batch"], found["micro_batch"]) == ("vit_nano_cifar", 4, suitable)
    assert {row["layer"] for row in found["layers"]} >= {f"blocks.{number}.mlp" for number in range(4)}
    ops = sum(row["ms"] for row in found["ops"])
    assert ops + sum(found["outside_ms"].values()) == pytest.approx(found["ms"], rel=1e-6)
    layers = sum(row[way]["ms"] for row in found["layers"] for way in ("forward", "backward"))
    assert layers == pytest.approx(ops, rel=1e-6)
    summary = summarize(models.create("vit_nano_cifar", image_size=8))
    forward = sum(row["gflop"] for row in found["ops"] if row["direction"] == "forward")
    assert forward == pytest.approx(2e-9 * 4 * summary.multiply_adds)
    products = found["products"]
    if forward_only:
        assert not [row for row in found["ops"] if row["direction"] == "backward"]
        assert products["gflop"] == pytest.approx(forward)
    assert products["share_of_peak"] == pytest.approx(products["gflops"] / products["peak_gflops"])
    assert products["seconds_at_peak"] == pytest.approx(products["gflop"] / products["peak_gflops"])
    assert products["share_of_step_at_peak"] == pytest.approx(1e3 * products["seconds_at_peak"] / found["ms"])


@pytest.mark.parametrize("forward_only", [True, False])
def test_a_step_and_the_peak_are_in_the_precision_asked_for(monkeypatch, tmp_path, forward_only: bool) -> None:
    products = []
    onednn = SimpleNamespace(matmul=lambda a, b, out: products.append(np.matmul(a, b, out=out)))
    monkeypatch.setattr("minivit.backend.onednn.load_onednn", lambda: onednn)
    before_a_peak = []

    def counted_peak(device):
        before_a_peak.append(len(products))
        return matrix_product_speed(device, side=8, seconds=0.0)

    monkeypatch.setattr(inspect, "matrix_product_speed", counted_peak)
    path = tmp_path / "profile.json"
    options = ["--steps", "1", "--precision", "bf16", "--json", str(path), *["--forward-only"] * forward_only]
    assert cli.main([*NANO, *options]) == 0
    assert read_result(path)["precision"] == "bf16"
    first, second = before_a_peak
    assert 0 < first < second < len(products)


@pytest.mark.parametrize(
    ("options", "layer"),
    [
        (["--model", "resnet_nano_cifar", "--image-size", "8"], "layer3.*.conv1"),
        (["--model", "wrn_16_4_cifar", "--image-size", "8", "--forward-only"], "block2.layer.*.conv1"),
        (["--model", "text_docstrings"], "blocks.*.mlp"),
        (["--model", "vit_nano_cifar", "--image-size", "8", "--checkpoint-blocks"], "blocks.*.attn"),
    ],
    ids=["resnet", "wide_resnet", "text", "checkpoint"],
)
def test_every_family_is_profiled(capsys, options: list[str], layer: str) -> None:
    assert cli.main(["profile", *options, "--batch", "2", "--steps", "1"]) == 0
    assert layer in {line.split()[0] for line in rows(capsys.readouterr().out, "layer")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "vit_tny_cifar"], "did you mean vit_tiny_cifar"),
        (["--model", "text_news"], "the models for texts are text_docstrings, text_imdb"),
        (["--model", "text_imdb", "--image-size", "8"], "reads texts; leave out --image-size"),
        (["--model", "resnet_nano_cifar", "--checkpoint-blocks"], "has no checkpoint_blocks"),
        (["--image-size", "33"], "patch_size 4 does not divide image_size 33"),
        (["--model", "resnet_nano_cifar", "--image-size", "0"], "--image-size has to be at least 1, got 0"),
        (["--batch", "0"], "--batch has to be at least 1, got 0"),
        (["--micro-batch", "0"], "--micro-batch has to be at least 1, got 0"),
        (["--steps", "0"], "--steps has to be at least 1, got 0"),
        (["--threads", "0"], "--threads has to be at least 1, got 0"),
        (["--depth", "0"], "--depth has to be at least 1, got 0"),
        (["--device", "gpu"], "gpu"),
        (["--device", "cuda:99"], "'cuda:99'"),  # CuPy or that GPU is missing
    ],
)
def test_what_is_wrong_is_said(capsys, options: list[str], message: str) -> None:
    assert cli.main(["profile", *options]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
