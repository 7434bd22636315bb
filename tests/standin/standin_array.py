"""The stand-in's devices and its array, without the operators and methods that `standin_operators` adds to it."""

import ctypes
import numbers
import operator
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
from standin_watch import record


class _Current(threading.local):
    device = 0


CURRENT = _Current()


class Device:
    """One of two devices; ``with Device(1):`` makes it the current one of this thread."""

    def __init__(self, device: int = 0) -> None:
        if device not in (0, 1):
            raise ValueError(f"the stand-in has the devices 0 and 1, not {device}")
        self.id = device
        self._before: list[int] = []

    def use(self) -> None:
        CURRENT.device = self.id

    def __enter__(self) -> Self:
        self._before.append(CURRENT.device)
        CURRENT.device = self.id
        return self

    def __exit__(self, *_: object) -> None:
        CURRENT.device = self._before.pop()


def unsupported(value: Any) -> TypeError:
    return TypeError(f"Unsupported type {type(value)}")


def on_current_device(array: "StandInArray") -> np.ndarray:
    if array._device != CURRENT.device:
        raise ValueError(
            f"Array device must be same as the current device: array device = {array._device} while current = "
            f"{CURRENT.device}"
        )
    return array._host


def host_operand(value: Any) -> Any:
    """What an elementwise function takes: device arrays and numbers."""
    if isinstance(value, StandInArray):
        return on_current_device(value)
    if isinstance(value, bool | int | float | complex | np.generic):
        return value
    raise unsupported(value)


def host_argument(value: Any) -> Any:
    """What any other function takes: also shapes, dtypes, names, and sequences of device arrays."""
    if isinstance(value, StandInArray):
        return on_current_device(value)
    if isinstance(value, np.ndarray):
        raise unsupported(value)
    if isinstance(value, list | tuple):
        return type(value)(host_argument(item) for item in value)
    return value


def all_on_device(value: Any) -> bool:
    """Whether it is a device array, or a sequence of them and nothing else."""
    if isinstance(value, list | tuple):
        return bool(value) and all(all_on_device(item) for item in value)
    return isinstance(value, StandInArray)


def device_result(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic | bool):
        return StandInArray(np.asarray(value), CURRENT.device)
    if isinstance(value, tuple | list):
        return type(value)(device_result(item) for item in value)
    return value


def check_keywords(name: str, allowed: list[str] | None, given: dict[str, Any]) -> None:
    for keyword in given:
        if allowed is not None and keyword not in allowed:
            raise TypeError(f"{name}() got an unexpected keyword argument '{keyword}'")


def quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with np.errstate(all="ignore"):  # a device divides by zero without a word
        return function(*arguments, **options)


def host_key(shape: tuple[int, ...], key: Any) -> tuple[tuple[Any, ...], bool]:
    """An index in NumPy's terms, and whether it holds arrays."""
    parts: list[Any] = []
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, StandInArray):
            part = on_current_device(part)
        elif isinstance(part, list | tuple | np.ndarray):
            record("uploads", f"an index of type {type(part).__name__}")
            part = np.asarray(part) if np.size(part) else np.zeros(np.shape(part), np.int32)
        elif isinstance(part, bool | np.bool_):
            part = np.asarray(part)
        elif not (part is None or part is Ellipsis or isinstance(part, slice | numbers.Integral)):
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays "
                f"are valid indices, not {type(part)}"
            )
        if isinstance(part, np.ndarray) and part.dtype.kind not in "biu":
            raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {part.dtype.type})")
        if isinstance(part, np.ndarray) and part.dtype.kind == "b":
            record("synchronisations", "an index by a boolean mask")
        parts.append(part)
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)  # an element is then a view without axes, not a number

    def axes(part: Any) -> int:
        if part is None or part is Ellipsis:
            return 0
        return part.ndim if isinstance(part, np.ndarray) and part.dtype.kind == "b" else 1

    rest = len(shape) - sum(map(axes, parts))
    axis = 0
    for position, part in enumerate(parts):
        if isinstance(part, np.ndarray) and part.dtype.kind in "iu" and axis < len(shape) and shape[axis]:
            parts[position] = part % shape[axis]
        axis += rest if part is Ellipsis else axes(part)
    return tuple(parts), any(isinstance(part, np.ndarray) for part in parts)


