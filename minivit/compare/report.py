"""`minivit compare`: all rows, what was left out, the deliberate differences, and with whom it was compared."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from minivit.compare import against_keras
from minivit.compare.differences import Difference, differences
from minivit.compare.distance import Distance
from minivit.compare.layer_rows import layer_rows
from minivit.compare.loss_rows import loss_rows
from minivit.compare.model_rows import full_cases, full_skips, model_rows
from minivit.compare.op_rows import op_rows
from minivit.compare.rows import DTYPES, REFERENCES, Row, Skip
from minivit.compare.weight_rows import weight_rows

PARTS = ("ops", "layers", "losses", "models", "weights", "differences")
MODULES = ("PyTorch", "JAX")  # what whole modules can be compared with
NEVER = (
    Skip("models", "transformers", "compared where its files are read: tests/interop/test_huggingface.py"),
    Skip("models", "ONNX", "minivit writes no ONNX files yet"),
    Skip("models", "timm", "needs torchvision, which has no build for the CPU-only PyTorch; its names are ours"),
    Skip("models", "torchvision", "has no build for the CPU-only PyTorch; the twins in PyTorch carry its names"),
)


@dataclass(frozen=True)
class Report:
    """What was compared.

    Attributes
    ----------
    rows : list of Row
    skips : list of Skip
    differences : list of Difference
    versions : dict of str to (str or None)
        Of each reference; None where it is not installed. Keras counts where JAX is too: it runs on that here.
    """

    rows: list[Row]
    skips: list[Skip]
    differences: list[Difference]
    versions: dict[str, str | None]

    @property
    def passed(self) -> bool:
        """Whether every row is within its tolerance."""
        return all(row.passed for row in self.rows)

    @property
    def compared(self) -> list[str]:
        """The references that took part."""
        took_part = {row.reference for row in self.rows} | {one.reference for one in self.differences}
        return [name for name in self.versions if name in took_part]

    def of(self, group: str) -> list[Row]:
        """The rows of one group."""
        return [row for row in self.rows if row.group == group]

    def record(self) -> dict[str, Any]:
        """For JSON."""
        groups = {"ops": "op", "layers": "layer", "losses": "loss", "models": "model", "weights": "weights"}
        return {
            "references": {name: self.versions[name] for name in self.compared},
            "summary": [summary(rows) for rows in self._bundles()],
            **{part: [row.record() for row in self.of(group)] for part, group in groups.items()},
            "differences": [asdict(one) for one in self.differences],
            "skipped": [asdict(one) for one in self.skips],
            "passed": self.passed,
        }

    def text(self) -> str:
        """All tables, ready to print."""
        sections = []
        if self.rows:
            sections.append(_table([_HEADS, *(_cells(row) for row in self.rows)]))
            sections.append(
                "relative: to the largest entry of the reference; ulps: of entries at least as large as the root of "
                "the mean square.\nGradients with a random cotangent; the largest over all inputs and parameters, and "
                "which of them it was."
            )
        if self.differences:
            heads = ("deliberately different", "reference", "minivit", "there")
            sections.append(_table([heads, *((d.what, d.reference, d.ours, d.theirs) for d in self.differences)]))
        compared = [f"{name} {self.versions[name]}" for name in self.compared]
        lines = [f"compared with: {', '.join(compared) or 'nothing'}"]
        lines += [f"skipped: {one.what} ({one.reference}): {one.reason}" for one in self.skips]
        failed = [row for row in self.rows if not row.passed]
        verdict = f"FAILED: {len(failed)} of {len(self.rows)} rows" if failed else f"all {len(self.rows)} rows agree"
        return "\n\n".join([*sections, "\n".join(lines), verdict])

    def _bundles(self) -> Iterator[list[Row]]:
        keys = dict.fromkeys((row.group, row.reference, row.dtype) for row in self.rows)
        for key in keys:
            yield [row for row in self.rows if (row.group, row.reference, row.dtype) == key]


def compare(
    parts: Sequence[str] = PARTS,
    references: Sequence[str] | None = None,
    full: bool = False,
    photos: int = 8,
    dtypes: Sequence[str] = DTYPES,
) -> Report:
    """Compare minivit with every reference that is installed.

    Parameters
    ----------
    parts : sequence of {"ops", "layers", "losses", "models", "weights", "differences"}
    references : sequence of {"PyTorch", "JAX", "Keras"}, optional
        By default those that are installed.
    full : bool
        Also the forward of large models at full size: minutes, and gigabytes of memory.
    photos : int
        On how many photos published weights are compared.
    dtypes : sequence of {"float32", "float64"}

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        For an unknown part, or a reference that is unknown or not installed.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ValueError(f"there is no {', '.join(unknown)} to compare; there is {', '.join(PARTS)}")
    versions = installed_versions()
    chosen = [name for name, version in versions.items() if version] if references is None else list(references)
    for name in chosen:
        if name not in versions:
            raise ValueError(f"there is no reference {name}; there is {', '.join(versions)}")
        if not versions[name]:
            raise ValueError(f"{name} is not installed: pip install -e '.[reference]'")
    modules = [name for name in MODULES if name in chosen]
    rows: list[Row] = []
    skips = list(NEVER) if "models" in parts else []
    if "ops" in parts:
        rows += op_rows(modules, dtypes)
    if "layers" in parts:
        found, skipped = layer_rows(modules, dtypes)
        rows, skips = rows + found, skips + skipped
    if "losses" in parts:
        rows += loss_rows(dtypes) if "Keras" in chosen else []
    if "models" in parts:
        rows += model_rows(modules, dtypes)
        rows += model_rows(modules, dtypes, full_cases()) if full else []
        skips += [] if full else full_skips()
    if "weights" in parts:
        found, skipped = weight_rows(modules, dtypes, photos)
        rows, skips = rows + found, skips + skipped
    if references is None:
        missing = [name for name in (*MODULES, "Keras") if not versions.get(name)]
        skips += [Skip("everything", name, "not installed: pip install -e '.[reference]'") for name in missing]
    return Report(rows, skips, differences(chosen) if "differences" in parts else [], versions)


