"""The operators and methods of the stand-in's array, made from the lists of those that CuPy has."""

import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from standin_array import (
    StandInArray,
    check_keywords,
    device_result,
    host_argument,
    host_operand,
    on_current_device,
    quietly,
)
from standin_watch import record

CUPY = json.loads(Path(__file__).with_name("cupy_names.json").read_text(encoding="utf-8"))

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
        return device_result(quietly(function, host_operand(self), host_operand(other)))

    def reflected(self: StandInArray, other: Any) -> Any:
        return device_result(quietly(function, host_operand(other), host_operand(self)))

    def in_place(self: StandInArray, other: Any) -> StandInArray:
        quietly(getattr(operator, f"__i{name}__"), on_current_device(self), host_operand(other))
        return self

    return {"": forward, "r": reflected, "i": in_place}[kind]


def _unary(name: str) -> Callable[..., Any]:
    function = getattr(operator, f"__{name}__")
    return lambda self: device_result(quietly(function, on_current_device(self)))


def _method(name: str, allowed: list[str] | None) -> Callable[..., Any]:
    def method(self: StandInArray, *arguments: Any, **options: Any) -> Any:
        check_keywords(name, allowed, options)
        if name in _WAITING_METHODS:
            record("synchronisations", f"{name}()")
        out = options.get("out")
        arguments, options = host_argument(arguments), {key: host_argument(value) for key, value in options.items()}
        value = quietly(getattr(on_current_device(self), name), *arguments, **options)
        if out is not None:
            return out
        return None if value is None else device_result(value)

    return method


def equip(array_type: type) -> None:
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


equip(StandInArray)
