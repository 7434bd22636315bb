"""The functions of Intel's MKL that kernels call, through ctypes, which lets go of the interpreter lock meanwhile.

The library is used in its sequential form: it computes on the thread that calls it. It makes its names known to the
whole process, so that a PyTorch imported later computes with it too, on one thread; one imported earlier does not.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

# mkl_service.h, mkl_types.h, mkl_cblas.h and mkl_vml_defines.h
LP64, GNU_LP64, SEQUENTIAL = 0, 2, 1
AVX512 = 12  # what MKL_CBWR_Get_Auto_Branch answers for AVX-512; later extensions have larger numbers
ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112
HIGH_ACCURACY, IGNORE_ERRORS = 0x2, 0x100  # within 1 unit in the last place; NaNs are passed on unreported

Array = np.ndarray[Any, np.dtype[Any]]


class Mkl:
    """A loaded library.

    Parameters
    ----------
    path : str
        Of ``libmkl_rt``, which loads the rest.

    Raises
    ------
    OSError
        If it cannot be loaded, or another part of the process has set it to 64-bit integers or threads of its own.

    Attributes
    ----------
    path, version : str
        Where it came from, and which it is.
    has_avx512 : bool
        Whether it has AVX-512 code for this processor. For other makers' processors than Intel's it has not.
    """

    def __init__(self, path: str) -> None:
        self._numpys = ThreadpoolController().select(user_api="blas").lib_controllers
        library = ctypes.CDLL(path)
        if library.MKL_Set_Interface_Layer(LP64) not in (LP64, GNU_LP64):
            raise OSError(f"{path}: another part of this process has set MKL to 64-bit integers")
        if library.MKL_Set_Threading_Layer(SEQUENTIAL) != SEQUENTIAL:
            raise OSError(f"{path}: another part of this process has set MKL to threads of its own")
        self.path = path
        self.version = _version(library)
        self.has_avx512 = library.MKL_CBWR_Get_Auto_Branch() >= AVX512
        self._gemm = {np.dtype(np.float32): library.cblas_sgemm, np.dtype(np.float64): library.cblas_dgemm}
        self._erf = {np.dtype(np.float32): library.vmsErf, np.dtype(np.float64): library.vmdErf}
        integer, pointer = ctypes.c_int, ctypes.c_void_p
        for dtype, number in ((np.dtype(np.float32), ctypes.c_float), (np.dtype(np.float64), ctypes.c_double)):
            gemm, erf = self._gemm[dtype], self._erf[dtype]
            gemm.argtypes = [integer] * 6 + [number, pointer, integer, pointer, integer, number, pointer, integer]
            erf.argtypes = [integer, pointer, pointer, ctypes.c_int64]
            gemm.restype = erf.restype = None

    def matmul(self, a: Array, b: Array, out: Array) -> bool:
        """Write a b to `out`, which overlaps neither, if MKL may and can; otherwise write nothing and say False.

        It can where all are matrices of one dtype, `out` is C-contiguous and one axis of each of the others contiguous.
        It may where NumPy's own products run on a single thread too.
        """
        if not (a.ndim == b.ndim == out.ndim == 2 and a.dtype == b.dtype == out.dtype and out.flags.c_contiguous):
            return False
        if not (a.size and b.size):
            return False
        gemm, of_a, of_b = self._gemm.get(out.dtype), _layout(a), _layout(b)
        if gemm is None or of_a is None or of_b is None or any(library.num_threads > 1 for library in self._numpys):
            return False
        (a_order, a_step), (b_order, b_step), (rows, columns) = of_a, of_b, out.shape
        a_start, b_start, start = a.ctypes.data, b.ctypes.data, out.ctypes.data
        sizes = rows, columns, a.shape[1]
        gemm(ROW_MAJOR, a_order, b_order, *sizes, 1.0, a_start, a_step, b_start, b_step, 0.0, start, columns)
        return True

    def erf(self, x: Array) -> None:
        """The error function, in place.   x float32 (error below 1 unit in the last place) or float64, contiguous."""
        start = x.ctypes.data
        self._erf[x.dtype](x.size, start, start, HIGH_ACCURACY | IGNORE_ERRORS)


def _version(library: ctypes.CDLL) -> str:
    text = ctypes.create_string_buffer(200)
    library.MKL_Get_Version_String(text, len(text))
    words = text.value.decode().split()
    return words[words.index("Version") + 1].partition("-")[0] if "Version" in words else " ".join(words)


def _layout(matrix: Array) -> tuple[int, int] | None:
    """How BLAS is told of a matrix: its order and the distance of its rows (or columns); None where it cannot be."""
    size, (rows, columns) = matrix.itemsize, matrix.strides
    if columns == size and rows >= size * matrix.shape[1] and rows % size == 0:
        return AS_IT_IS, rows // size
    if rows == size and columns >= size * matrix.shape[0] and columns % size == 0:
        return TRANSPOSED, columns // size
    return None
