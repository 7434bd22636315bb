"""Results that say where they come from: the command, commit, seed, device and versions beside every measured number.

A result is one flat JSON object, written by the program that measured it:

=========================  ==========================================================================================
``command``                the command line to repeat it, from the root of a checkout
``commit``                 of the code that ran, or null where it did not run from a checkout
``uncommitted_changes``    whether tracked files differed from that commit, or null
``seed``                   an integer, a list of them for several runs, or null where nothing is random
``device``                 ``"cpu"``, ``"cuda:0"``, ...
``device_name``            the processor or the GPU
``cpu``, ``cores``         the host's processor and how many of its cores this process may use
``platform``               operating system and machine
``versions``               of Python, NumPy, minivit and whatever else took part; of the BLAS as a string of its own;
                           of MKL where kernels used it
``finished``               UTC, ISO 8601
``wall_seconds``           of the whole measurement
=========================  ==========================================================================================

and beside them what was measured. An accuracy is a fraction from 0 to 1, and a result that has one also says on what:
``dataset``, ``split`` and ``images``, the number of images it was taken over.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from minivit.backend import backend_for_device, mkl_in_use
from minivit.files import write_text
from minivit.version import __version__

_TYPES: dict[str, tuple[type, ...]] = {
    "command": (str,),
    "commit": (str, type(None)),
    "uncommitted_changes": (bool, type(None)),
    "seed": (int, list, type(None)),
    "device": (str,),
    "device_name": (str,),
    "cpu": (str,),
    "cores": (int,),
    "platform": (str,),
    "versions": (dict,),
    "finished": (str,),
    "wall_seconds": (int, float),
}
_ACCURACY_NEEDS: dict[str, tuple[type, ...]] = {"dataset": (str,), "split": (str,), "images": (int,)}


class ResultError(ValueError):
    """A result that does not say what a result has to say."""


def environment(device: str = "cpu", packages: Iterable[str] = ()) -> dict[str, Any]:
    """Where a measurement runs: commit, device, processor, versions.

    Parameters
    ----------
    device : str
        The device that computes, as in `minivit.tensor`.
    packages : iterable of str
        Further distributions whose versions belong with the result, such as ``"torch"``. Those that are not installed
        are left out.

    Returns
    -------
    dict
        The fields of a result that do not depend on what was measured.
    """
    versions = {"python": platform.python_version(), "minivit": __version__, "numpy": np.__version__}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    mkl = mkl_in_use()
    if mkl is not None:
        versions["mkl"] = mkl.version
    blas = [
        library
        for library in threadpool_info()
        if library["user_api"] == "blas" and (mkl is None or library["internal_api"] != "mkl")  # NumPy's
    ]
    if blas:
        versions["blas"] = f"{blas[0]['internal_api']} {blas[0].get('version')}, {blas[0]['num_threads']} threads"
    cpu = _cpu_model()
    if device.partition(":")[0] == "cuda":
        runtime = backend_for_device(device).module.cuda.runtime
        device_name = runtime.getDeviceProperties(int(device.partition(":")[2] or 0))["name"].decode()
        versions["cupy"] = backend_for_device(device).module.__version__
        versions["cuda"] = str(runtime.runtimeGetVersion())
    else:
        device_name = cpu
    commit, changed = _commit()
    return {
        "commit": commit,
        "uncommitted_changes": changed,
        "device": device,
        "device_name": device_name,
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def write_result(
    path: str | os.PathLike[str],
    payload: Mapping[str, Any],
    *,
    command: str,
    seed: int | list[int] | None,
    wall_seconds: float,
    device: str = "cpu",
    packages: Iterable[str] = (),
) -> dict[str, Any]:
    """Write a result as JSON, whole or not at all.

    Parameters
    ----------
    path : path
        The file to write. Its folder is made where it is missing.
    payload : mapping
        What was measured. Scalars of NumPy are written as numbers, arrays as lists.
    command : str
        The command line that measures it again.
    seed : int, list of int or None
        None where nothing is random.
    wall_seconds : float
        How long the whole measurement took.
    device, packages
        As in `environment`.

    Returns
    -------
    dict
        What was written.

    Raises
    ------
    ResultError
        If the payload uses a name that a result keeps for itself, or the whole is not a valid result (see
        `check_result`).
    """
    record: dict[str, Any] = {
        "command": command,
        "seed": seed,
        "wall_seconds": round(float(wall_seconds), 3),
        **environment(device, packages),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    taken = sorted(record.keys() & payload.keys())
    if taken:
        raise ResultError(
            f"{path}: the payload has {', '.join(taken)}, which write_result itself fills in; rename them"
        )
    record = json.loads(json.dumps({**record, **payload}, default=_plain))
    check_result(record, where=str(path))
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return record


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a result and check it.

    Raises
    ------
    ResultError
        If it is not JSON, or not a valid result.
    """
    try:
        record: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ResultError(f"{path} is not JSON: {error}") from error
    check_result(record, where=str(path))
    return record


def check_result(record: object, where: str = "result") -> None:
    """Raise unless ``record`` is a result as this module describes it.

    Raises
    ------
    ResultError
        It lists everything that is wrong, not only the first.
    """
    problems = list(_problems(record))
    if problems:
        raise ResultError(f"{where} is not a valid result:\n" + "\n".join(f"  - {problem}" for problem in problems))


def _problems(record: object) -> Iterator[str]:
    if not isinstance(record, dict):
        yield f"expected an object with the fields {', '.join(_TYPES)}; got {type(record).__name__}"
        return
    needed = dict(_TYPES)
    accuracies = {name: value for name, value in _leaves(record) if "accuracy" in name.rpartition(".")[2]}
    if accuracies:
        needed |= _ACCURACY_NEEDS
    for name, types in needed.items():
        if name not in record:
            yield f"{name} is missing" + (
                f" (the result has {next(iter(accuracies))})" if name in _ACCURACY_NEEDS else ""
            )
        elif not isinstance(record[name], types) or (isinstance(record[name], bool) and bool not in types):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in types)
            yield f"{name} should be {expected}; got {record[name]!r}"
    if record.get("command") == "":
        yield "command is empty: write the command line that measures this again"
    if isinstance(record.get("commit"), str) and not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", record["commit"]):
        yield f"commit should be the full hash; got {record['commit']!r}"
    for name in ("python", "numpy", "minivit"):
        if isinstance(record.get("versions"), dict) and name not in record["versions"]:
            yield f"versions should have {name}"
    for name, value in _leaves(record):
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{name} is {value}, which JSON cannot hold: write null and say why"
    for name, value in accuracies.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
            yield f"{name} should be a fraction from 0 to 1; got {value!r}"


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every number, string, ... in a result with its dotted name; the members of a list share the list's name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, name)
    else:
        yield name, value


def _plain(value: object) -> object:
    """What `json` cannot write itself: NumPy's scalars and arrays, and paths."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"a result holds numbers, strings, lists and objects; got {type(value).__name__}")


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> tuple[str | None, bool | None]:
    """The checkout's commit and whether tracked files differ from it; None, None outside a checkout of minivit."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # a folder, or a file in a linked work tree
        return None, None

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=60, check=True)
        return run.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None
