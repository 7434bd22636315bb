"""Which library an array belongs to, and how arrays move between devices.

Devices come from the arrays: there is no global switch. A `Backend` bundles what the engine has to know about one array
library; NumPy's is always there, CuPy's is made when the first CuPy array or ``"cuda"`` device turns up.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from minivit.backend.namespace import ArrayNamespace

Array: TypeAlias = Any
"""An array of any registered backend: `numpy.ndarray`, `cupy.ndarray`. Their common interface has no static type."""


@dataclass(frozen=True, eq=False)
class Backend:
    """What the engine knows of one array library.

    Attributes
    ----------
    name : str
        Device family: ``"cpu"`` or ``"cuda"``.
    module : module
        The NumPy-like module whose functions take this library's arrays.
    array_type : type
        Its array class.
    device_of : callable
        array -> device string, such as ``"cuda:1"``.
    from_host, to_host : callable
        (ndarray, device) -> array, and array -> ndarray.
    erf : callable
        The error function, which NumPy itself lacks.
    use : callable
        device -> None: make it the one that this thread computes on, where a library has such a thing.
    wait : callable
        () -> None: return when the device has done all that this thread gave it to do.
    F : ArrayNamespace
        The namespace that the text of an op is written against.
    """

    name: str
    module: Any
    array_type: type
    device_of: Callable[[Array], str]
    from_host: Callable[[np.ndarray, str], Array]
    to_host: Callable[[Array], np.ndarray]
    erf: Callable[[Array], Array]
    use: Callable[[str], None] = lambda _: None
    wait: Callable[[], None] = lambda: None
    F: ArrayNamespace = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "F", ArrayNamespace(self.module, self.erf))


_BACKENDS: dict[type, Backend] = {}


def register_backend(backend: Backend) -> None:
    """Make a further array library known to the engine."""
    _BACKENDS[backend.array_type] = backend


def _numpy_erf(x: Array) -> Array:
    from minivit.backend.erf import erf

    return erf(x)


_NUMPY = Backend(
    name="cpu",
    module=np,
    array_type=np.ndarray,
    device_of=lambda _: "cpu",
    from_host=lambda array, _: array,
    to_host=lambda array: array,
    erf=_numpy_erf,
)
register_backend(_NUMPY)


@cache
def _cupy_backend() -> Backend:
    cupy = importlib.import_module("cupy")

    def from_host(array: np.ndarray, device: str) -> Array:
        with cupy.cuda.Device(_cuda_index(device)):
            return cupy.asarray(array)

    def erf(x: Array) -> Array:
        return importlib.import_module("cupyx.scipy.special").erf(x)

    backend = Backend(
        name="cuda",
        module=cupy,
        array_type=cupy.ndarray,
        device_of=lambda array: f"cuda:{array.device.id}",
        from_host=from_host,
        to_host=cupy.asnumpy,
        erf=erf,
        use=lambda device: cupy.cuda.Device(_cuda_index(device)).use(),
        wait=lambda: cupy.cuda.get_current_stream().synchronize(),
    )
    register_backend(backend)
    return backend


def _cuda_index(device: str) -> int:
    return int(device.partition(":")[2] or 0)


def use_device(device: str) -> None:
    """Make a device the one that this thread computes on.

    CuPy computes on its current device, which is ``"cuda:0"`` at first, wherever the operands lie. A program that is to
    run on another one calls this at its start, in each of its threads; on the CPU nothing happens.

    Raises
    ------
    ValueError, RuntimeError
        As for `backend_for_device`.
    """
    backend_for_device(device).use(device)


def backend_of(array: Array) -> Backend:
    """The backend that an array belongs to.

    Raises
    ------
    TypeError
        If no registered library knows the array's type.
    """
    backend = _BACKENDS.get(type(array))
    if backend is not None:
        return backend
    if isinstance(array, np.ndarray | np.generic):
        return _NUMPY
    if type(array).__module__.partition(".")[0] == "cupy":
        return _cupy_backend()
    raise TypeError(
        f"expected a NumPy or CuPy array, got {type(array).__module__}.{type(array).__qualname__}; "
        "convert it first, for instance with numpy.asarray(...) or through DLPack"
    )


def array_module(*arrays: Array) -> Any:
    """The NumPy-like module of the first array (`numpy` when there is none)."""
    return backend_of(arrays[0]).module if arrays else np


def device_of(array: Array) -> str:
    """The device of an array: ``"cpu"``, ``"cuda:0"``, ..."""
    return backend_of(array).device_of(array)


def backend_for_device(device: str) -> Backend:
    """The backend of a device string: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises
    ------
    ValueError
        If the string names no known device.
    RuntimeError
        If CuPy or a GPU is missing.
    """
    family, colon, index = device.partition(":")
    if colon and not index.isdecimal():
        family = ""
    if family == "cuda":
        try:
            backend = _cupy_backend()
        except ImportError as error:
            raise RuntimeError(
                f"device {device!r} needs CuPy, which is not installed; "
                'pip install "minivit[cuda12]" or "minivit[cuda13]", or use device="cpu"'
            ) from error
        if not backend.module.cuda.is_available():
            raise RuntimeError(f'device {device!r}: CuPy is installed but finds no usable GPU; use device="cpu"')
        count = backend.module.cuda.runtime.getDeviceCount()
        if _cuda_index(device) >= count:
            raise ValueError(f"unknown device {device!r}: CuPy finds {count} GPU(s), cuda:0 to cuda:{count - 1}")
        return backend
    for backend in _BACKENDS.values():
        if backend.name == family and not (colon and backend is _NUMPY):
            return backend
    raise ValueError(f'unknown device {device!r}; expected "cpu", "cuda" or "cuda:<index>"')


def available_devices() -> list[str]:
    """Every device that arrays can be put on, ``"cpu"`` first."""
    devices = ["cpu"]
    try:
        cupy = backend_for_device("cuda").module
        devices += [f"cuda:{index}" for index in range(cupy.cuda.runtime.getDeviceCount())]
    except RuntimeError:
        pass
    return devices


def move(array: Array, device: str) -> Array:
    """Copy an array to a device; the array itself if it is there already."""
    if is_on(array, device):
        return array
    return backend_for_device(device).from_host(to_host(array), device)


def is_on(array: Array, device: str) -> bool:
    """Whether an array is on a device; ``"cuda"`` without an index means any."""
    backend = backend_of(array)
    return backend is backend_for_device(device) and (":" not in device or backend.device_of(array) == device)


def to_host(array: Array) -> np.ndarray:
    """The array's values as a NumPy array (waits for the device)."""
    return backend_of(array).to_host(array)
