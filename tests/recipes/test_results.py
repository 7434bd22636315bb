"""A result says where it comes from, or it is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from minivit.recipes.results import ResultError, check_result, environment, read_result, write_result
from minivit.version import __version__

ACCURACY = {"test_accuracy": 0.5, "dataset": "digits", "split": "test", "images": 360}


def a_result(tmp_path: Path, **payload: object) -> dict:
    return write_result(tmp_path / "r.json", payload, command="python x.py --seed 3", seed=3, wall_seconds=1.23456)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = a_result(tmp_path, **ACCURACY, loss=np.float32(0.25), curve=np.arange(3), where=Path("a/b"))
    assert read_result(tmp_path / "r.json") == written
    assert written["loss"] == 0.25
    assert written["curve"] == [0, 1, 2]
    assert written["where"] == "a/b"
    assert written["wall_seconds"] == 1.235
    assert written["versions"]["minivit"] == __version__
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_environment_names_the_machine() -> None:
    here = environment(packages=["pytest", "no-such-package"])
    assert here["cores"] >= 1
    assert here["device_name"] == here["cpu"] != ""
    assert here["versions"]["pytest"] == pytest.__version__
    assert "no-such-package" not in here["versions"]
    assert here["commit"] is None or len(here["commit"]) == 40


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"command": None}, "command should be str"),
        ({"command": ""}, "command is empty"),
        ({"commit": "abc123"}, "full hash"),
        ({"seed": "0"}, "seed should be int or list or null"),
        ({"seed": True}, "seed should be"),
        ({"wall_seconds": "fast"}, "wall_seconds should be"),
        ({"versions": {"python": "3.11"}}, "versions should have numpy"),
        ({"test_accuracy": 97.5}, "fraction from 0 to 1"),
        ({"runs": [{"accuracy": 1.5}]}, "runs.accuracy should be a fraction"),
        ({"loss": float("nan")}, "loss is nan"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict, complaint: str) -> None:
    record = a_result(tmp_path, **ACCURACY) | change
    with pytest.raises(ResultError, match=complaint):
        check_result(record)


@pytest.mark.parametrize("name", ["command", "commit", "seed", "device", "versions", "wall_seconds", "finished", "cpu"])
def test_a_missing_field_is_named(tmp_path: Path, name: str) -> None:
    record = a_result(tmp_path)
    del record[name]
    with pytest.raises(ResultError, match=f"{name} is missing"):
        check_result(record)


@pytest.mark.parametrize("name", ["dataset", "split", "images"])
def test_an_accuracy_says_on_what(tmp_path: Path, name: str) -> None:
    payload = {key: value for key, value in ACCURACY.items() if key != name}
    with pytest.raises(ResultError, match=rf"{name} is missing \(the result has test_accuracy\)"):
        a_result(tmp_path, **payload)
    assert not list(tmp_path.iterdir())


def test_a_payload_cannot_replace_what_the_result_says_of_itself(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="commit, seed"):
        a_result(tmp_path, seed=4, commit="0" * 40)


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(ResultError) as caught:
        check_result({})
    assert str(caught.value).count("is missing") == 12
    with pytest.raises(ResultError, match="expected an object"):
        check_result([1, 2])


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("{", encoding="utf-8")
    with pytest.raises(ResultError, match=r"r\.json is not JSON"):
        read_result(tmp_path / "r.json")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    a_result(tmp_path, loss=1.0)
    with pytest.raises(TypeError, match="got set"):
        a_result(tmp_path, loss={1, 2})
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["loss"] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
