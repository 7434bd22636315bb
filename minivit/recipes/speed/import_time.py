"""How long `import minivit` takes, beside `import numpy`, without which nothing here works."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass

_PROGRAM = """
import time
begin = time.perf_counter()
import numpy
middle = time.perf_counter()
import minivit
print([middle - begin, time.perf_counter() - middle])
"""


@dataclass(frozen=True)
class ImportSeconds:
    """One entry of each list for each fresh process.

    Attributes
    ----------
    numpy : list of float
        Seconds that ``import numpy`` took.
    minivit : list of float
        Seconds that ``import minivit`` took after it.
    """

    numpy: list[float]
    minivit: list[float]

    @property
    def summary(self) -> dict[str, float]:
        """Median and minimum of each, in milliseconds: numbers for a result file."""
        return {
            f"{name}_{measure}_ms": round(1e3 * of(values), 1)
            for name, values in (("numpy", self.numpy), ("minivit_after_numpy", self.minivit))
            for measure, of in (("median", statistics.median), ("min", min))
        }


def import_seconds(rounds: int = 11) -> ImportSeconds:
    """Import numpy and then minivit in fresh processes, one after another.

    Modules are compiled before, as an installation leaves them: the first process, which compiles them into a folder of
    their own, is not counted.

    Parameters
    ----------
    rounds : int

    Raises
    ------
    ValueError
        If there is not at least one round.
    subprocess.CalledProcessError
        If an import fails.
    """
    if rounds < 1:
        raise ValueError(f"import_seconds: expected at least one round, got {rounds}")
    with tempfile.TemporaryDirectory() as compiled:
        times = [_in_a_fresh_process(compiled) for _ in range(rounds + 1)][1:]
    return ImportSeconds([numpy for numpy, _ in times], [minivit for _, minivit in times])


def _in_a_fresh_process(compiled: str) -> tuple[float, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = compiled
    run = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True)
    numpy, minivit = json.loads(run.stdout)
    return numpy, minivit
