"""oneDNN's matrix product of bfloat16 numbers with float32 sums, through ctypes, which lets go of the interpreter lock.

bfloat16 is the upper half of a float32: the same range, eight bits of precision. Processors with AVX512_BF16 multiply
twice as many of them at a time as float32 numbers, those with AMX many more.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import weakref
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from minivit.backend.installed_library import installed_library
from minivit.backend.pool import empty

NAME = "lib/libdnnl.so.3"
"""Where pip and conda put the library; 3 is the number of its binary interface."""

# oneapi/dnnl/dnnl_types.h and dnnl_common_types.h, version 3
CPU, IN_ORDER = 1, 1
BFLOAT16, FLOAT32 = 2, 3
SOURCE, RESULT, WEIGHTS = 1, 17, 33
HAS_BF16 = 0x80  # of dnnl_cpu_isa_t: AVX512_BF16, which all processors with AMX have too
STATUS = {1: "out of memory", 2: "invalid arguments", 3: "unimplemented", 5: "runtime error"}

KEPT = 256
"""Prepared products, and casts, that each thread keeps: those of a training step are a few dozen."""

Array = np.ndarray[Any, np.dtype[Any]]
Dimensions = ctypes.c_int64 * 12


class Argument(ctypes.Structure):
    """dnnl_exec_arg_t: which of a primitive's arguments, and the memory that it is."""

    _fields_ = [("which", ctypes.c_int), ("memory", ctypes.c_void_p)]


