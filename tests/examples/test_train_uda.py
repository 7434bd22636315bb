"""Few labels and many images, run as a person runs it: once, as a comparison, interrupted, with bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minivit.recipes.results import check_result

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "train_uda.py"
SMALL = ["--dataset", "digits", "--labels", "40", "--steps", "4", "--threads", "1"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_run_writes_its_split_its_log_its_result_and_its_pictures(tmp_path: Path) -> None:
    done = run(*SMALL, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "40 labelled" in done.stderr
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    check_result(results)
    assert results["method"] == "uda"
    assert results["command"].startswith("python examples/train_uda.py --dataset digits")
    assert results["command"].endswith("--steps 4 --threads 1")
    split = json.loads((tmp_path / "split.json").read_text(encoding="utf-8"))
    assert len(split["labelled"]) == 40
    for name in ("metrics.jsonl", "checkpoint.safetensors", "learning_curve.png", "confusion.png", "uda.png"):
        assert (tmp_path / name).stat().st_size > 0


def test_the_wide_resnet_of_the_paper_trains_and_resumes(tmp_path: Path) -> None:
    done = run(
        *SMALL, "--model", "wrn_28_2_cifar", "--unlabelled-ratio", "1", "--batch-size", "8", "--out", str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    check_result(results)
    assert results["model"]["depth"] == 28
    assert (tmp_path / "class_activation.png").stat().st_size > 0
    (tmp_path / "results.json").unlink()
    done = run("--resume", str(tmp_path), "--no-pictures")
    assert done.returncode == 0, done.stderr
    again = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert again["test_loss"] == results["test_loss"]


def test_the_command_in_a_result_repeats_it(tmp_path: Path) -> None:
    settings = ["--confidence", "0.5", "--no-stop-gradient", "--flip", "True", "--seed", "3", "--no-pictures"]
    first = run(*SMALL, *settings, "--out", str(tmp_path / "first"))
    assert first.returncode == 0, first.stderr
    before = json.loads((tmp_path / "first" / "results.json").read_text(encoding="utf-8"))
    again = run(*before["command"].split()[2:], "--no-pictures", "--out", str(tmp_path / "again"))
    assert again.returncode == 0, again.stderr
    after = json.loads((tmp_path / "again" / "results.json").read_text(encoding="utf-8"))
    assert after["settings"] == before["settings"]
    assert after["test_loss"] == before["test_loss"]


def test_a_comparison_trains_three_methods_with_as_many_steps_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out = tmp_path / "study"
    done = run(*SMALL, "--compare", "--seeds", "0", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    check_result(results)
    methods = results["summary"]["methods"]
    assert set(methods) == {"uda", "supervised", "fully_supervised"}
    assert results["seed"] == [0, 1]
    folders = [out / f"{method}-{seed}" for method in methods for seed in (0, 1)]
    found = [json.loads((folder / "results.json").read_text(encoding="utf-8")) for folder in folders]
    assert {result["steps"] for result in found} == {4}
    assert (out / "comparison.png").stat().st_size > 0
    assert "| UDA" in (out / "comparison.md").read_text(encoding="utf-8")
    assert results["trials"] is not None

    (out / "supervised-1" / "results.json").unlink()  # as if interrupted in the middle of this one
    stamps = {
        folder: (folder / "results.json").stat().st_mtime_ns for folder in folders if folder.name != "supervised-1"
    }
    done = run("--resume", str(out), "--no-pictures")
    assert done.returncode == 0, done.stderr
    again = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert again["summary"] == results["summary"]
    for folder, stamp in stamps.items():
        assert (folder / "results.json").stat().st_mtime_ns == stamp


def test_a_study_makes_anew_what_a_folder_holds_with_other_settings(tmp_path: Path) -> None:
    arguments = [*SMALL, "--compare", "--seeds", "0", "--no-pictures", "--out", str(tmp_path)]
    assert run(*arguments).returncode == 0
    (tmp_path / "study.json").unlink()
    changed = run(*arguments, "--learning-rate", "0.05")
    assert changed.returncode == 0
    study = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    study["config"]["confidence"] = 0.0
    (tmp_path / "study.json").write_text(json.dumps(study), encoding="utf-8")
    again = run("--resume", str(tmp_path), "--no-pictures")
    assert again.returncode == 0, again.stderr
    assert "holds a run with other settings" in again.stderr
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert results["settings"]["confidence"] == 0.0
    assert results["settings"]["learning_rate"] == 0.05
    assert results["trials"] is None


def test_an_ablation_can_be_of_a_few_variants(tmp_path: Path) -> None:
    done = run(*SMALL, "--ablate", "--variants", "TSA exp", "--seeds", "0", "--no-pictures", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(results["summary"]["methods"]) == ["supervised", "uda", "TSA exp"]
    assert results["command"].endswith("--ablate --variants 'TSA exp' --seeds 0")


@pytest.mark.slow
def test_an_ablation_compares_every_variant_with_the_labels_alone(tmp_path: Path) -> None:
    done = run(*SMALL, "--ablate", "--seeds", "0", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    methods = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["summary"]["methods"]
    assert {"uda", "without stop-gradient", "crop and flip only", "supervised"} <= set(methods)
    over = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["summary"]["uda_over"]
    assert set(over) == set(methods) - {"uda"}
    assert (tmp_path / "ablation.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--labels", "4000"], "class '8' has 104 example(s)"),
        (["--labels", "40", "--unlabelled-ratio", "500"], "unlabelled batches"),
        (["--labels", "40", "--temperature", "0"], "temperature"),
        (["--labels", "40", "--confidence", "2"], "confidence"),
        (["--labels", "40", "--compare", "--no-test"], "--no-test"),
        (["--labels", "40", "--compare", "--ablate"], "only one"),
        (["--labels", "40", "--compare", "--seeds", "0", "0"], "each of them once"),
        (["--labels", "40", "--mixup", "0.2"], "mixup"),
        (["--labels", "40", "--ablate", "--variants", "without luck"], "there is uda, without stop-gradient"),
    ],
)
def test_bad_input_is_an_error_of_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run("--dataset", "digits", *arguments, "--out", str(tmp_path / "run"))
    assert done.returncode != 0
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
