import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--model", "vit_micro_cifar", "--batch", "8", "--steps", "2", "--warmup", "1", "--rounds", "1", "--json"]


def run(*arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "benchmark.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("mode", ["train", "forward"])
def test_the_last_line_is_one_json_object(mode: str) -> None:
    result = run(*SMALL, "--mode", mode)
    assert {"ms", "min_ms", "img_s", "gflops", "rss_mb", "losses", "gemm_share"} <= result.keys()
    assert 0.0 < result["min_ms"] <= result["ms"]
    assert result["img_s"] == pytest.approx(8 / (result["ms"] / 1e3))


@pytest.mark.reference
def test_against_pytorch_both_see_the_same_losses(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    result = run(*SMALL, "--against", "torch", "--out", str(out))
    assert len(result["ratios"]) == 1
    # The rival does not warm its learning rate up as our step does, so only the first loss is of the same weights.
    assert result["minivit"]["losses"][0] == pytest.approx(result["torch"]["losses"][0], abs=1e-5)
    assert json.loads(out.read_text())["speed_over_torch"] == result["speed_over_torch"]