def installed_versions() -> dict[str, str | None]:
    """The version of each reference, None where it is not installed. Nothing is imported."""
    found: dict[str, str | None] = {}
    for name, module in REFERENCES.items():
        installed = importlib.util.find_spec(module) is not None
        found[name] = importlib.metadata.version(module) if installed else None
    if not against_keras.installed():
        found["Keras"] = None
    return found


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The largest of each measure over rows of one group, reference and dtype, and where the largest relative ones are.

    Parameters
    ----------
    rows : sequence of Row
    """
    first = rows[0]
    forward = max(rows, key=lambda row: row.forward.relative)
    with_gradients = [(row, row.gradient) for row in rows if row.gradient is not None]
    found: dict[str, Any] = {
        "group": first.group,
        "reference": first.reference,
        "dtype": first.dtype,
        "rows": len(rows),
        "passed": all(row.passed for row in rows),
        "forward": _largest([row.forward for row in rows]),
        "forward_worst": forward.name,
        "gradient": _largest([gradient for _, gradient in with_gradients]),
        "gradient_worst": None,
    }
    if with_gradients:
        found["gradient_worst"] = max(with_gradients, key=lambda pair: pair[1].relative)[0].name
    return found


def _largest(distances: Sequence[Distance]) -> dict[str, float | None]:
    measures = ("absolute", "relative", "ulps")
    return {name: max((getattr(one, name) for one in distances), default=None) for name in measures}


_HEADS = (
    "",
    "reference",
    "dtype",
    "output: absolute",
    "relative",
    "ulps",
    "gradients: absolute",
    "relative",
    "ulps",
    "largest",
    "",
)


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{row.group} {row.name}" + (f" ({row.note})" if row.note else "")
    gradient = _numbers(row.gradient) if row.gradient else ("-", "-", "-")
    verdict = "ok" if row.passed else f"FAILED: more than {row.tolerance:.0e}"
    return (name, row.reference, row.dtype, *_numbers(row.forward), *gradient, row.worst, verdict)


def _numbers(found: Distance) -> tuple[str, str, str]:
    return f"{found.absolute:.1e}", f"{found.relative:.1e}", f"{found.ulps:.0f}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
