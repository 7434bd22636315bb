"""Matrix product."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError
from minivit.ops.reductions import sum
from minivit.ops.shaping import reshape


class Matmul(Op):
    """Y = A B over the last two axes; the axes before them broadcast.

    dA = dY B^T and dB = A^T dY: each is the only product of dY with the other factor that has the right shape.
    """

    primitive = True
    keeps = ("a", "b")

    @staticmethod
    def forward(F: Any, a: Any, b: Any) -> Any:
        return a @ b

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, a: Any, b: Any, *, wanted: tuple[bool, ...]) -> tuple[Any, Any]:
        da = F.sum_to(dy @ F.swapaxes(b, -1, -2), a.shape) if wanted[0] else None
        db = F.sum_to(F.swapaxes(a, -1, -2) @ dy, b.shape) if wanted[1] else None
        return da, db


def matmul(a: Any, b: Any) -> Tensor:
    """`a @ b`: (..., n, k) times (..., k, m); a vector is a row on the left, a column on the right.

    Raises
    ------
    ShapeError
        If the inner lengths differ.
    """
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul of {a.shape} and {b.shape}: both need an axis; multiply numbers with *")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        inner = b.shape[-2 if b.ndim > 1 else 0]
        raise ShapeError(f"matmul of {a.shape} and {b.shape}: the inner lengths {a.shape[-1]} and {inner} differ")
    if a.ndim == 1 and b.ndim == 1:
        return sum(a * b)
    if a.ndim == 1:
        return reshape(apply(Matmul, reshape(a, 1, -1), b), *b.shape[:-2], b.shape[-1])
    if b.ndim == 1:
        return reshape(apply(Matmul, a, reshape(b, -1, 1)), a.shape[:-1])
    return apply(Matmul, a, b)
