"""Few labels and many texts, run as a person runs it: once, compared, with paraphrases, on IMDb, with bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minivit.recipes.results import check_result

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "train_uda_text.py"
SMALL = ["--steps", "3", "--length", "12", "--batch-size", "8", "--threads", "1"]


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


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_run_on_docstrings_writes_what_it_was_given_its_result_and_its_pictures(tmp_path: Path) -> None:
    done = run(*SMALL, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    results = read(tmp_path / "results.json")
    check_result(results)
    assert (results["method"], results["dataset"]) == ("uda", "docstrings")
    assert results["labels"] == 10 * len(results["corpus"]["classes"])
    assert "NumPy" in results["corpus"]["source"]
    for name in ("metrics.jsonl", "checkpoint.safetensors", "vocabulary.json", "learning_curve.png", "uda.png"):
        assert (tmp_path / name).stat().st_size > 0
    again = run(*results["command"].split()[2:], "--no-pictures", "--out", str(tmp_path / "again"))
    assert again.returncode == 0, again.stderr
    repeated = read(tmp_path / "again" / "results.json")
    assert repeated["settings"] == results["settings"]
    assert repeated["test_loss"] == results["test_loss"]


def test_a_comparison_trains_three_methods_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    done = run(*SMALL, "--compare", "--seeds", "0", "1", "--no-pictures", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    results = read(tmp_path / "results.json")
    check_result(results)
    assert set(results["summary"]["methods"]) == {"uda", "supervised", "fully_supervised"}
    assert results["corpus"]["words"] > 100
    assert results["trials"] is None, "these are not the settings that were chosen"
    (tmp_path / "supervised-1" / "results.json").unlink()  # as if interrupted in the middle of this one
    done = run("--resume", str(tmp_path), "--no-pictures")
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "results.json")["summary"] == results["summary"]


def test_exported_texts_filled_in_by_a_translator_are_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    done = run("--export-for-translation", str(path))
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert f"{len(entries)} texts are in {path}" in done.stderr
    assert all(entry["text"] and entry["paraphrases"] == [] for entry in entries)
    for entry in entries[::2]:
        entry["paraphrases"] = [" ".join(reversed(entry["text"].split()))]
    path.write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
    for augmentation in ("back_translation", "both"):
        out = tmp_path / augmentation
        settings = ["--augmentation", augmentation, "--paraphrases", str(path), "--no-pictures"]
        done = run(*SMALL, *settings, "--out", str(out))
        assert done.returncode == 0, done.stderr
        assert read(out / "results.json")["corpus"]["paraphrases"]["texts_without"] == len(entries) // 2
    entries[0]["text"] = "Something else."
    path.write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
    done = run(*SMALL, *settings, "--out", str(tmp_path / "wrong"))
    assert done.returncode == 1
    assert "line 1: the text of" in done.stderr


def test_imdb_in_its_layout_is_counted_before_it_is_trained_on(tmp_path: Path) -> None:
    for name in ("train/pos/0_9", "train/neg/0_2", "train/unsup/0_0", "test/pos/0_10", "test/neg/0_1"):
        path = tmp_path / "aclImdb" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"A review of {name}.", encoding="utf-8")
    done = run("--dataset", f"imdb:{tmp_path}", "--out", str(tmp_path / "run"))
    assert done.returncode == 1
    assert "expected 12,500 reviews, found 1" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--labels", "111"], "multiple of the"),
        (["--labels", "110000"], "example(s); ask for at most"),
        (["--unlabelled-ratio", "500"], "unlabelled batches"),
        (["--dataset", "yelp"], "unknown dataset 'yelp'; expected docstrings, imdb, or imdb:FOLDER"),
        (["--dataset", "imdb:/nowhere"], "IMDb reviews are not in /nowhere"),
        (["--augmentation", "both"], "--export-for-translation"),
        (["--augmentation", "both", "--paraphrases", "/nowhere.jsonl"], "/nowhere.jsonl"),
        (["--replacement", "1.5"], "replacement must lie in [0, 1]"),
        (["--temperature", "0"], "temperature"),
        (["--compare", "--no-test"], "--no-test"),
    ],
)
def test_bad_input_is_an_error_of_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run(*arguments, "--out", str(tmp_path / "run"))
    assert done.returncode != 0
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_settings_of_images_are_not_offered() -> None:
    done = run("--help")
    assert done.returncode == 0
    for flag in (
        "--crop",
        "--flip",
        "--mixup",
        "--whitening",
        "--image-size",
        "--rotate-colors",
        "--cutout",
        "--training-images",
        "--preprocessing",
    ):
        assert flag not in done.stdout
    for flag in ("--replacement", "--paraphrases", "--vocabulary", "--compare"):
        assert flag in done.stdout