class StandInArray:
    """An array on a stand-in device. Made by the functions of `xp`, by `from_host` and by computing."""

    __slots__ = ("__weakref__", "_device", "_host")  # weak references can be made to CuPy's, too
    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, host: np.ndarray, device: int) -> None:
        self._host = host
        self._device = device

    # What it is

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    device = property(lambda self: Device(self._device))

    @property
    def flags(self) -> SimpleNamespace:
        flags = self._host.flags
        return SimpleNamespace(c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=flags.owndata)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return len(self._host)

    def __iter__(self) -> Iterator["StandInArray"]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[index] for index in range(len(self)))

    # Views

    def _view(self, host: np.ndarray) -> "StandInArray":
        return StandInArray(host, self._device)

    T = property(lambda self: self._view(self._host.T))
    mT = property(lambda self: self._view(self._host.mT))  # noqa: N815 (NumPy's name)
    real = property(lambda self: self._view(self._host.real))

    @property
    def imag(self) -> "StandInArray":
        return self._view(self._host.imag if self.dtype.kind == "c" else np.zeros_like(self._host))

    def __getitem__(self, key: Any) -> "StandInArray":
        key, _ = host_key(self.shape, key)
        return self._view(self._host[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        key, advanced = host_key(self.shape, key)
        if isinstance(value, np.ndarray | list | tuple):
            if not advanced and np.shape(value) != ():
                raise ValueError(f"non-scalar {type(value)} cannot be used for fill")
            record("uploads", "an assignment from the host")
            value = np.asarray(value, self.dtype)
        else:
            value = host_operand(value)
        quietly(operator.setitem, on_current_device(self), key, value)

    # Out of the device

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        record("synchronisations", "get()")
        if out is not None:
            out[...] = self._host
            return out
        return self._host.copy(order)

    def item(self) -> Any:
        record("synchronisations", "item()")
        return self._host.item()

    def tolist(self) -> Any:
        record("synchronisations", "tolist()")
        return self._host.tolist()

    def tobytes(self, order: str = "C") -> bytes:
        record("synchronisations", "tobytes()")
        return self._host.tobytes(order)

    def __bool__(self) -> bool:
        record("synchronisations", "bool()")
        return bool(self._host)

    def __int__(self) -> int:
        record("synchronisations", "int()")
        return int(self._host)

    def __float__(self) -> float:
        record("synchronisations", "float()")
        return float(self._host)

    def __complex__(self) -> complex:
        record("synchronisations", "complex()")
        return complex(self._host)

    def __repr__(self) -> str:
        record("synchronisations", "repr()")
        return repr(self._host)

    def __format__(self, specification: str) -> str:
        record("synchronisations", "format()")
        return format(self._host, specification)

    def __reduce__(self) -> Any:
        from standin import from_host

        return from_host, (self.get(), f"standin:{self._device}")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} was given a device array; use the function of its own module")

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:
        if dl_device is not None and tuple(dl_device) == (1, 0):
            return self.get().__dlpack__()
        capsule = self._host.__dlpack__()
        dlpack_device(capsule)[:] = [12, self._device]  # 12: a device that is none of the known ones
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 12, self._device

    # Into the device

    def set(self, arr: Any, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray) or arr.dtype != self.dtype or arr.shape != self.shape:
            raise TypeError(f"only a numpy.ndarray {self.dtype} {self.shape} can be set, got {type(arr)}")
        record("uploads", "set()")
        self._host[...] = arr

    def fill(self, value: Any) -> None:
        self[...] = value

    # Methods that NumPy names otherwise or lets do more

    def __copy__(self) -> "StandInArray":
        return self.copy()

    def __deepcopy__(self, _: Any) -> "StandInArray":
        return self.copy()

    def __pos__(self) -> "StandInArray":
        return self

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> "StandInArray":
        host = quietly(on_current_device(self).astype, dtype, order, casting or "unsafe", copy=copy)
        return self if host is self._host else self._view(host)

    def take(self, indices: Any, axis: int | None = None, out: Any = None) -> "StandInArray":
        if isinstance(indices, list | tuple | np.ndarray):
            record("uploads", "take() of indices on the host")
        elif isinstance(indices, StandInArray):
            indices = on_current_device(indices)
        return self._view(np.asarray(np.take(on_current_device(self), indices, axis, mode="wrap")))

    def nonzero(self) -> tuple["StandInArray", ...]:
        record("synchronisations", "nonzero()")
        return tuple(self._view(part) for part in on_current_device(self).nonzero())

    def scatter_add(self, slices: Any, value: Any) -> None:
        from standin_module import xp

        xp.add.at(self, slices, value)


def dlpack_device(capsule: Any) -> Any:
    """The two words of a DLPack capsule that name the device."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return (ctypes.c_int32 * 2).from_address(pointer(capsule, b"dltensor") + ctypes.sizeof(ctypes.c_void_p))
