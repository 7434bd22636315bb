"""Is a gradient right? The backward of a function against two numerical derivatives of its forward.

Central differences need no theory and are right to about 1e-10 in float64. The complex step (Squire & Trapp 1998,
doi:10.1137/S003614459631241X), f'(x) = Im f(x + i h) / h, subtracts nothing, so h can be 1e-20 and the derivative is
right to the last bits; it needs a text that runs on complex numbers.

Both are contracted with a *random* cotangent. With ones, the sum of a softmax and of a LayerNorm is constant, their
gradients are zero, and a broken backward passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.autograd.apply import tensor_namespace
from minivit.autograd.backward import grad
from minivit.autograd.comparison import ArgumentReport, Comparison
from minivit.autograd.errors import DTypeError, GradientCheckError
from minivit.autograd.probe import (
    Probe,
    argument_names,
)
from minivit.autograd.state import enable_grad
from minivit.autograd.tensor import Tensor
from minivit.backend import move, to_host


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found: every gradient agreed."""

    function: str
    arguments: tuple[ArgumentReport, ...]
    eps: float
    seed: int

    @property
    def largest_error(self) -> float:
        """The largest relative deviation from central differences."""
        return max(row.difference_error for row in self.arguments)

    def __str__(self) -> str:
        lines = [f"gradients of {self.function} (eps={self.eps:g}, seed={self.seed})"]
        for row in self.arguments:
            exact = "  not on complex numbers" if row.complex_step_error is None else f"{row.complex_step_error:10.1e}"
            lines.append(
                f"  {row.argument:24s} largest {row.largest_gradient:9.3g}   central differences "
                f"{row.difference_error:8.1e}   complex step {exact}"
            )
        return "\n".join(lines)


def check_gradients(
    function: Callable[..., Any],
    *inputs: Any,
    grad_output: Any = None,
    zero: Sequence[int] = (),
    order: int = 1,
    eps: float = 1e-4,
    rtol: float = 1e-7,
    seed: int = 0,
    max_entries: int = 100,
) -> GradientReport:
    """Compare the gradients of a function with central differences and, where it can be, with the complex step.

    Parameters
    ----------
    function : callable
        Tensors -> one Tensor. It must be deterministic.
    *inputs : float64 arrays or Tensors
        Arrays are differentiated, and Tensors with ``requires_grad=True``. Integers, bools and Tensors without
        gradient are constants: pass what lies behind a stop-gradient like that, since a numerical derivative sees
        through a stop.
    grad_output : array, optional
        The cotangent; random by default.
    zero : sequence of int
        Positions of inputs whose gradient is zero by structure (a key bias in attention): this is then asserted.
    order : {1, 2}
        2 checks the gradient of the gradient, as `minivit.grad` with ``create_graph=True`` gives it.
    eps : float
        Step of the differences, relative to the size of each input.
    rtol : float
        Allowed deviation from central differences, relative to the largest entry; the complex step is held to a
        thousandth of it.
    seed : int
        Of the cotangent and the directions.
    max_entries : int
        Inputs with more entries than this are checked at that many random entries; all entries are always checked
        together, along a random direction.

    Returns
    -------
    GradientReport
        The largest errors; print it.

    Raises
    ------
    GradientCheckError
        If a gradient is wrong (the message names the function, the argument, the worst entry, both values, the step
        and the seed), or so small that any backward would pass.
    DTypeError
        For inputs that are not float64.
    ValueError
        For a cotangent whose entries are all equal, or if no input is differentiated.

    Examples
    --------
    >>> import numpy as np, minivit as mv
    >>> report = mv.check_gradients(mv.ops.softmax, np.array([[0.1, -0.4, 0.3]]))
    >>> report.largest_error < 1e-9
    True
    """
    name = _function_name(function)
    probe = Probe(function, inputs)
    if not probe.checked:
        raise ValueError(
            f"check_gradients({name}): no input is differentiated; pass float64 arrays, or Tensors with "
            "requires_grad=True"
        )
    for position in probe.checked:
        dtype = probe.arrays[position].dtype
        if dtype != np.float64:
            raise DTypeError(
                f"check_gradients({name}): {probe.describe(position)} is {dtype}, it must be float64; in float32 the "
                "best difference is right to 2e-6 only. Convert with .astype(numpy.float64)"
            )
    rng = np.random.default_rng(seed)
    output = probe.function(*probe.leaves(requires_grad=False))
    if not isinstance(output, Tensor):
        raise TypeError(f"check_gradients: {name} must return one Tensor, got {type(output).__name__}")
    cotangent = probe.cotangent(rng) if grad_output is None else _refuse_constant(grad_output)
    if order == 2:
        probe = Probe(_gradient_function(function, probe.checked, cotangent), inputs)
        probe.names = argument_names(function)
        cotangent = probe.cotangent(rng)
        name = f"the gradient of {name}"
    gradients = probe.gradients(cotangent)
    comparison = Comparison(name, probe, cotangent, eps, rtol, seed, max_entries, order == 2, rng)
    rows = [
        comparison.argument(position, gradient, position in zero)
        for position, gradient in zip(probe.checked, gradients, strict=True)
    ]
    if order == 2 and not any(row.largest_gradient for row in rows):
        raise GradientCheckError(f"{name} is constant: the function is linear and has no second order to check")
    return GradientReport(name, tuple(rows), eps, seed)


def _gradient_function(
    function: Callable[..., Any], checked: tuple[int, ...], cotangent: np.ndarray[Any, Any]
) -> Callable[..., Tensor]:
    """Tensors -> all gradients of <cotangent, function> as one vector: what second order differentiates."""

    def gradients(*inputs: Tensor) -> Tensor:
        F = tensor_namespace()
        further = any(x.requires_grad for x in inputs)
        leaves = [
            Tensor(x.data, requires_grad=True) if position in checked and not x.requires_grad else x
            for position, x in enumerate(inputs)
        ]
        with enable_grad():
            output = function(*leaves)
            dy = Tensor(move(cotangent.astype(output.dtype), output.device))
            found: tuple[Any, ...] = grad(
                output, [leaves[position] for position in checked], dy, further, allow_unused=True
            )
            parts = [
                F.zeros_like(leaves[position]) if gradient is None else gradient
                for position, gradient in zip(checked, found, strict=True)
            ]
            vector: Tensor = F.concatenate([F.reshape(part, (part.size,)) for part in parts], 0)
        return vector

    return gradients


def _refuse_constant(grad_output: Any) -> np.ndarray[Any, Any]:
    cotangent = to_host(grad_output.data) if isinstance(grad_output, Tensor) else np.asarray(grad_output)
    if cotangent.size > 1 and np.all(cotangent == cotangent.flat[0]):
        raise ValueError(
            "check_gradients: all entries of grad_output are equal; with such a cotangent the gradients of softmax and "
            "LayerNorm vanish and a broken backward passes. Leave it out to get a random one"
        )
    return cotangent


def _function_name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    code = getattr(function, "__code__", None)
    if "<lambda>" in name and code is not None:
        return f"<lambda> at {code.co_filename}:{code.co_firstlineno}"
    return str(name)
