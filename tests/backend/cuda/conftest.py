"""How a CUDA kernel is tested without a GPU: the same source, compiled for the CPU, behind the stand-in's arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cuda_on_cpu
import pytest
import standin

from minivit.backend import kernels
from minivit.backend.cuda import KERNELS, launch


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cuda_on_cpu")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type], type]]:
    """Make a class the stand-in's `RawKernel`, and let its arrays find the CUDA kernels."""

    def install(raw_kernel: type) -> type:
        launch.cuda_function.cache_clear()
        monkeypatch.setitem(vars(standin.xp), "RawKernel", raw_kernel)
        monkeypatch.setitem(kernels._KERNELS_OF, "standin", lambda: KERNELS)
        return raw_kernel

    yield install
    launch.cuda_function.cache_clear()


@pytest.fixture
def on_cpu(install, build_folder) -> type[cuda_on_cpu.RawKernel]:
    """CUDA kernels run on the stand-in."""
    if cuda_on_cpu.COMPILER is None:
        pytest.skip("runs CUDA sources on the CPU, which needs g++")
    return install(cuda_on_cpu.in_folder(build_folder))


@pytest.fixture
def recorded(install) -> type[cuda_on_cpu.RawKernel]:
    """CUDA kernels are called on the stand-in, and compute nothing."""
    return install(cuda_on_cpu.recorder())


@pytest.fixture(params=["standin", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """A device that runs CUDA kernels: emulated, or a GPU where there is one."""
    if request.param == "standin":
        request.getfixturevalue("on_cpu")
    return request.param
