"""``python -m minivit compare``: its options, what it prints and the code it exits with."""

import pytest

from minivit import cli
from minivit.cli.compare import PARTS
from minivit.compare import report


@pytest.mark.reference
def test_chosen_parts_are_printed(capsys):
    assert cli.main(["compare", "layers", "--references", "PyTorch"]) == 0
    printed = capsys.readouterr().out
    assert "layer TransformerBlock" in printed
    assert not [line for line in printed.splitlines() if line.startswith("op ")]
    assert printed.rstrip().endswith("rows agree")


@pytest.mark.reference
def test_a_clean_trace_and_one_with_a_fault(capsys):
    assert cli.main(["compare", "--trace"]) == 0
    assert "no deviation" in capsys.readouterr().out
    assert cli.main(["compare", "--perturb", "post_ln", "--block", "1", "--everything"]) == 0
    printed = capsys.readouterr().out
    assert "planted post_ln in blocks.1\n" in printed
    assert "first deviation: blocks.1 (PostNorm)" in printed
    assert "blocks.5.attn.qkv" in printed


@pytest.mark.reference
def test_a_fault_that_is_not_found_is_a_failure(capsys):
    assert cli.main(["compare", "--perturb", "wrong_eps", "--dtype", "float32"]) == 1  # too small for this precision
    assert "no deviation" in capsys.readouterr().out


@pytest.mark.reference
def test_other_models_are_traced(capsys):
    assert cli.main(["compare", "--trace", "--model", "resnet_nano_cifar"]) == 0
    assert "layer4.0" in capsys.readouterr().out
    assert cli.main(["compare", "--perturb", "tanh_gelu", "--model", "resnet_nano_cifar"]) == 1
    assert "faults are planted in Vision Transformers, not in a ResNet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["opps"], "there is no opps to compare"),
        (["ops", "--block", "1"], "--block goes with --trace or --perturb"),
        (["ops", "--trace"], "leave out the parts"),
        (["--trace", "--weights", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_what_is_wrong_is_said(capsys, arguments, message):
    assert cli.main(["compare", *arguments]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.reference
@pytest.mark.parametrize("passed", [True, False])
def test_training_counts_too(capsys, monkeypatch, passed):
    from minivit.compare.training import Parity, Recipe

    class Fake(Parity):
        passed = property(lambda _: outcome)
        loss_error = weight_error = 0.0

    outcome = passed
    import minivit.compare as compare

    monkeypatch.setattr(compare, "train_small", lambda: [Fake(Recipe(), "float32", None, None, {}, {})])
    assert cli.main(["compare", "training"]) == (0 if passed else 1)
    assert ("ok" if passed else "FAILED") in capsys.readouterr().out


def test_without_references_everything_is_skipped(capsys, monkeypatch):
    monkeypatch.setattr(report, "installed_versions", lambda: dict.fromkeys(["PyTorch", "JAX", "Keras", "ONNX"]))
    assert cli.main(["compare", "layers", "training"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("skipped: everything") == 3
    assert "skipped: training (PyTorch)" in printed
    assert set(report.PARTS) | {"training"} == set(PARTS)
