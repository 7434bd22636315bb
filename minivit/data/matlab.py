"""Lists of numbers in MATLAB's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minivit.data.dataset import DatasetError, Indices


def load_matlab(path: Path) -> dict[str, Any]:
    """The variables in a file of MATLAB's, as SciPy reads them.

    Raises
    ------
    DatasetError
        If the file is none.
    ImportError
        If SciPy is not installed.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(f'{path}: reading it needs SciPy: pip install "minivit[examples]"') from error
    try:
        variables: dict[str, Any] = loadmat(path, squeeze_me=True)
    except (ValueError, TypeError, NotImplementedError, EOFError) as error:
        raise DatasetError(f"{path}: cannot be read as a file of MATLAB's: {error}; replace it") from error
    return variables


def read_matlab(path: Path, names: Sequence[str]) -> dict[str, Indices]:
    """Lists of integers by name: arrays (n,) of int64.

    Raises
    ------
    DatasetError
        If the file is no file of MATLAB's, or lacks a list.
    ImportError
        If SciPy is not installed.
    """
    variables = load_matlab(path)
    lists = {}
    for name in names:
        values = np.atleast_1d(np.asarray(variables.get(name, np.zeros(0))))
        if values.ndim != 1 or values.dtype.kind not in "iu" or len(values) == 0:
            raise DatasetError(f"{path}: expected a list of integers {name!r} among {sorted(variables)}; replace it")
        lists[name] = values.astype(np.int64)
    return lists
