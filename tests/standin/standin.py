"""A strict device array that needs no device: it behaves as CuPy's does where the two libraries differ from NumPy.

``StandInArray`` wraps a NumPy array and shows none of it. As with CuPy 14:

- nothing becomes a NumPy array by itself, and no NumPy array or list is taken as an operand;
- reductions and elements are arrays without axes, never Python numbers;
- whatever has to wait for the device, or copies to it, is counted (`watch`, `no_synchronisation`);
- the names, methods and keywords that CuPy lacks are missing (`cupy_names.json` lists those that it has);
- an integer index that is out of bounds wraps around; ``empty`` holds nonsense; no floating-point warning is given;
- arrays live on one of two devices, and only those on the current one can be computed with.

Stricter than CuPy: a function of NumPy that is given a device array raises, where CuPy would answer in NumPy's place,
and so do the functions that CuPy would let work on a NumPy array.

Importing this module registers the library with minivit; its devices are ``"standin:0"`` (or ``"standin"``) and
``"standin:1"``.
"""

import ctypes
import functools
import json
import numbers
import operator
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np

from minivit.backend import Backend, register_backend

CUPY = json.loads(Path(__file__).with_name("cupy_names.json").read_text(encoding="utf-8"))


# What waits, and what is copied to the device


@dataclass
class Seen:
    """What happened inside a `watch` block: for each event what was called, and from which line."""

    synchronisations: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)


_WATCHES: list[Seen] = []


@contextmanager
def watch() -> Iterator[Seen]:
    """Record every synchronisation and every copy to the device inside the block, in all threads."""
    seen = Seen()
    _WATCHES.append(seen)
    try:
        yield seen
    finally:
        _WATCHES.remove(seen)


@contextmanager
def no_synchronisation(uploads: bool = False) -> Iterator[Seen]:
    """Fail if the block waits for the device, or (unless `uploads`) copies to it.

    A copy to the device does not wait, since CuPy passes it through pinned memory; but no CUDA graph can hold it.
    """
    with watch() as seen:
        yield seen
    assert not seen.synchronisations, "the host waited for the device:\n" + "\n".join(seen.synchronisations)
    assert uploads or not seen.uploads, "the host copied to the device:\n" + "\n".join(seen.uploads)


def _record(kind: str, what: str) -> None:
    if not _WATCHES:
        return
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    for seen in _WATCHES:
        getattr(seen, kind).append(f"  {what} at {frame.f_code.co_filename}:{frame.f_lineno}")


# Devices


class _Current(threading.local):
    device = 0


_CURRENT = _Current()


class Device:
    """One of two devices; ``with Device(1):`` makes it the current one of this thread."""

    def __init__(self, device: int = 0) -> None:
        if device not in (0, 1):
            raise ValueError(f"the stand-in has the devices 0 and 1, not {device}")
        self.id = device
        self._before: list[int] = []

    def use(self) -> None:
        _CURRENT.device = self.id

    def __enter__(self) -> Self:
        self._before.append(_CURRENT.device)
        _CURRENT.device = self.id
        return self

    def __exit__(self, *_: object) -> None:
        _CURRENT.device = self._before.pop()


def _unsupported(value: Any) -> TypeError:
    return TypeError(f"Unsupported type {type(value)}")


def _on_current_device(array: "StandInArray") -> np.ndarray:
    if array._device != _CURRENT.device:
        raise ValueError(
            f"Array device must be same as the current device: array device = {array._device} while current = "
            f"{_CURRENT.device}"
        )
    return array._host


def _operand(value: Any) -> Any:
    """What an elementwise function takes: device arrays and numbers."""
    if isinstance(value, StandInArray):
        return _on_current_device(value)
    if isinstance(value, bool | int | float | complex | np.generic):
        return value
    raise _unsupported(value)


def _argument(value: Any) -> Any:
    """What any other function takes: also shapes, dtypes, names, and sequences of device arrays."""
    if isinstance(value, StandInArray):
        return _on_current_device(value)
    if isinstance(value, np.ndarray):
        raise _unsupported(value)
    if isinstance(value, list | tuple):
        return type(value)(_argument(item) for item in value)
    return value


def _device_arrays(value: Any) -> bool:
    """Whether it is a device array, or a sequence of them and nothing else."""
    if isinstance(value, list | tuple):
        return bool(value) and all(_device_arrays(item) for item in value)
    return isinstance(value, StandInArray)


