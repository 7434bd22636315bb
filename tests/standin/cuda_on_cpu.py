"""A stand-in for `cupy.RawKernel` that runs CUDA sources on the CPU: g++ compiles them behind `cuda_on_cpu.h`.

It takes what CuPy takes, and refuses what CuPy would pass on to a GPU that then computes nonsense: an argument whose
type is not the one that the kernel declares, a grid beyond CUDA's limits, arrays of another device than the current.
"""

import ctypes
import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import standin

HEADER = Path(__file__).with_name("cuda_on_cpu.h")
COMPILER = shutil.which("g++")
SCALARS = {"int": np.int32, "unsigned": np.uint32, "long long": np.int64, "float": np.float32, "double": np.float64}
ARRAYS = {**SCALARS, "unsigned char": np.uint8}
KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\((\w+)\) )?(\w+)\((.*?)\)\s*\{', re.DOTALL)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: its C type, and whether it is an array and one that is only read."""

    name: str
    ctype: str
    array: bool
    constant: bool


def signatures(code: str, options: tuple[str, ...]) -> dict[str, list[Parameter]]:
    """The kernels of a source and their parameters, with macros and typedefs of a single word put in."""
    words = dict(option[2:].split("=", 1) for option in options if option.startswith("-D"))
    words |= {new: words.get(old, old) for old, new in re.findall(r"typedef (\w+) (\w+);", code)}
    kernels = {}
    for _, name, declared in KERNEL.findall(code):
        kernels[name] = parameters = []
        for text in declared.split(","):
            ctype, parameter = re.fullmatch(r"\s*(.*?)(\w+)\s*", text, re.DOTALL).groups()
            constant, array = "const" in ctype.split(), "*" in ctype
            for word in ("const", "*", "__restrict__"):
                ctype = ctype.replace(word, " ")
            ctype = " ".join(words.get(word, word) for word in ctype.split())
            parameters.append(Parameter(parameter, ctype, array, constant))
    return kernels


def build(code: str, options: tuple[str, ...], folder: Path, flags: tuple[str, ...] = ()) -> Path:
    """Compile a CUDA source for the CPU; what was built before in this folder is taken again."""
    key = hashlib.sha256("\0".join([code, HEADER.read_text(encoding="utf-8"), *options, *flags]).encode()).hexdigest()
    library = folder / f"{key[:16]}.so"
    if not library.exists():
        source = library.with_suffix(".cpp")
        launchers = "".join(f"LAUNCHER({name})\n" for name in signatures(code, options))
        source.write_text(f'#include "{HEADER}"\nnamespace {{\n{code}\n}}\n{launchers}', encoding="utf-8")
        command = [COMPILER, "-std=c++17", "-O1", "-fPIC", "-shared", *flags, *options, str(source), "-o", str(library)]
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{run.stderr}")
    return library


@dataclass(frozen=True)
class Launch:
    """What a kernel was called with."""

    name: str
    options: tuple[str, ...]
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]


class RawKernel:
    """`cupy.RawKernel` for the stand-in's arrays. `in_folder` makes the class of one test."""

    folder: Path
    flags: tuple[str, ...] = ()
    launches: list[Launch]
    made: list[str]

    def __init__(self, code: str, name: str, options: tuple[str, ...] = ()) -> None:
        if not isinstance(options, tuple):
            raise TypeError("Argument 'options' has incorrect type (expected tuple)")
        self.code, self.name, self.options = code, name, options
        self.parameters = signatures(code, options)[name]
        self.made.append(name)

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
        self._check_shape(grid, block)
        if len(args) != len(self.parameters):
            raise TypeError(f"{self.name} takes {len(self.parameters)} arguments, got {len(args)}")
        held = [self._pass(*pair) for pair in zip(self.parameters, args, strict=True)]
        self.launches.append(Launch(self.name, self.options, grid, block, args))
        self.run(grid, block, held)

    def run(self, grid: tuple[int, ...], block: tuple[int, ...], held: list[np.ndarray]) -> None:
        function = ctypes.CDLL(str(build(self.code, self.options, self.folder, self.flags)))[f"launch_{self.name}"]
        addresses = (ctypes.c_void_p * len(held))(*(item.ctypes.data for item in held))
        shapes = [(ctypes.c_uint * 3)(*(*shape, 1, 1)[:3]) for shape in (grid, block)]
        if function(*shapes, addresses):
            raise RuntimeError(f"{self.name}: a barrier that only some threads of a block reach")

    def _check_shape(self, grid: tuple[int, ...], block: tuple[int, ...]) -> None:
        for what, shape, limits in [("grid", grid, (2**31 - 1, 65535, 65535)), ("block", block, (1024, 1024, 64))]:
            good = isinstance(shape, tuple) and 1 <= len(shape) <= 3 and all(type(n) is int for n in shape)
            if not good or not all(1 <= n <= most for n, most in zip(shape, limits, strict=False)):
                raise ValueError(f"{self.name}: CUDA launches no {what} {shape}")

    def _pass(self, parameter: Parameter, value: Any) -> np.ndarray:
        """The argument as bytes in memory: a number, or the address of an array's numbers."""
        if not parameter.array:
            if type(value) is not SCALARS[parameter.ctype]:
                raise TypeError(f"{self.name}: {parameter.name} is {parameter.ctype}, got {type(value).__name__}")
            return np.array([value])
        if not isinstance(value, standin.StandInArray) or value.dtype != ARRAYS[parameter.ctype]:
            got = getattr(value, "dtype", type(value).__name__)
            raise TypeError(f"{self.name}: {parameter.name} is {parameter.ctype} *, got {got}")
        host = standin.on_current_device(value)
        if not host.flags.c_contiguous:
            raise ValueError(f"{self.name}: {parameter.name} is no C-contiguous array")
        return np.array([host.ctypes.data], np.uintp)


class Recorder(RawKernel):
    """Checks and lists its calls, and computes nothing."""

    def run(self, grid: tuple[int, ...], block: tuple[int, ...], held: list[np.ndarray]) -> None:
        pass


def in_folder(folder: Path, *flags: str) -> type[RawKernel]:
    """A RawKernel that builds in a folder and lists in `made` and `launches` what was made and called."""
    return type("RawKernel", (RawKernel,), {"folder": folder, "flags": flags, "launches": [], "made": []})


def recorder() -> type[RawKernel]:
    """A RawKernel that lists what was made and called, for tests that need no compiler."""
    return type("Recorder", (Recorder,), {"launches": [], "made": []})
