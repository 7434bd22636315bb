import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from minivit.backend.onednn import load_onednn
from minivit.recipes.results import read_result, write_result

ROOT = Path(__file__).resolve().parents[2]


def load(name, monkeypatch):
    specification = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, name, module)  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def suite(monkeypatch):
    return load("benchmark_suite", monkeypatch)


@pytest.fixture
def calls(suite, monkeypatch):
    """What would be run, in place of running it; each writes its file but for the row `uda`, which fails."""
    made, real = [], subprocess.run

    def run(command, **options):
        if command[0] == "git":  # which a result asks for its commit
            return real(command, **options)
        row = Path(command[-1]).stem.removeprefix("speed_")
        made.append((row, command))
        if row != "uda":
            write_result(command[-1], {"row": row}, command="python x.py", seed=0, wall_seconds=1.0)
        return subprocess.CompletedProcess(command, int(row == "uda"))

    monkeypatch.setattr(suite.subprocess, "run", run)
    monkeypatch.setattr(suite, "environment", lambda: {"commit": "a" * 40})
    monkeypatch.setattr(suite, "mkl_found", lambda: Path("libmkl_rt.so.2"))
    monkeypatch.setattr(suite, "why_no_bf16", lambda: "")
    return made


def test_every_row_is_measured_by_the_benchmark_and_its_options(suite, calls, tmp_path):
    assert suite.main(suite.Options(rounds=7, out_dir=tmp_path)) == 1  # one of them fails, the others are made
    assert [row for row, _ in calls] == list(suite.ROWS)
    for row, command in calls:
        assert command[1] == str(ROOT / "examples" / "benchmark.py")
        assert command[2:] == [*suite.ROWS[row].split(), "--rounds", "7", "--out", str(tmp_path / f"speed_{row}.json")]


def test_what_was_measured_at_this_commit_is_skipped(suite, calls, tmp_path, monkeypatch):
    options = suite.Options(rows=["mlp", "augment"], out_dir=tmp_path)
    assert suite.main(options) == 0
    commit = read_result(tmp_path / "speed_mlp.json")["commit"]
    monkeypatch.setattr(suite, "environment", lambda: {"commit": commit})
    (tmp_path / "speed_augment.json").unlink()
    suite.main(options)
    assert [row for row, _ in calls] == ["mlp", "augment", "augment"] if commit else [*("mlp", "augment")] * 2


def test_without_mkl_its_row_is_left_out(suite, calls, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(suite, "mkl_found", lambda: None)
    assert suite.main(suite.Options(rows=["vit_tiny_cifar_mkl", "mlp"], out_dir=tmp_path)) == 0
    assert [row for row, _ in calls] == ["mlp"]
    assert "left out, MKL is not installed" in capsys.readouterr().out


def test_where_there_is_no_bfloat16_its_row_is_left_out(suite, calls, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(suite, "why_no_bf16", lambda: "this processor has none")
    assert suite.main(suite.Options(rows=["vit_tiny_cifar_bf16", "mlp"], out_dir=tmp_path)) == 0
    assert [row for row, _ in calls] == ["mlp"]
    assert "left out, this processor has none" in capsys.readouterr().out


def test_whether_there_is_bfloat16_is_asked_without_loading_it_here(suite):
    reason = ""
    try:
        load_onednn()
    except RuntimeError as error:
        reason = str(error)
    assert suite.why_no_bf16() == reason


def test_a_row_that_there_is_not_is_refused(suite):
    with pytest.raises(SystemExit, match="no row vit; there is vit_tiny_cifar"):
        suite.Options(rows=["vit"])


def test_the_benchmark_takes_the_options_of_every_row(suite, monkeypatch):
    benchmark = load("benchmark", monkeypatch)
    for arguments in suite.ROWS.values():
        options = tyro.cli(benchmark.Options, args=arguments.split())
        if options.against != "none":
            assert benchmark.work_of(options).told()["mode"] == options.mode