def _result(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic | bool):
        return StandInArray(np.asarray(value), _CURRENT.device)
    if isinstance(value, tuple | list):
        return type(value)(_result(item) for item in value)
    return value


def _check_keywords(name: str, allowed: list[str] | None, given: dict[str, Any]) -> None:
    for keyword in given:
        if allowed is not None and keyword not in allowed:
            raise TypeError(f"{name}() got an unexpected keyword argument '{keyword}'")


def _quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with np.errstate(all="ignore"):  # a device divides by zero without a word
        return function(*arguments, **options)


def _key(shape: tuple[int, ...], key: Any) -> tuple[tuple[Any, ...], bool]:
    """An index in NumPy's terms, and whether it holds arrays."""
    parts: list[Any] = []
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, StandInArray):
            part = _on_current_device(part)
        elif isinstance(part, list | tuple | np.ndarray):
            _record("uploads", f"an index of type {type(part).__name__}")
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
            _record("synchronisations", "an index by a boolean mask")
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
        key, _ = _key(self.shape, key)
        return self._view(self._host[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        key, advanced = _key(self.shape, key)
        if isinstance(value, np.ndarray | list | tuple):
            if not advanced and np.shape(value) != ():
                raise ValueError(f"non-scalar {type(value)} cannot be used for fill")
            _record("uploads", "an assignment from the host")
            value = np.asarray(value, self.dtype)
        else:
            value = _operand(value)
        _quietly(operator.setitem, _on_current_device(self), key, value)

    # Out of the device

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        _record("synchronisations", "get()")
        if out is not None:
            out[...] = self._host
            return out
        return self._host.copy(order)

    def item(self) -> Any:
        _record("synchronisations", "item()")
        return self._host.item()

    def tolist(self) -> Any:
        _record("synchronisations", "tolist()")
        return self._host.tolist()

    def tobytes(self, order: str = "C") -> bytes:
        _record("synchronisations", "tobytes()")
        return self._host.tobytes(order)

    def __bool__(self) -> bool:
        _record("synchronisations", "bool()")
        return bool(self._host)

    def __int__(self) -> int:
        _record("synchronisations", "int()")
        return int(self._host)

    def __float__(self) -> float:
        _record("synchronisations", "float()")
        return float(self._host)

    def __complex__(self) -> complex:
        _record("synchronisations", "complex()")
        return complex(self._host)

    def __repr__(self) -> str:
        _record("synchronisations", "repr()")
        return repr(self._host)

    def __format__(self, specification: str) -> str:
        _record("synchronisations", "format()")
        return format(self._host, specification)

    def __reduce__(self) -> Any:
        return _from_host, (self.get(), f"standin:{self._device}")

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
        _dlpack_device(capsule)[:] = [12, self._device]  # 12: a device that is none of the known ones
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 12, self._device

    # Into the device

    def set(self, arr: Any, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray) or arr.dtype != self.dtype or arr.shape != self.shape:
            raise TypeError(f"only a numpy.ndarray {self.dtype} {self.shape} can be set, got {type(arr)}")
        _record("uploads", "set()")
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
        host = _quietly(_on_current_device(self).astype, dtype, order, casting or "unsafe", copy=copy)
        return self if host is self._host else self._view(host)

    def take(self, indices: Any, axis: int | None = None, out: Any = None) -> "StandInArray":
        if isinstance(indices, list | tuple | np.ndarray):
            _record("uploads", "take() of indices on the host")
        elif isinstance(indices, StandInArray):
            indices = _on_current_device(indices)
        return self._view(np.asarray(np.take(_on_current_device(self), indices, axis, mode="wrap")))

    def nonzero(self) -> tuple["StandInArray", ...]:
        _record("synchronisations", "nonzero()")
        return tuple(self._view(part) for part in _on_current_device(self).nonzero())

    def scatter_add(self, slices: Any, value: Any) -> None:
        xp.add.at(self, slices, value)


def _dlpack_device(capsule: Any) -> Any:
    """The two words of a DLPack capsule that name the device."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return (ctypes.c_int32 * 2).from_address(pointer(capsule, b"dltensor") + ctypes.sizeof(ctypes.c_void_p))


# Operators and methods, made from the lists of those that CuPy has

_BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "or", "xor", "matmul"]
_COMPARISONS = ["lt", "le", "eq", "ne", "gt", "ge"]
_UNARY = ["neg", "abs", "invert"]
_WAITING_METHODS = {"compress", "choose"}


def _defers_to(other: Any) -> bool:
    return not isinstance(other, StandInArray) and getattr(type(other), "__array_ufunc__", other) is None


def _operator(name: str, kind: str) -> Callable[..., Any]:
    function = getattr(operator, f"__{name}__")

    def forward(self: StandInArray, other: Any) -> Any:
        if _defers_to(other):
            return NotImplemented
        return _result(_quietly(function, _operand(self), _operand(other)))

    def reflected(self: StandInArray, other: Any) -> Any:
        return _result(_quietly(function, _operand(other), _operand(self)))

    def in_place(self: StandInArray, other: Any) -> StandInArray:
        _quietly(getattr(operator, f"__i{name}__"), _on_current_device(self), _operand(other))
        return self

    return {"": forward, "r": reflected, "i": in_place}[kind]


def _unary(name: str) -> Callable[..., Any]:
    function = getattr(operator, f"__{name}__")
    return lambda self: _result(_quietly(function, _on_current_device(self)))


def _method(name: str, allowed: list[str] | None) -> Callable[..., Any]:
    def method(self: StandInArray, *arguments: Any, **options: Any) -> Any:
        _check_keywords(name, allowed, options)
        if name in _WAITING_METHODS:
            _record("synchronisations", f"{name}()")
        out = options.get("out")
        arguments, options = _argument(arguments), {key: _argument(value) for key, value in options.items()}
        value = _quietly(getattr(_on_current_device(self), name), *arguments, **options)
        if out is not None:
            return out
        return None if value is None else _result(value)

    return method


def _equip(array_type: type) -> None:
    has = set(CUPY["ndarray"]) | {f"__{name}__" for name in _COMPARISONS}
    for name in _BINARY + _COMPARISONS:
        for kind in ("", "r", "i"):
            if f"__{kind}{name}__" in has and (name in _BINARY or not kind):
                setattr(array_type, f"__{kind}{name}__", _operator(name, kind))
    for name in _UNARY:
        setattr(array_type, f"__{name}__", _unary(name))
    for name, allowed in CUPY["methods"].items():
        if hasattr(np.ndarray, name) and name not in vars(array_type):
            setattr(array_type, name, _method(name, allowed))


_equip(StandInArray)


# The module


class _Ufunc:
    """An elementwise function."""

    def __init__(self, name: str) -> None:
        self.name, self.function = name, getattr(np, name)

    def __call__(self, *operands: Any, **options: Any) -> Any:
        wrong = {key: value for key, value in options.items() if key not in ("out", "dtype", "casting")}
        if wrong:
            raise TypeError(f"Wrong arguments {wrong}")
        out = options.pop("out", operands[-1] if len(operands) > self.function.nin else None)
        arrays = [_operand(operand) for operand in operands[: self.function.nin]]
        if out is not None:
            options["out"] = _on_current_device(out)
        value = _result(_quietly(self.function, *arrays, **options))
        return value if out is None else out

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        if self.name not in CUPY["scatter_ufuncs"]:
            raise NotImplementedError(f"`cupy_{self.name}.at` is not supported yet")
        if not isinstance(a, StandInArray):
            raise AttributeError(f"{type(a)} object has no attribute '_scatter_op'")
        key, advanced = _key(a.shape, indices)
        if advanced and (a.dtype.kind == "b" or a.dtype.itemsize < (2 if a.dtype.kind == "f" else 4)):
            raise TypeError(f"`{self.name}.at` does not support {a.dtype}")
        if isinstance(b, np.ndarray | list) and advanced:
            _record("uploads", f"{self.name}.at() of values on the host")
        else:
            b = _operand(b)
        self.function.at(_on_current_device(a), key, np.asarray(b, a.dtype))


_FROM_HOST = {"array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"}
_FROM_NOTHING = {"arange", "empty", "eye", "full", "identity", "linspace", "logspace", "ones", "tri", "zeros"}
_ON_THE_HOST = {  # these tell something of arrays and dtypes without touching a device
    "broadcast_shapes", "can_cast", "common_type", "finfo", "iinfo", "iscomplexobj", "isrealobj", "isscalar",
    "issubdtype", "may_share_memory", "min_scalar_type", "ndim", "promote_types", "result_type", "shape",
    "shares_memory", "size",
}  # fmt: skip
_OPERANDS_ONLY = {"allclose", "clip", "dot", "inner", "isclose", "matmul", "outer", "vdot", "where"}
_WAITING = {
    "argwhere", "bincount", "compress", "extract", "flatnonzero", "histogram", "intersect1d", "nonzero", "piecewise",
    "place", "putmask", "setdiff1d", "setxor1d", "trim_zeros", "union1d", "unique", "unique_all", "unique_counts",
    "unique_inverse", "unique_values",
}  # fmt: skip


class _Function:
    """Any other function."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self.function = name, function
        self.allowed = CUPY["functions"].get(name)
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        _check_keywords(self.name, self.allowed, options)
        self._check_operands(arguments)
        if self.name in _WAITING or (self.name == "where" and len(arguments) == 1):
            _record("synchronisations", f"{self.name}()")
        out = options.get("out")
        host = [_argument(value) for value in arguments]
        value = _quietly(self.function, *host, **{key: _argument(item) for key, item in options.items()})
        if self.name.startswith("empty") and value.dtype.kind in "fc":
            value.fill(np.nan)
        return _result(value) if out is None else out

    def _check_operands(self, arguments: tuple[Any, ...]) -> None:
        if self.name in _OPERANDS_ONLY:
            for value in arguments:
                _operand(value)
        if self.name not in _FROM_NOTHING and not any(_device_arrays(value) for value in arguments[:2]):
            raise _unsupported(arguments[0] if arguments else None)


class StandInModule:
    """The functions, dtypes and constants that CuPy has, for the stand-in's arrays."""

    __name__ = "standin"
    ndarray = StandInArray

    def __getattr__(self, name: str) -> Any:
        if name not in CUPY["module"]:
            raise AttributeError(f"module 'cupy' has no attribute '{name}'")
        found = self._find(name)
        setattr(self, name, found)
        return found

    def _find(self, name: str) -> Any:
        if name in CUPY["ufuncs"]:
            return _Ufunc(name)
        if name in _FROM_HOST:
            return functools.partial(self._from_host, name)
        value = getattr(np, name, None)
        if name in _ON_THE_HOST or isinstance(value, type | float) or name == "newaxis":
            return value
        if callable(value):
            return _Function(name, value)
        raise AssertionError(f"CuPy has {name}, the stand-in has not: teach it (tests/standin/standin.py)")

    def asnumpy(self, a: Any, stream: Any = None, order: str = "C", out: Any = None) -> np.ndarray:
        return a.get(stream, order, out) if isinstance(a, StandInArray) else np.asarray(a, order=order)

    def take(self, a: Any, indices: Any, axis: int | None = None, out: Any = None) -> StandInArray:
        if not isinstance(a, StandInArray):
            raise _unsupported(a)
        return a.take(indices, axis, out)

    def from_dlpack(self, array: Any) -> StandInArray:
        if array.__dlpack_device__()[0] != 12:
            raise ValueError("only arrays of the stand-in device")
        device = array.__dlpack_device__()[1]
        capsule = array.__dlpack__()
        _dlpack_device(capsule)[:] = [1, 0]

        class Producer:
            def __dlpack__(self, **_: Any) -> Any:
                return capsule

            def __dlpack_device__(self) -> tuple[int, int]:
                return 1, 0

        return StandInArray(np.from_dlpack(Producer()), device)

    def _from_host(self, name: str, a: Any, dtype: Any = None, **options: Any) -> StandInArray:
        _check_keywords(name, CUPY["functions"][name], options)
        options.pop("blocking", None)
        if isinstance(a, StandInArray):
            host = getattr(np, name)(_on_current_device(a), dtype, **options)
            return a if host is a._host else StandInArray(host, _CURRENT.device)
        _record("uploads", f"{name}() of {type(a).__name__}")
        if _device_arrays(a):
            return self.stack(a).astype(dtype or a[0].dtype, copy=False)
        return StandInArray(np.array(a, dtype), _CURRENT.device)


xp = StandInModule()


# Registration


def _index(device: str) -> int:
    return int(device.partition(":")[2] or 0)


def _from_host(array: np.ndarray, device: str) -> StandInArray:
    with Device(_index(device)):
        return xp.asarray(array)


def _erf(x: StandInArray) -> StandInArray:
    from minivit.backend.erf import erf

    return StandInArray(erf(_on_current_device(x)), _CURRENT.device)


BACKEND = Backend(
    name="standin",
    module=xp,
    array_type=StandInArray,
    device_of=lambda array: f"standin:{array.device.id}",
    from_host=_from_host,
    to_host=xp.asnumpy,
    erf=_erf,
    use=lambda device: Device(_index(device)).use(),
)
register_backend(BACKEND)
