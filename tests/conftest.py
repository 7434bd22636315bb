"""What every test shares: Hypothesis profiles, and which marked tests can run on this machine."""

import gc
import importlib.util
import os
import sys
import warnings
from functools import cache
from pathlib import Path

import hypothesis
import pytest

sys.path.append(str(Path(__file__).parent / "standin"))  # the stand-in device array: `import standin`
os.environ.setdefault("MPLBACKEND", "Agg")  # pictures are drawn to files, never to a window

# A noisy machine may stall any example, or the drawing of its inputs. On CI the examples are the same in every run.
untimed = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("local", untimed)
hypothesis.settings.register_profile("ci", untimed, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@cache
def reason_without_gpu() -> str | None:
    """Why tests marked ``gpu`` cannot run here, or None if they can."""
    if importlib.util.find_spec("cupy") is None:
        return "needs CuPy: pip install -e '.[cuda12]' or '.[cuda13]'"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy warns where it finds no CUDA: that is what is asked here
        import cupy

    try:
        if cupy.cuda.runtime.getDeviceCount() > 0:
            return None
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"needs a CUDA device: {error}"
    return "needs a CUDA device: CuPy counts none"


def reason_not_to_run(item: pytest.Item, markers_asked_for: str) -> str | None:
    """Why ``item`` cannot run on this machine, or None if it can."""
    if item.get_closest_marker("gpu") and (reason := reason_without_gpu()):
        return reason
    if reference := item.get_closest_marker("reference"):
        for module in reference.args or ("torch",):
            if importlib.util.find_spec(module) is None:
                return f"compares with {module}, which is not installed: pip install -e '.[reference]'"
    if item.get_closest_marker("network") and "network" not in markers_asked_for:
        return "needs the internet: ask for it with -m network"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked_for = config.getoption("markexpr") or ""
    for item in items:
        if reason := reason_not_to_run(item, asked_for):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def without_collector():
    """The garbage collector is off: what is still alive afterwards is held by a reference, or is a cycle."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
