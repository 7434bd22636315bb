"""Every op has cases; every case climbs the ladder, here also against PyTorch and JAX where they are installed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minivit import ops
from minivit.compare import against_jax, against_numpy, against_torch, cases
from minivit.compare.cases import CALLS, WITHOUT_CASES, spread

EVERY = cases()
ROOT = Path(__file__).resolve().parents[2]


def test_every_op_has_a_case():
    assert {case.op for case in EVERY} == set(ops.__all__) - WITHOUT_CASES
    assert set(ops.__all__) >= WITHOUT_CASES
    assert set(CALLS) <= set(ops.__all__)


def test_every_op_has_a_transcription():
    assert not [case.op for case in EVERY if not hasattr(against_numpy, case.op)]


def test_cases_are_the_same_numbers_each_time():
    for first, second in zip(EVERY, cases(), strict=True):
        assert str(first) == str(second)
        assert all(np.array_equal(a, b) for a, b in zip(first.inputs, second.inputs, strict=True) if a is not None)


def test_cases_are_told_apart_by_their_names():
    assert [case.op for case in cases("gelu")] == ["gelu"] * 2
    with pytest.raises(ValueError, match=r"no cases for \['gelo'\]"):
        cases("gelu", "gelo")


def test_spread_keeps_away_from_kinks():
    values = np.sort(spread(np.random.default_rng(0), 3, 4).ravel())
    assert np.diff(values).min() > 0.1
    assert np.abs(values).min() > 0.05


@pytest.mark.reference
@pytest.mark.parametrize("case", EVERY, ids=str)
def test_against_pytorch(case):
    proof = case.prove(["PyTorch"])
    assert next(rung for rung in proof.rungs if rung.name == "PyTorch").passed


@pytest.mark.reference("jax")
@pytest.mark.parametrize("case", EVERY, ids=str)
def test_against_jax(case):
    proof = case.prove(["JAX"])
    assert next(rung for rung in proof.rungs if rung.name == "JAX").passed


@pytest.mark.reference
def test_pytorch_has_every_op():
    assert set(against_torch.functions()) == {case.op for case in EVERY}


@pytest.mark.reference("jax")
def test_jax_has_every_op():
    assert set(against_jax.functions()) == {case.op for case in EVERY}


@pytest.mark.gpu
@pytest.mark.parametrize("case", EVERY, ids=str)
def test_on_the_gpu(case):
    proof = case.prove()
    assert next(rung for rung in proof.rungs if rung.number == 10).passed


def test_frameworks_are_looked_for_without_being_imported():
    program = (
        "import sys, minivit.compare as c; c.check_table(frameworks=[], chosen=c.cases('exp'));"
        "c.table.installed_frameworks(); print(sorted({'torch', 'jax'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
