"""Whether MKL is used: by the environment, the processor, and what is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from minivit.backend import load_mkl, mkl, mkl_found, mkl_in_use, use_mkl
from minivit.backend.cpu.threads import Workers
from minivit.backend.erf import erf

needs_mkl = pytest.mark.skipif(mkl_found() is None, reason="needs MKL: pip install 'minivit[mkl]'")


@pytest.fixture
def decide(monkeypatch, tmp_path):
    """decide(variable, library) -> what is used with that value of MINIVIT_MKL; None stands for not installed."""

    def check(variable, library):
        def load():
            if isinstance(library, str):
                raise RuntimeError(library)
            return library

        monkeypatch.setenv(mkl.VARIABLE, variable)
        monkeypatch.setattr(mkl, "mkl_found", lambda: None if library is None else tmp_path)
        if library is not None:
            monkeypatch.setattr(mkl, "load_mkl", load)
        else:
            load_mkl.cache_clear()
        with use_mkl(None):
            return mkl_in_use()

    yield check
    load_mkl.cache_clear()


FAST, SLOW = SimpleNamespace(has_avx512=True), SimpleNamespace(has_avx512=False)


@pytest.mark.parametrize(
    ("variable", "library", "used"),
    [
        ("", FAST, True),
        ("", SLOW, False),
        ("", None, False),
        ("", "broken", False),
        ("1", FAST, True),
        ("1", SLOW, True),
        ("0", FAST, False),
        ("0", "broken", False),
        ("0", None, False),
    ],
)
def test_choice(decide, variable, library, used):
    assert decide(variable, library) is (library if used else None)


def test_asked_for_and_missing(decide):
    with pytest.raises(RuntimeError, match=r'pip install "minivit\[mkl\]".*MINIVIT_MKL=0'):
        decide("1", None)
    with pytest.raises(RuntimeError, match="broken"):
        decide("1", "broken")


def test_a_library_that_is_none_says_so(monkeypatch, tmp_path):
    broken = tmp_path / "libmkl_rt.so.9"
    broken.write_text("not a library")
    monkeypatch.setattr(mkl, "mkl_found", lambda: broken)
    load_mkl.cache_clear()
    with pytest.raises(RuntimeError, match=r"MKL cannot be used: .*libmkl_rt.*MINIVIT_MKL=0"):
        load_mkl()


@pytest.mark.parametrize("value", ["yes", "2", "true"])
def test_other_values_are_refused(decide, value):
    with pytest.raises(ValueError, match=f"MINIVIT_MKL: expected 0.*got '{value}'"):
        decide(value, None)


def test_the_innermost_context_counts_and_leaves_what_was(monkeypatch):
    monkeypatch.setattr(mkl, "load_mkl", lambda: SLOW)
    with use_mkl(False):
        with use_mkl(True):
            assert mkl_in_use() is SLOW
        assert mkl_in_use() is None


def test_workers_that_ask_at_the_same_moment_load_it_once(monkeypatch):
    calls = []

    def slow(asked):
        calls.append(asked)
        time.sleep(0.05)
        return f"library {len(calls)}"

    monkeypatch.setattr(mkl, "_choose", slow)
    monkeypatch.setattr(mkl, "_CHOICE", mkl._Choice())
    monkeypatch.setenv(mkl.VARIABLE, "1")
    with Workers(3) as workers:
        assert workers.run(lambda worker: mkl_in_use()) == ["library 1"] * 3
    assert calls == [True]


def test_without_it_nothing_is_loaded():
    program = """
import sys, numpy as np, minivit as mv
from minivit.backend import mkl_in_use
mv.ops.gelu(mv.ops.linear(mv.tensor(np.ones((300, 300))), np.ones((300, 300)), np.ones(300)))
assert mkl_in_use() is None
assert "minivit.backend.mkl_library" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "MINIVIT_MKL": "0"})


@needs_mkl
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf(rng, dtype):
    x = np.concatenate([np.linspace(-7, 7, 10_001), rng.standard_normal(1001)]).astype(dtype)
    y = x.copy()
    load_mkl().erf(y)
    expected = erf(x.astype(np.float64))
    assert np.max(np.abs(y - expected) / np.spacing(np.abs(expected).astype(dtype))) <= 2
    special = np.array([0.0, np.inf, -np.inf, np.nan, np.finfo(dtype).max], dtype)
    load_mkl().erf(special)
    np.testing.assert_array_equal(special, np.array([0, 1, -1, np.nan, 1], dtype))
