"""The stand-in's module: the functions, dtypes and constants that CuPy has."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from standin_array import (
    CURRENT,
    StandInArray,
    all_on_device,
    check_keywords,
    device_result,
    dlpack_device,
    host_argument,
    host_key,
    host_operand,
    on_current_device,
    quietly,
    unsupported,
)
from standin_operators import CUPY
from standin_watch import record


class _Ufunc:
    """An elementwise function."""

    def __init__(self, name: str) -> None:
        self.name, self.function = name, getattr(np, name)

    def __call__(self, *operands: Any, **options: Any) -> Any:
        wrong = {key: value for key, value in options.items() if key not in ("out", "dtype", "casting")}
        if wrong:
            raise TypeError(f"Wrong arguments {wrong}")
        out = options.pop("out", operands[-1] if len(operands) > self.function.nin else None)
        arrays = [host_operand(operand) for operand in operands[: self.function.nin]]
        if out is not None:
            options["out"] = on_current_device(out)
        value = device_result(quietly(self.function, *arrays, **options))
        return value if out is None else out

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        if self.name not in CUPY["scatter_ufuncs"]:
            raise NotImplementedError(f"`cupy_{self.name}.at` is not supported yet")
        if not isinstance(a, StandInArray):
            raise AttributeError(f"{type(a)} object has no attribute '_scatter_op'")
        key, advanced = host_key(a.shape, indices)
        if advanced and (a.dtype.kind == "b" or a.dtype.itemsize < (2 if a.dtype.kind == "f" else 4)):
            raise TypeError(f"`{self.name}.at` does not support {a.dtype}")
        if isinstance(b, np.ndarray | list) and advanced:
            record("uploads", f"{self.name}.at() of values on the host")
        else:
            b = host_operand(b)
        self.function.at(on_current_device(a), key, np.asarray(b, a.dtype))


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
        check_keywords(self.name, self.allowed, options)
        self._check_operands(arguments)
        if self.name in _WAITING or (self.name == "where" and len(arguments) == 1):
            record("synchronisations", f"{self.name}()")
        out = options.get("out")
        host = [host_argument(value) for value in arguments]
        value = quietly(self.function, *host, **{key: host_argument(item) for key, item in options.items()})
        if self.name.startswith("empty") and value.dtype.kind in "fc":
            value.fill(np.nan)
        return device_result(value) if out is None else out

    def _check_operands(self, arguments: tuple[Any, ...]) -> None:
        if self.name in _OPERANDS_ONLY:
            for value in arguments:
                host_operand(value)
        if self.name not in _FROM_NOTHING and not any(all_on_device(value) for value in arguments[:2]):
            raise unsupported(arguments[0] if arguments else None)


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
        raise AssertionError(f"CuPy has {name}, the stand-in has not: teach it (tests/standin/standin_module.py)")

    def asnumpy(self, a: Any, stream: Any = None, order: str = "C", out: Any = None) -> np.ndarray:
        return a.get(stream, order, out) if isinstance(a, StandInArray) else np.asarray(a, order=order)

    def take(self, a: Any, indices: Any, axis: int | None = None, out: Any = None) -> StandInArray:
        if not isinstance(a, StandInArray):
            raise unsupported(a)
        return a.take(indices, axis, out)

    def from_dlpack(self, array: Any) -> StandInArray:
        if array.__dlpack_device__()[0] != 12:
            raise ValueError("only arrays of the stand-in device")
        device = array.__dlpack_device__()[1]
        capsule = array.__dlpack__()
        dlpack_device(capsule)[:] = [1, 0]

        class Producer:
            def __dlpack__(self, **_: Any) -> Any:
                return capsule

            def __dlpack_device__(self) -> tuple[int, int]:
                return 1, 0

        return StandInArray(np.from_dlpack(Producer()), device)

    def _from_host(self, name: str, a: Any, dtype: Any = None, **options: Any) -> StandInArray:
        check_keywords(name, CUPY["functions"][name], options)
        options.pop("blocking", None)
        if isinstance(a, StandInArray):
            host = getattr(np, name)(on_current_device(a), dtype, **options)
            return a if host is a._host else StandInArray(host, CURRENT.device)
        record("uploads", f"{name}() of {type(a).__name__}")
        if all_on_device(a):
            return self.stack(a).astype(dtype or a[0].dtype, copy=False)
        return StandInArray(np.array(a, dtype), CURRENT.device)


xp = StandInModule()
