"""The ladder of proofs that every op climbs: eleven independent reasons to believe a hand-derived backward.

One call proves an op, also one of your own::

    class Square(mv.Op):
        "y = x^2;  dy/dx = 2 x."

        keeps = ("x",)

        def forward(F, x):
            return x * x

        def backward(F, dy, saved, x):
            return (2.0 * dy * x,)


    print(mv.prove(Square, np.array([0.3, -1.2, 2.0])))

No rung is enough alone. Differences need no theory but are coarse; the complex step is exact but believes the forward;
the composed form shares no derivation with the backward but shares its forward text; PyTorch and JAX share nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minivit.autograd.apply import apply
from minivit.autograd.errors import GradientCheckError
from minivit.autograd.ladder_point import Framework
from minivit.autograd.op import Op
from minivit.autograd.probe import Probe, argument_names
from minivit.autograd.rung import Rung
from minivit.autograd.rungs import Ladder


@dataclass(frozen=True)
class Proof:
    """The rungs that `prove` climbed."""

    name: str
    rungs: tuple[Rung, ...]

    @property
    def passed(self) -> bool:
        """Whether no rung failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[int, ...]:
        """Numbers of the rungs that failed."""
        return tuple(sorted({rung.number for rung in self.rungs if rung.passed is False}))

    def __str__(self) -> str:
        lines = [self.name]
        for rung in self.rungs:
            word = {True: "ok", False: "FAILED", None: "-"}[rung.passed]
            error = " " * 18 if rung.error is None else f"{rung.error:8.1e} <{rung.tolerance:8.1e}"
            lines.append(f"  {rung.number:2d} {rung.name:26s} {error}  {word:6s}  {rung.note}".rstrip())
        return "\n".join(lines)


def prove(
    function: type[Op] | Callable[..., Any],
    *inputs: Any,
    attributes: Mapping[str, Any] | None = None,
    reference: Callable[..., Any] | None = None,
    frameworks: Mapping[str, Framework] | None = None,
    constant: Sequence[int] = (),
    zero: Sequence[int] = (),
    linear: bool = False,
    seed: int = 0,
    raise_on_failure: bool = True,
) -> Proof:
    """Climb the whole ladder of proofs for one op at one point.

    Parameters
    ----------
    function : subclass of Op, or callable
        An op, or a function from Tensors to one Tensor.
    *inputs : arrays
        float64 arrays are differentiated; integers and bools are constants.
    attributes : mapping, optional
        Keywords of the op, or of the function.
    reference : callable, optional
        A plain NumPy transcription: (*arrays, **attributes) -> array.
    frameworks : mapping of str to callable, optional
        For each name, (inputs, cotangent) -> (value, gradients) computed by somebody else.
    constant : sequence of int
        Positions of floating-point inputs that carry no gradient: masks, or what lies behind a stop-gradient.
    zero : sequence of int
        Positions whose gradient is zero by structure; this is then asserted.
    linear : bool
        Declares that there is no second order: the gradient does not depend on the inputs. This is then asserted.
    seed : int
        Of the cotangent and the directions.
    raise_on_failure : bool
        Raise if a rung fails, in place of only reporting it.

    Returns
    -------
    Proof
        Its rows are `Rung`; print it for a table.

    Raises
    ------
    GradientCheckError
        If a rung fails: the message is the table.
    """
    attributes = dict(attributes or {})
    call: Callable[..., Any] = function
    if isinstance(function, type):
        if not issubclass(function, Op):
            raise TypeError(f"prove() takes a subclass of mv.Op or a function of Tensors, got the class {function!r}")
        call = partial(apply, function)
    probe = Probe(partial(call, **attributes), inputs, constant)
    probe.names = list(getattr(function, "input_names", ())) or argument_names(function)
    name = getattr(function, "name", "") or getattr(function, "__qualname__", repr(function))
    ladder = Ladder(
        probe=probe,
        reference=None if reference is None else partial(reference, **attributes),
        frameworks=dict(frameworks or {}),
        zero=tuple(zero),
        linear=linear,
        rng=np.random.default_rng(seed),
    )
    shown = "".join(f", {key}={value!r}" for key, value in attributes.items())
    shapes = ", ".join("None" if array is None else str(array.shape) for array in probe.arrays)
    proof = Proof(f"{name}({shapes}{shown})", tuple(ladder.climb()))
    if raise_on_failure and not proof.passed:
        raise GradientCheckError(f"not proven: {proof}")
    return proof
