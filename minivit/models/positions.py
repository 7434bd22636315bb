"""Position embeddings for another image size: the grid of patches is resized as an image of D channels would be.

Four methods are in use, and they differ. All leave the class token's vector as it is and take the grid to be square.

===============  ======================================================================================================
``google``       bilinear between aligned corners (``scipy.ndimage.zoom(..., order=1)``): the first and the last row and
                 column keep their values. Dosovitskiy et al. 2020, section 3.2, and vit_jax/checkpoint.py.
``timm_npz``     bilinear with half-pixel centres: timm where it reads Google's ``.npz`` files.
``timm``         bicubic with antialias, where the kernel has a = -1/2: timm's ``resample_abs_pos_embed``.
``huggingface``  bicubic without antialias, where it has a = -3/4: ``interpolate_pos_encoding`` in transformers.
===============  ======================================================================================================
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivit.augment.resize import interpolation_matrix
from minivit.autograd.errors import ShapeError

METHODS: dict[str, dict[str, Any]] = {
    "google": {"interpolation": "bilinear", "align_corners": True},
    "timm_npz": {"interpolation": "bilinear"},
    "timm": {"interpolation": "bicubic", "antialias": True, "a": -0.5},
    "huggingface": {"interpolation": "bicubic", "a": -0.75},
}


def resize_positions(positions: np.ndarray, side: int, method: str = "google", class_token: bool = True) -> np.ndarray:
    """Resize a position embedding to another grid of patches.

    Parameters
    ----------
    positions : array (1, N, D)
        N = s^2 rows for the patches, row by row, after one for the class token if there is one.
    side : int
        Patches in a row and in a column afterwards.
    method : {"google", "timm_npz", "timm", "huggingface"}
        See the table above.
    class_token : bool
        Whether the first row is the class token's.

    Returns
    -------
    array (1, side^2 (+ 1), D) of the same dtype
        Computed in float64. For the side that it has, the values as they are.

    Raises
    ------
    ValueError
        For an unknown method, or a side below 1.
    ShapeError
        If the rows for the patches are no square grid.

    Examples
    --------
    >>> grid = np.array([0.0, 1, 2, 3]).reshape(1, 4, 1)  # 0 1 above 2 3
    >>> resize_positions(grid, 3, "google", class_token=False).reshape(3, 3)
    array([[0. , 0.5, 1. ],
           [1. , 1.5, 2. ],
           [2. , 2.5, 3. ]])
    """
    if method not in METHODS:
        raise ValueError(f"positions can be resized by {', '.join(METHODS)}; got {method!r}")
    if side < 1:
        raise ValueError(f"resize_positions: expected a grid of at least 1 x 1 patches, got a side of {side}")
    if positions.ndim != 3 or positions.shape[0] != 1:
        raise ShapeError(f"resize_positions: expected positions (1, N, D), got {positions.shape}")
    token, patches = positions[0, : int(class_token)], positions[0, int(class_token) :]  # (0 or 1, D), (s s, D)
    old = math.isqrt(len(patches))
    if old < 1 or old * old != len(patches):
        with_token = " after the class token's" if class_token else ""
        hint = ""
        if math.isqrt(len(positions[0])) ** 2 == len(positions[0]):
            hint = "; without a class token they are one: pass class_token=False"
        elif math.isqrt(len(positions[0]) - 1) ** 2 == len(positions[0]) - 1:
            hint = "; with a class token they are one: pass class_token=True"
        raise ShapeError(f"resize_positions: {len(patches)} rows{with_token} are no square grid of patches{hint}")
    if old == side:
        return positions.copy()
    matrix = interpolation_matrix(old, side, **METHODS[method])  # (side, s)
    grid = patches.astype(np.float64).reshape(old, old, -1)  # (s, s, D)
    resized = np.einsum("ri,cj,ijd->rcd", matrix, matrix, grid, optimize=True)  # (side, side, D)
    rows = resized.reshape(side * side, -1).astype(positions.dtype)
    return np.concatenate([token, rows])[None]  # (1, side side (+ 1), D)
