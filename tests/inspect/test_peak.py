from types import SimpleNamespace

import numpy as np
import pytest

from minivit.backend import backend_for_device
from minivit.inspect import matrix_product_speed, peak


class Clock:
    """Every look takes a quarter of a second, so a product takes as much."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 0.25
        return self.now


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_the_speed_is_that_of_a_product(monkeypatch, seconds: float) -> None:
    monkeypatch.setattr(peak, "time", Clock())
    assert matrix_product_speed(side=10, seconds=seconds) == 2 * 10**3 / 0.25
    assert matrix_product_speed(dtype=np.float64, side=1, seconds=seconds) == 2 / 0.25


def test_a_real_clock_gives_a_speed() -> None:
    assert matrix_product_speed(side=64, seconds=0.01) > 0


def test_a_device_is_waited_for(monkeypatch) -> None:
    waited = []
    cpu = backend_for_device("cpu")
    device = SimpleNamespace(name="cuda", module=np, from_host=cpu.from_host, wait=lambda: waited.append(1))
    monkeypatch.setattr(peak, "backend_for_device", lambda _: device)
    monkeypatch.setattr(peak, "time", Clock())
    assert matrix_product_speed("cpu", side=4, seconds=0.0) == 2 * 4**3 / 0.25
    assert len(waited) == 2
