"""Finding the kernel of an op: the faster twin of its text for one array library."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from minivit.backend.kernel import Kernel


class _Switch(threading.local):
    disabled = False


_SWITCH = _Switch()


@contextmanager
def kernels_disabled() -> Iterator[None]:
    """Run the text of every op, never a kernel, in this thread: what a kernel is compared with."""
    before = _SWITCH.disabled
    _SWITCH.disabled = True
    try:
        yield
    finally:
        _SWITCH.disabled = before


@cache
def _cpu_kernels() -> dict[str, Kernel]:
    from minivit.backend.cpu import KERNELS

    return KERNELS


@cache
def _cuda_kernels() -> dict[str, Kernel]:
    from minivit.backend.cuda import KERNELS

    return KERNELS


_KERNELS_OF: dict[str, Callable[[], dict[str, Kernel]]] = {"cpu": _cpu_kernels, "cuda": _cuda_kernels}
"""By the family of devices; the kernels of one are imported when they are first looked for."""


def find_kernel(name: str, device_family: str, arrays: list[Any], attributes: dict[str, Any]) -> Kernel | None:
    """The kernel for an op on these arrays, or None where its text has to do."""
    kernels_of_family = _KERNELS_OF.get(device_family)
    if kernels_of_family is None or _SWITCH.disabled:
        return None
    kernel = kernels_of_family().get(name)
    if kernel is None or not kernel.accepts(*arrays, **attributes):
        return None
    return kernel


def find_adamw(device_family: str) -> Callable[..., None] | None:
    """The fused step of AdamW, or None where its text has to do."""
    if device_family != "cpu" or _SWITCH.disabled:
        return None
    from minivit.backend.cpu.adamw import adamw

    return adamw
