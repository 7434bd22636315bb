"""Measure every row of the page on speed, one after the other, each by a call of examples/benchmark.py.

    python examples/benchmark_suite.py

    python examples/benchmark_suite.py --rows mlp uda --rounds 3

It writes runs/speed/speed_ROW.json. A row that was measured there at the same commit is skipped, so that a suite which
was interrupted goes on. Nothing else should run on the machine meanwhile. The files belong into docs/results/; copy
them there at the end, since a file that is changed earlier counts as an uncommitted change for those after it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from minivit.backend import mkl_found
from minivit.recipes.results import environment, read_result

ROWS = {
    "vit_tiny_cifar": "--mode train --model vit_tiny_cifar --batch 128 --against torch",
    "vit_tiny_cifar_mkl": "--mode train --model vit_tiny_cifar --batch 128 --mkl --against torch",
    "cifar_preset": "--mode run --against torch",
    "uda": "--mode uda --batch 64 --unlabelled 448 --against torch",
    "vit_base_batch8": "--mode forward --model vit_base_patch16_224 --batch 8 --against torch",
    "vit_base_batch1": "--mode forward --model vit_base_patch16_224 --batch 1 --against torch",
    "resnet18_cifar": "--mode train --model resnet18_cifar --batch 128 --optimizer sgd --against torch",
    "mlp": "--mode mlp --against torch",
    "vit_tiny_cifar_bf16": "--mode train --model vit_tiny_cifar --batch 128 --precision bf16 --against torch",
    "prefetch": "--mode prefetch --warmup 3",
    "augment": "--mode augment",
    "import": "--mode import",
}
BENCHMARK = Path(__file__).resolve().parent / "benchmark.py"


@dataclass
class Options:
    """Measure rows."""

    rows: list[str] = field(default_factory=lambda: list(ROWS))
    """Which ones, in this order."""
    rounds: int = 5
    """Rounds of each."""
    out_dir: Path = Path("runs/speed")
    """Folder of the results."""

    def __post_init__(self) -> None:
        unknown = [row for row in self.rows if row not in ROWS]
        if unknown:
            raise SystemExit(f"error: no row {', '.join(unknown)}; there is {', '.join(ROWS)}")


def measured(path: Path, commit: str | None) -> bool:
    """Whether a row's file holds a result of this commit."""
    return commit is not None and path.exists() and read_result(path)["commit"] == commit


def why_no_bf16() -> str:
    """Why nothing multiplies in bfloat16 here; empty if something does.

    A process of its own looks: a library that this one has loaded, too, would count as half a contender's memory.
    """
    program = "from minivit.backend.onednn import load_onednn\ntry: load_onednn()\nexcept RuntimeError as e: print(e)"
    return subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def main(options: Options) -> int:
    """Measure what is missing; 1 if a row failed, after all others."""
    commit, failed = environment()["commit"], []
    for number, row in enumerate(options.rows, 1):
        path, begun = options.out_dir / f"speed_{row}.json", time.monotonic()
        title = f"[{number}/{len(options.rows)}] {row}"
        if "--mkl" in ROWS[row] and mkl_found() is None:
            print(f"{title}: left out, MKL is not installed (extra mkl)", flush=True)
            continue
        if "--precision bf16" in ROWS[row] and (reason := why_no_bf16()):
            print(f"{title}: left out, {reason}", flush=True)
            continue
        if measured(path, commit):
            print(f"{title}: {path} is of this commit", flush=True)
            continue
        print(title, flush=True)
        arguments = [*ROWS[row].split(), "--rounds", str(options.rounds), "--out", str(path)]
        if subprocess.run([sys.executable, str(BENCHMARK), *arguments], check=False).returncode:
            failed.append(row)
        print(f"    {time.monotonic() - begun:.0f} s", flush=True)
    if failed:
        print(f"error: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
