"""In which precision kernels multiply matrices: float32, or bfloat16 where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minivit.backend.onednn import OneDnn

PRECISIONS = ("float32", "bf16")

_ONEDNN: ContextVar[OneDnn | None] = ContextVar("_ONEDNN", default=None)  # that multiplies; None where NumPy does


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Multiply float32 matrices in another precision on the CPU, until the context is left.

    It concerns the matrix products of `linear` and `mlp`, forward and backward: with ``"bf16"`` their operands are
    rounded to bfloat16 and the products summed in float32, in which everything else stays: weights, activations,
    gradients, attention, normalisation, losses and the optimiser. It holds in the thread that enters the context, and
    in the `Workers` that it hands work to. Other dtypes, other devices, and the text of an op in place of its kernel
    are not concerned.

    Parameters
    ----------
    precision : {"float32", "bf16"}

    Raises
    ------
    ValueError
        For another precision.
    RuntimeError
        If the processor has no bfloat16 arithmetic (neither AMX nor AVX512_BF16), or oneDNN (the extra ``bf16``) is not
        installed.

    Examples
    --------
    >>> import minivit as mv
    >>> from minivit.backend import matmul_precision
    >>> with matmul_precision("bf16"):  # doctest: +SKIP
    ...     loss = mv.ops.cross_entropy(model(images), labels)
    ...     loss.backward()
    """
    if precision not in PRECISIONS:
        raise ValueError(f"matmul_precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    library: OneDnn | None = None
    if precision == "bf16":
        from minivit.backend.onednn import load_onednn

        library = load_onednn()
    token = _ONEDNN.set(library)
    try:
        yield
    finally:
        _ONEDNN.reset(token)


def bf16_products() -> OneDnn | None:
    """What multiplies float32 matrices in bfloat16 here, or None where they are multiplied as they are."""
    return _ONEDNN.get()
