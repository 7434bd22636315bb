import importlib.metadata
import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from minivit.backend import mkl
from minivit.cli import doctor
from minivit.cli.doctor import ABSENT, OK, WRONG, Finding


@pytest.fixture(autouse=True)
def empty(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIVIT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def by_name(findings) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_data_that_is_here_is_told_with_its_place(tmp_path) -> None:
    found = by_name(doctor._data(tmp_path))
    assert found["cifar10"].mark == found["cifar100"].mark == found["weights"].mark == ABSENT
    assert found["digits, shapes"].mark == OK
    (tmp_path / "cifar-10-batches-bin").mkdir()
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.npz").write_bytes(b"")
    found = by_name(doctor._data(tmp_path))
    assert found["cifar10"] == Finding(OK, "cifar10", str(tmp_path / "cifar-10-batches-bin"))
    assert found["cifar100"].mark == ABSENT
    assert found["weights"].text == str(tmp_path / "weights" / "model.npz")


def test_extras_say_what_they_lack_and_how_to_get_it(monkeypatch) -> None:
    installed = {"numpy": "2.1.0", "old": "3.8.1", "new": "3.10.0+cu12"}

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    requirements = [
        "numpy>=2",
        "new>=3.9; extra == 'fine'",
        "old>=3.9; extra == 'stale'",
        "gone==1; extra == 'missing'",
        "new>=3.9; extra == 'missing'",
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: requirements)
    monkeypatch.setattr(importlib.metadata, "version", version)
    found = by_name(doctor._extras())
    assert found.keys() == {"fine", "stale", "missing"}
    assert found["fine"] == Finding(OK, "fine", "new")
    assert (found["stale"].mark, found["missing"].mark) == (ABSENT, ABSENT)
    assert "lacks old>=3.9: pip install" in found["stale"].text
    assert "lacks gone==1: pip install" in found["missing"].text
    assert "[missing]" in found["missing"].text


def test_without_an_installation_it_says_so(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    (finding,) = doctor._extras()
    assert finding.mark == WRONG
    assert "pip install" in finding.text


@pytest.mark.parametrize(("driver", "mark"), [(None, ABSENT), ("/usr/bin/nvidia-smi", WRONG)])
def test_a_driver_without_cupy_is_worth_a_hint(monkeypatch, driver: str | None, mark: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: driver)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    (finding,) = doctor._gpu()
    assert finding.mark == mark
    assert ("cuda12" in finding.text) == (mark == WRONG)


def test_cupy_that_does_not_work_is_reported_not_raised(monkeypatch) -> None:
    def broken(_: str) -> None:
        raise RuntimeError("libcuda.so.1: cannot open\nsecond line")

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(doctor, "backend_for_device", broken)
    (finding,) = doctor._gpu()
    assert finding.text == "CuPy is installed but not usable: libcuda.so.1: cannot open"


def test_more_threads_than_cores_is_wrong(monkeypatch) -> None:
    library = {"user_api": "blas", "internal_api": "openblas", "num_threads": 10**6, "version": "0.3"}
    monkeypatch.setattr(doctor, "threadpool_info", lambda: [library])
    blas = by_name(doctor._processor())["BLAS"]
    assert blas.mark == WRONG
    assert "OMP_NUM_THREADS=" in blas.text


def test_the_next_steps_fit_what_was_found() -> None:
    nothing = {"data": [Finding(ABSENT, "cifar10", "")], "extras": [Finding(ABSENT, "examples", "")]}
    steps = list(doctor._next_steps(nothing))
    assert "pip install" in steps[0]
    assert "--dataset digits" in steps[1]
    everything = {
        "computing": [Finding(OK, "cuda:0", ""), Finding(WRONG, "BLAS", "too many threads")],
        "data": [Finding(OK, "cifar10", ""), Finding(OK, "weights", "")],
        "extras": [Finding(OK, "examples", "")],
    }
    steps = list(doctor._next_steps(everything))
    assert steps[0] == "mend BLAS: too many threads"
    assert "python examples/train_cifar.py --device cuda" in steps
    assert any("classify.py" in step for step in steps)


@pytest.mark.parametrize(
    ("variable", "avx512", "mark", "text"),
    [
        ("", True, OK, "2030 computes large matrix products"),
        ("", False, OK, "2030 is not used: it has no AVX-512 code"),
        ("0", True, OK, "2030 is not used: MINIVIT_MKL=0"),
        ("1", False, OK, "2030 computes large matrix products"),
        ("yes", True, WRONG, "expected 0"),
    ],
)
def test_mkl_and_why_it_is_used_or_not(monkeypatch, variable: str, avx512: bool, mark: str, text: str) -> None:
    library = SimpleNamespace(version="2030", has_avx512=avx512)
    monkeypatch.setenv("MINIVIT_MKL", variable)
    for module in (mkl, doctor):
        monkeypatch.setattr(module, "mkl_found", lambda: Path("lib"))
        monkeypatch.setattr(module, "load_mkl", lambda: library)
    monkeypatch.setattr(mkl, "_CHOICE", mkl._Choice())  # none is made yet
    (finding,) = doctor._mkl()
    assert finding.mark == mark
    assert text in finding.text


def test_an_mkl_that_cannot_be_used_has_a_line_and_stops_no_other(monkeypatch) -> None:
    monkeypatch.setenv("MINIVIT_MKL", "yes")
    monkeypatch.setattr(mkl, "_CHOICE", mkl._Choice())
    assert "GFLOP/s" in by_name(doctor._processor())["speed"].text


def test_bfloat16_and_why_there_is_none(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "load_onednn", lambda: SimpleNamespace(version="3.9"))
    (finding,) = doctor._bfloat16()
    assert (finding.mark, "oneDNN 3.9 multiplies" in finding.text) == (OK, True)

    def refuse() -> None:
        raise RuntimeError("this processor has neither")

    monkeypatch.setattr(doctor, "load_onednn", refuse)
    assert next(doctor._bfloat16()) == Finding(ABSENT, "bf16", "this processor has neither")
