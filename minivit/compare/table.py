"""The table of `minivit check`: every op against everything that knows better."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from minivit.autograd import Proof, Rung
from minivit.backend import available_devices
from minivit.compare.cases import FRAMEWORKS, Case, cases

COLUMNS = {  # heading: number of the rung, and for number 11 its name
    "NumPy": 1,
    "composed": 2,
    "complex step": 3,
    "differences": 4,
    "2nd order": 5,
    "kernel": 9,
    "GPU": 10,
}

SLOW = {"JAX"}  # compiles every case, so in the table it takes part in the first case of each op; in the tests, in all


@dataclass(frozen=True)
class CheckRow:
    """All cases of one op.

    Attributes
    ----------
    op : str
    errors : dict of str to (float or None)
        For each column the largest relative error of any case; None where it does not apply.
    failed : tuple of str
        Columns (or names of other rungs) that failed.
    proofs : tuple of Proof
        One a case.
    """

    op: str
    errors: dict[str, float | None]
    failed: tuple[str, ...]
    proofs: tuple[Proof, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failed


def check_table(frameworks: Sequence[str] | None = None, chosen: Sequence[Case] | None = None) -> list[CheckRow]:
    """Climb the ladder of proofs for every op.

    Parameters
    ----------
    frameworks : sequence of {"PyTorch", "JAX"}, optional
        What to compare with; by default what is installed.
    chosen : sequence of Case, optional
        All by default.

    Returns
    -------
    list of CheckRow
        One an op, in alphabetical order.
    """
    names = installed_frameworks() if frameworks is None else list(frameworks)
    proofs: dict[str, list[Proof]] = {}
    for case in cases() if chosen is None else chosen:
        others = [name for name in names if name not in SLOW or case.op not in proofs]
        proofs.setdefault(case.op, []).append(case.prove(others, raise_on_failure=False))
    return [_row(op, proofs[op]) for op in sorted(proofs)]


def run_checks(stream: TextIO | None = None) -> bool:
    """Print the table of all ops.

    Parameters
    ----------
    stream : file, optional
        Where to print; standard output by default.

    Returns
    -------
    bool
        Whether every op passed.
    """
    out = sys.stdout if stream is None else stream
    rows = check_table()
    frameworks = installed_frameworks()
    columns = [name for name in (*COLUMNS, *frameworks) if name != "GPU" or len(available_devices()) > 1]
    width = max(len(row.op) for row in rows)
    print(f"{'op':{width}s}  " + "  ".join(f"{name:>12s}" for name in columns), file=out)
    for row in rows:
        cells = [_cell(row, name) for name in columns]
        others = [name for name in row.failed if name not in columns]
        verdict = "ok" if row.passed else "FAILED" + "".join(f" {name}" for name in others)
        print(f"{row.op:{width}s}  " + "  ".join(f"{cell:>12s}" for cell in cells) + f"  {verdict}", file=out)
    failed = [row for row in rows if not row.passed]
    missing = [name for name in FRAMEWORKS if name not in frameworks]
    print(
        f"\n{sum(len(row.proofs) for row in rows)} cases of {len(rows)} ops: largest error relative to the largest "
        "entry, with a random cotangent,\nin float64 (kernels: also in float32, whichever came closer to its limit); "
        "'-' where there is nothing to compare.\nNot shown but checked: linear in the cotangent, dtype and shape kept, "
        "inputs unchanged, nothing left alive." + (f"\nNot installed: {', '.join(missing)}." if missing else ""),
        file=out,
    )
    for row in failed:
        for proof in row.proofs:
            if not proof.passed:
                print(f"\n{proof}", file=out)
    verdict = f"failed: {', '.join(row.op for row in failed)}" if failed else "all passed"
    print(f"\n{verdict}", file=out)
    return not failed


def installed_frameworks() -> list[str]:
    """Names of the frameworks that can be compared with here."""
    return [name for name, module in FRAMEWORKS.items() if module.installed()]


def _row(op: str, proofs: list[Proof]) -> CheckRow:
    rungs = [rung for proof in proofs for rung in proof.rungs]
    errors: dict[str, float | None] = {}
    for rung in rungs:
        name = _column(rung)
        before = errors.get(name)
        errors[name] = rung.error if before is None else before if rung.error is None else max(before, rung.error)
    failed = tuple(dict.fromkeys(_column(rung) for rung in rungs if rung.passed is False))
    return CheckRow(op, errors, failed, tuple(proofs))


def _column(rung: Rung) -> str:
    return next((name for name, number in COLUMNS.items() if number == rung.number), rung.name)


def _cell(row: CheckRow, column: str) -> str:
    if column in row.failed:
        return "FAILED"
    error = row.errors.get(column)
    return "-" if error is None else f"{error:.1e}"
