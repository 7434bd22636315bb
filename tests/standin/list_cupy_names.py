"""Write ``cupy_names.json`` anew: what the installed CuPy offers, read off the package itself. It needs no GPU.

    python tests/standin/list_cupy_names.py

The stand-in device array has these names and no others, and the surface test looks up here what it may use when CuPy
is not installed.
"""

import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("cupy_names.json")
SUBMODULES = ["cuda", "cuda.runtime", "lib.stride_tricks", "linalg"]


def public(owner: Any) -> list[str]:
    return sorted(name for name in dir(owner) if not name.startswith("_"))


def arguments(function: Any) -> list[str] | None:
    """Names of a function's arguments; None where they cannot be read or any keyword may be given."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters]


def method_arguments(method: Any) -> list[str] | None:
    """The same for a compiled method, whose docstring starts with its signature."""
    found = re.match(r"\w+\.\w+\(self(.*?)\)(?: ->.*)?$", (method.__doc__ or "").split("\n")[0])
    if found is None:
        return None
    names = [part.split("=")[0].split()[-1] for part in found[1].split(",") if part.strip()]
    return [name.lstrip("*") for name in names if name != "*"]


def can_scatter(ufunc: Any) -> bool:
    """Whether ``ufunc.at`` is there: it refuses before it looks at its operands, which are nonsense here."""
    try:
        ufunc.at(None, None, None)
    except NotImplementedError:
        return False
    except Exception:  # noqa: BLE001 (whatever else it stumbles over, it did not refuse)
        return True
    raise AssertionError(f"{ufunc} took nonsense")


def names() -> dict[str, Any]:
    cupy = importlib.import_module("cupy")
    numpy = importlib.import_module("numpy")
    members = {name: getattr(cupy, name) for name in public(cupy)}
    ufuncs = {name: value for name, value in members.items() if isinstance(value, cupy.ufunc)}
    functions = {name: value for name, value in members.items() if inspect.isroutine(value)}
    return {
        "versions": {"cupy": cupy.__version__, "numpy": numpy.__version__},
        "module": sorted(members),
        "functions": {name: arguments(value) for name, value in functions.items()},
        "ufuncs": sorted(ufuncs),
        "scatter_ufuncs": sorted(name for name, value in ufuncs.items() if can_scatter(value)),
        "ndarray": sorted(set(dir(cupy.ndarray)) - set(dir(object))),
        "methods": {
            name: method_arguments(getattr(cupy.ndarray, name))
            for name in public(cupy.ndarray)
            if callable(getattr(cupy.ndarray, name))
        },
        "submodules": {name: public(importlib.import_module(f"cupy.{name}")) for name in SUBMODULES},
    }


def text(found: dict[str, Any]) -> str:
    """JSON with a line for each part, so that a difference between two versions can be read."""
    return "{\n" + ",\n".join(f'"{key}": {json.dumps(value, sort_keys=True)}' for key, value in found.items()) + "\n}\n"


if __name__ == "__main__":
    PATH.write_text(text(names()), encoding="utf-8")
