import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minivit.compare
from minivit import cli, interop
from minivit.models import VisionTransformer
from minivit.version import __version__

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "minivit", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        encoding="utf-8",
    )


def test_without_a_command_it_says_what_to_do_next(capsys) -> None:
    assert cli.main([]) == 0
    printed = capsys.readouterr().out
    assert "five things to do next" in printed
    for line in ("python -m minivit doctor", "python -m minivit check", "minivit summary", "examples/train_cifar.py"):
        assert line in printed


def test_version(capsys) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"minivit {__version__}\n"


def test_an_unknown_command_is_an_error(capsys) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["trian"])
    assert left.value.code == 2
    assert "trian" in capsys.readouterr().err


@pytest.mark.parametrize("passed", [True, False])
def test_check_prints_the_table_and_fails_if_an_op_fails(capsys, monkeypatch, passed: bool) -> None:
    def table(stream) -> bool:
        print("the table", file=stream)
        return passed

    monkeypatch.setattr(minivit.compare, "run_checks", table)
    assert cli.main(["check"]) == (0 if passed else 1)
    assert capsys.readouterr().out == "the table\n"


def test_summary_of_a_named_model_with_other_settings(capsys) -> None:
    assert cli.main(["summary", "vit_micro_cifar", "--image-size", "16", "--num-classes", "3"]) == 0
    printed = capsys.readouterr().out
    assert "(1, 3)" in printed
    assert "input (1, 3, 16, 16):" in printed
    assert "6 × TransformerBlock, each:" in printed
    assert cli.main(["summary", "vit_micro_cifar", "--expand", "--batch-size", "2", "--checkpoint-blocks"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("TransformerBlock") == 6
    assert "(2, 10)" in printed


def test_summary_of_a_resnet_at_another_size(capsys) -> None:
    assert cli.main(["summary", "resnet18_cifar", "--image-size", "16"]) == 0
    at_16 = capsys.readouterr().out
    assert "input (1, 3, 16, 16): 11,173,962 parameters" in at_16
    assert "downsample.0" in at_16
    assert cli.main(["summary", "resnet18", "--patch-size", "16"]) == 1
    assert "resnet18 is a ResNet, which has no patch_size" in capsys.readouterr().err


def test_summary_of_a_file(capsys, tmp_path) -> None:
    model = VisionTransformer(image_size=8, patch_size=4, dim=12, depth=1, heads=3, mlp_dim=8, num_classes=4)
    interop.save(model, tmp_path / "mine.safetensors")
    assert cli.main(["summary", str(tmp_path / "mine.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert "mine.safetensors" in printed
    assert f"{model.count_parameters():,} parameters" in printed
    assert cli.main(["summary", str(tmp_path / "mine.safetensors"), "--num-classes", "2"]) == 1
    assert "leave out num_classes" in capsys.readouterr().err
    interop.save(model, tmp_path / "google.npz", format="google")
    assert cli.main(["summary", str(tmp_path / "google.npz")]) == 0
    assert "weights of format google: gelu tanh (convention)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vit_tny_cifar"], "did you mean vit_tiny_cifar"),
        (["vit_tiny_cifar", "--image-size", "33"], "patch_size 4 does not divide image_size 33"),
        (["vit_tiny_cifar", "--batch-size", "0"], "batch-size"),
        (["nowhere.safetensors"], "no file of weights"),
    ],
)
def test_summary_says_what_is_wrong(capsys, arguments: list[str], message: str) -> None:
    assert cli.main(["summary", *arguments]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_terminal_without_box_characters_gets_others() -> None:
    plain = run("summary", "vit_testing", PYTHONIOENCODING="ascii")
    assert plain.returncode == 0
    assert "+ patch_embed" in plain.stdout
    drawn = run("summary", "vit_testing")
    assert "├ patch_embed" in drawn.stdout
    assert len(plain.stdout.splitlines()) == len(drawn.stdout.splitlines())


def test_a_reader_that_leaves_early_is_no_crash() -> None:
    command = [sys.executable, "-m", "minivit", "summary", "vit_testing"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_core_install_is_enough() -> None:
    """Doctor, help and summary run where only the core dependencies can be imported."""
    block = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'matplotlib', 'PIL', 'tqdm', 'tyro', 'torch', 'jax', 'mpmath'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from minivit.cli import main\n"
        "sys.exit(main(['summary', 'vit_testing']) or main(['doctor']) or main([]))\n"
    )
    result = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "what to do next" in result.stdout


def test_doctor_reports_every_section(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MINIVIT_DATA", str(tmp_path))
    assert cli.main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for section in ("versions", "computing", "data", "extras", "what to do next"):
        assert f"\n{section}\n" in f"\n{printed}"
    assert np.__version__ in printed
    assert "BLAS" in printed
    assert "GFLOP/s" in printed
    assert str(tmp_path) in printed
