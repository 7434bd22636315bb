"""Every op, in single and in double precision, against the frameworks: the fast path that trains, kernels included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from minivit.autograd import Tensor
from minivit.compare.cases import FRAMEWORKS, Case, cases
from minivit.compare.rows import DTYPES, Row, merged, row

TOLERANCES = {"float32": 2e-5, "float64": 1e-13}  # relative; ten times what the worst op has


def op_rows(
    references: Sequence[str], dtypes: Iterable[str] = DTYPES, chosen: Sequence[Case] | None = None
) -> list[Row]:
    """A row for every op, reference and dtype.

    Parameters
    ----------
    references : sequence of {"PyTorch", "JAX"}
    dtypes : iterable of {"float32", "float64"}
    chosen : sequence of Case, optional
        All by default.

    Returns
    -------
    list of Row
        In alphabetical order; an op's cases are merged into one row.
    """
    every = cases() if chosen is None else chosen
    ordered = sorted(every, key=lambda case: case.op)
    return merged(found for case in ordered for dtype in dtypes for found in _case_rows(case, dtype, references))


def _case_rows(case: Case, dtype: str, references: Sequence[str]) -> Iterator[Row]:
    inputs = [cast(array, dtype) for array in case.inputs]
    tensors = [
        None if x is None else Tensor(x, requires_grad=x.dtype.kind == "f" and position not in case.constant)
        for position, x in enumerate(inputs)
    ]
    output = case.function(*tensors, **case.attributes)
    cotangent = np.random.default_rng(0).standard_normal(output.shape).astype(output.dtype)
    output.backward(cotangent)
    wanted = [position for position, x in enumerate(tensors) if x is not None and x.requires_grad]
    ours = output.numpy(), {f"input {i}": tensors[i].grad for i in wanted}  # type: ignore[union-attr]
    for reference in references:
        runner = FRAMEWORKS[reference].runner(case.op, case.attributes, case.constant)
        value, gradients = runner(inputs, cotangent)
        theirs = value, {f"input {i}": gradients[i] for i in wanted}
        yield row("op", case.op, reference, ours, theirs, TOLERANCES[dtype])


def cast(array: Any, dtype: str) -> Any:
    """An input of a case in another floating-point dtype; integers, bools and None stay."""
    return array.astype(dtype) if array is not None and array.dtype.kind == "f" else array
