"""How far rounding alone may carry the results of a function at one point.

Sums cancel. The gradient p_i (dy_i - sum_j dy_j p_j) of a softmax that is nearly sure of one entry is a small
difference of large terms, and whoever computes it from p keeps few of its digits. An error bound has to be relative to
the terms: each rounding is off by a fraction eps of what it rounds, and the result by the sum of what these errors
become in it (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., sections 1.7 and 3.3).

What they become is measured by Monte Carlo arithmetic (D. S. Parker, UCLA CSD-970002, 1997): the function, built from
primitives, runs again and again in float64 while the entries of each primitive's result are moved by a relative step,
up or down at random. The step is far above float64's rounding and small enough for the results to follow in proportion,
so their deviation divided by the step counts the roundings, in units of eps, that a result carries.

No hand-derived backward and no kernel takes part in it: a wrong one cannot make room for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minivit.autograd.hooks import Hook, hooked
from minivit.autograd.node import Node
from minivit.autograd.op import Op
from minivit.autograd.state import unrolled
from minivit.autograd.tensor import Tensor
from minivit.backend import kernels_disabled

NdArray = np.ndarray[Any, Any]

SAMPLES = 16
STEP = 1024.0
"""In units of the dtype's eps. Where a step takes a maximum or a kink to its other branch, the results jump, and make
room for ALLOWED / STEP of the jump, a hundredth: a backward that takes the wrong branch is found all the same."""

ALLOWED = 10.0
"""Times the root mean square of the deviations, which stands for one rounding, of one eps, in every primitive. Two
computations are compared; an addition or a product rounds by half an eps, but exp, log and erf are off by up to 4,
and a kernel has two or three roundings where the text has one."""


class _Shaken(Hook):
    """Multiplies what each primitive makes by 1 + step or by 1 - step, entry by entry at random."""

    def __init__(self, step: float, rng: np.random.Generator) -> None:
        self.step, self.rng = step, rng

    def shake(self, array: NdArray) -> None:
        """In place."""
        array *= 1.0 + self.step * self.rng.choice((-1.0, 1.0), array.shape)

    def after_forward(
        self, op: type[Op], inputs: tuple[Tensor | None, ...], output: Tensor, attributes: dict[str, Any]
    ) -> None:
        """A view of an input, as of a reshape, was shaken with it."""
        given = [x.data for x in inputs if x is not None]
        if not any(np.may_share_memory(output.data, array) for array in given):
            self._shake_floats(output.data)

    def after_backward(self, node: Node, input_gradients: tuple[Any, ...]) -> None:
        """Under ``create_graph`` gradients are Tensors, made by forwards."""
        for gradient in input_gradients:
            if isinstance(gradient, np.ndarray):
                self._shake_floats(gradient)

    def _shake_floats(self, array: NdArray) -> None:
        if array.dtype.kind == "f" and array.flags.writeable:
            self.shake(array)


def rounding_of(
    run: Callable[[Sequence[Any]], Sequence[NdArray]], given: Sequence[Any], dtype: Any, rng: np.random.Generator
) -> list[float]:
    """For each result, how far two computations of it in `dtype` may lie apart: an absolute bound for every entry.

    Parameters
    ----------
    run : callable
        Arrays -> results, all float64. It runs with composed ops built from primitives.
    given : sequence of array or None
        What it is called with. Floats are shaken too, since sums and products of them round inside a primitive.
    dtype : dtype
        In which the results that are compared were computed.
    rng : Generator

    Returns
    -------
    list of float
    """
    eps = float(np.finfo(dtype).eps)
    shaken = _Shaken(STEP * eps, rng)
    with kernels_disabled(), unrolled():
        exact = [np.array(result) for result in run(given)]
        squares = [0.0] * len(exact)
        for _ in range(SAMPLES):
            moved = [x.copy() if isinstance(x, np.ndarray) else x for x in given]
            for x in moved:
                if isinstance(x, np.ndarray) and x.dtype.kind == "f":
                    shaken.shake(x)
            with hooked(shaken):
                results = run(moved)
            for i, (result, at_rest) in enumerate(zip(results, exact, strict=True)):
                squares[i] += float(np.max(np.abs(result - at_rest), initial=0.0)) ** 2
    return [ALLOWED / STEP * float(np.sqrt(square / SAMPLES)) for square in squares]