class OneDnn:
    """A loaded library.

    Parameters
    ----------
    path : str

    Raises
    ------
    OSError
        If it cannot be loaded, or has no bfloat16 arithmetic for this processor.

    Attributes
    ----------
    path, version : str
        Where it came from, and which it is.
    """

    def __init__(self, path: str) -> None:
        self._numpys = ThreadpoolController().select(user_api="blas").lib_controllers
        self.library = ctypes.CDLL(path)
        self.path, self.version = path, _version(self.library)
        if not self.library.dnnl_get_effective_cpu_isa() & HAS_BF16:
            raise OSError("this processor has neither AMX nor AVX512_BF16")
        self.library.dnnl_memory_set_data_handle.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self.engine = ctypes.c_void_p()
        self.call("engine_create", ctypes.byref(self.engine), CPU, ctypes.c_size_t(0))
        self._of_thread = _OfThread(self)
        self._process = os.getpid()

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        """Write a b to `out`, which overlaps neither: a and b rounded to bfloat16, their products summed in float32.

        It computes on as many threads as NumPy's products do; on one in a process that was forked.

        Parameters
        ----------
        a, b, out : array
            Matrices of float32.
        """
        if not (a.size and b.size):
            out[...] = 0.0
            return
        result = out if out.flags.c_contiguous else empty(out.shape, out.dtype)
        a, b = _one_piece(a), _one_piece(b)
        # OpenMP's threads do not come along with a fork, and GCC's library (libgomp) does not notice: a child that asks
        # the parent's team for work waits for it for ever. One thread is the caller itself.
        forked = os.getpid() != self._process
        threads = 1 if forked else max((library.num_threads for library in self._numpys), default=1)
        self._of_thread.use_threads(threads)
        product = self._of_thread.product(*a.shape, b.shape[1], a.flags.c_contiguous, b.flags.c_contiguous)
        product(self.to_bfloat16(a), self.to_bfloat16(b), result)
        if result is not out:
            out[...] = result

    def to_bfloat16(self, x: Array) -> Array:
        """Round to the nearest, ties to even.

        Parameters
        ----------
        x : array
            float32, in one piece of memory.

        Returns
        -------
        array of uint16
            The bits of the bfloat16 numbers, one after the other as the numbers are in memory.
        """
        bits = empty((x.size,), np.uint16)
        self._of_thread.cast(x.size)(x, bits)
        return bits

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the library; RuntimeError where it fails."""
        status = getattr(self.library, f"dnnl_{name}")(*arguments)
        if status:
            raise RuntimeError(f"oneDNN {self.version}: dnnl_{name} failed: {STATUS.get(status, f'status {status}')}")


class _OfThread(threading.local):
    """Prepared products and casts: a primitive computes in the thread that made it, with that thread's scratch memory.

    It is made for as many threads as OpenMP is set to then, which is a setting of each thread that calls it.
    """

    def __init__(self, onednn: OneDnn) -> None:
        self.product = lru_cache(KEPT)(partial(_product, onednn))
        self.cast = lru_cache(KEPT)(partial(_cast, onednn))
        self._set_threads = getattr(onednn.library, "omp_set_num_threads", None)  # None: a build without OpenMP
        self._threads = 0

    def use_threads(self, count: int) -> None:
        if count != self._threads and self._set_threads is not None:
            self._set_threads(count)
            self.product.cache_clear()
            self.cast.cache_clear()
            self._threads = count


def _product(onednn: OneDnn, rows: int, inner: int, columns: int, a_by_rows: bool, b_by_rows: bool) -> _Primitive:
    """(rows, inner) (inner, columns) -> (rows, columns), each operand by rows or by columns in memory."""
    a = (rows, inner), (inner, 1) if a_by_rows else (1, rows), BFLOAT16
    b = (inner, columns), (columns, 1) if b_by_rows else (1, inner), BFLOAT16
    out = (rows, columns), (columns, 1), FLOAT32
    return _Primitive(onednn, "matmul", {SOURCE: a, WEIGHTS: b, RESULT: out})


def _cast(onednn: OneDnn, size: int) -> _Primitive:
    return _Primitive(onednn, "reorder", {SOURCE: ((size,), (1,), FLOAT32), RESULT: ((size,), (1,), BFLOAT16)})


class _Primitive:
    """A computation that oneDNN has written machine code for, called with the arrays that it reads and writes.

    Parameters
    ----------
    onednn : OneDnn
    kind : {"matmul", "reorder"}
    arguments : dict of int to (shape, strides, type)
        In the order of the call, strides counted in elements.
    """

    def __init__(
        self, onednn: OneDnn, kind: str, arguments: dict[int, tuple[tuple[int, ...], tuple[int, ...], int]]
    ) -> None:
        call, engine = onednn.call, onednn.engine
        self._place, self._execute = onednn.library.dnnl_memory_set_data_handle, onednn.library.dnnl_primitive_execute
        self._stream, self._primitive = ctypes.c_void_p(), ctypes.c_void_p()
        description = ctypes.c_void_p()
        layouts = [ctypes.c_void_p() for _ in arguments]
        self._memories = [ctypes.c_void_p() for _ in arguments]
        for layout, memory, (shape, strides, dtype) in zip(layouts, self._memories, arguments.values(), strict=True):
            where = ctypes.byref(layout)
            sizes, steps = Dimensions(*shape), Dimensions(*strides)
            call("memory_desc_create_with_strides", where, len(shape), sizes, dtype, steps)
            call("memory_create", ctypes.byref(memory), layout, engine, None)
        if kind == "matmul":
            a, b, out = layouts
            call("matmul_primitive_desc_create", ctypes.byref(description), engine, a, b, None, out, None)
        else:
            source, result = layouts
            call("reorder_primitive_desc_create", ctypes.byref(description), source, engine, result, engine, None)
        call("primitive_create", ctypes.byref(self._primitive), description)
        call("stream_create", ctypes.byref(self._stream), engine, IN_ORDER)
        call("primitive_desc_destroy", description)
        for layout in layouts:
            call("memory_desc_destroy", layout)
        pairs = [Argument(which, memory) for which, memory in zip(arguments, self._memories, strict=True)]
        self._arguments = (Argument * len(pairs))(*pairs)
        handles = [("primitive", self._primitive), ("stream", self._stream)]
        handles += [("memory", memory) for memory in self._memories]
        weakref.finalize(self, _destroy, onednn, handles).atexit = False

    def __call__(self, *arrays: Array) -> None:
        """Compute; on a CPU it is done when the call returns."""
        for memory, array in zip(self._memories, arrays, strict=True):
            self._place(memory, array.ctypes.data)
        if self._execute(self._primitive, self._stream, len(arrays), self._arguments):
            raise RuntimeError("oneDNN: a primitive failed; its scratch memory may be too large for what is free")


def _destroy(onednn: OneDnn, handles: list[tuple[str, ctypes.c_void_p]]) -> None:
    for kind, handle in handles:
        onednn.call(f"{kind}_destroy", handle)


def onednn_found() -> Path | None:
    """The library in this Python's environment, or None."""
    return installed_library(NAME)


@cache
def load_onednn() -> OneDnn:
    """Load the library, once.

    Raises
    ------
    RuntimeError
        If there is none, or it cannot be loaded, or the processor has no bfloat16 arithmetic.
    """
    path = onednn_found()
    if path is None:
        raise RuntimeError(
            f"bfloat16 needs oneDNN, which is not in this Python's environment, {sys.prefix}; "
            'pip install "minivit[bf16]" (x86-64, Linux), or stay with float32'
        )
    try:
        return OneDnn(str(path))
    except OSError as error:
        raise RuntimeError(f"bfloat16 is not to be had here: {error}; stay with float32") from error


def _version(library: ctypes.CDLL) -> str:
    class Version(ctypes.Structure):
        _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int)]

    library.dnnl_version.restype = ctypes.POINTER(Version)
    version = library.dnnl_version().contents
    return f"{version.major}.{version.minor}.{version.patch}"


def _one_piece(x: Array) -> Array:
    """The matrix itself where its rows, or its columns, lie one after the other; a copy that does, elsewhere."""
    return x if x.flags.c_contiguous or x.flags.f_contiguous else np.ascontiguousarray(x)
