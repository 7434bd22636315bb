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
from typing import Any, NoReturn

import numpy as np

from minivit.autograd.apply import tensor_namespace
from minivit.autograd.backward import grad
from minivit.autograd.errors import DTypeError, GradientCheckError
from minivit.autograd.probe import (
    ROUNDING,
    Probe,
    UnsupportedError,
    argument_names,
    largest_entry,
    natural_scale,
    root_mean_square,
)
from minivit.autograd.state import enable_grad
from minivit.autograd.tensor import Tensor
from minivit.backend import move, to_host


@dataclass(frozen=True)
class ArgumentReport:
    """How well the gradient of one argument agreed with the oracles.

    Attributes
    ----------
    argument : str
        Position and name.
    largest_gradient : float
        Of the numerical gradient, by absolute value.
    difference_error, complex_step_error : float
        Largest deviation from central differences and from the complex step, relative to the largest gradient; the
        latter is None where the function does not run on complex numbers.
    """

    argument: str
    largest_gradient: float
    difference_error: float
    complex_step_error: float | None


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
    comparison = _Comparison(name, probe, cotangent, eps, rtol, seed, max_entries, order == 2, rng)
    rows = [
        comparison.argument(position, gradient, position in zero)
        for position, gradient in zip(probe.checked, gradients, strict=True)
    ]
    if order == 2 and not any(row.largest_gradient for row in rows):
        raise GradientCheckError(f"{name} is constant: the function is linear and has no second order to check")
    return GradientReport(name, tuple(rows), eps, seed)


@dataclass(frozen=True)
class _Comparison:
    """One run of `check_gradients`: what is compared, and how closely."""

    name: str
    probe: Probe
    cotangent: np.ndarray[Any, Any]
    eps: float
    rtol: float
    seed: int
    max_entries: int
    may_vanish: bool
    rng: np.random.Generator

    def argument(self, position: int, gradient: np.ndarray[Any, Any], is_zero: bool) -> ArgumentReport:
        """Compare the gradient of one argument with both oracles."""
        array = self.probe.arrays[position]
        step = self.eps * (root_mean_square(array) or 1.0)
        natural = natural_scale(self.cotangent, self.probe.value(), array)
        noise = ROUNDING * natural / self.eps

        def slope(direction: np.ndarray[Any, Any]) -> float:
            return float(np.sum(self.cotangent * self.probe.differences({position: direction}, step)))

        def exact_slope(direction: np.ndarray[Any, Any]) -> float:
            return float(np.sum(self.cotangent * self.probe.complex_step({position: direction})))

        entries = np.arange(array.size)
        if array.size > self.max_entries:
            entries = np.sort(self.rng.choice(array.size, self.max_entries, replace=False))
        analytic = gradient.reshape(-1)[entries]
        numerical = np.array([slope(_unit(array.shape, entry)) for entry in entries])
        largest = max(largest_entry(numerical), largest_entry(analytic))
        if is_zero:
            self._check_zero(position, analytic, numerical, max(noise, 1e-9 * natural))
            return ArgumentReport(self.probe.describe(position), 0.0, largest / (natural or 1.0), None)
        hint = _hint(analytic, numerical)

        deviation = np.abs(analytic - numerical)
        wrong = ~(deviation <= self.rtol * largest + noise)  # NaN is wrong too
        if np.any(wrong):
            worst = int(np.argmax(np.where(np.isnan(deviation), np.inf, deviation)))
            index = _index(entries[worst], array.shape)
            hint = f" {np.sum(wrong)} of {len(entries)} entries differ.{hint}{self._kink(position, index, step)}"
            self._fail(position, index, analytic[worst], numerical[worst], "central differences", hint)

        direction = self.rng.standard_normal(array.shape)
        along, expected_along = float(np.sum(gradient * direction)), slope(direction)
        scale = max(abs(along), abs(expected_along), float(np.linalg.norm(gradient)))
        if not abs(along - expected_along) <= self.rtol * scale + noise * max(1.0, array.size**0.5):
            index = _locate(gradient, direction, slope)
            expected = slope(_unit(array.shape, np.ravel_multi_index(index, array.shape)))
            hint = f" The other entries may differ too.{self._kink(position, index, step)}"
            self._fail(position, index, gradient[index], expected, "central differences", hint)

        exact_error: float | None = None
        try:
            exact = np.array([exact_slope(_unit(array.shape, entry)) for entry in entries])
        except UnsupportedError:
            pass
        else:
            deviation_exact = np.abs(analytic - exact)
            exact_error = largest_entry(deviation_exact) / (largest or 1.0)
            if not exact_error <= 1e-3 * self.rtol + ROUNDING * natural / (largest or 1.0):
                worst = int(np.argmax(deviation_exact))
                hint = " Central differences cannot tell them apart."
                index = _index(entries[worst], array.shape)
                self._fail(position, index, analytic[worst], exact[worst], "the complex step", hint)
        if array.size and not self.may_vanish and largest <= max(1e-9 * natural, 10 * noise):
            raise GradientCheckError(
                f"{self.name}: the gradient of {self.probe.describe(position)} is at most {largest:.3g}, so any "
                "backward would pass. Choose other inputs or a random cotangent, or, if it is zero by structure, pass "
                f"zero=({position},)"
            )
        return ArgumentReport(
            self.probe.describe(position), largest, largest_entry(deviation) / (largest or 1.0), exact_error
        )

    def _check_zero(self, position: int, analytic: Any, numerical: Any, allowed: float) -> None:
        if not max(largest_entry(analytic), largest_entry(numerical)) <= allowed:
            raise GradientCheckError(
                f"{self.name}: the gradient of {self.probe.describe(position)} was declared zero by structure, but the "
                f"backward gives up to {largest_entry(analytic):.9g}, central differences "
                f"{largest_entry(numerical):.9g}"
            )

    def _fail(
        self, position: int, index: tuple[int, ...], given: float, expected: float, oracle: str, hint: str
    ) -> NoReturn:
        raise GradientCheckError(
            f"{self.name}: the gradient of {self.probe.describe(position)} is wrong. At index {index} the backward "
            f"gives {given:.9g}, {oracle} {expected:.9g} (eps={self.eps:g}, rtol={self.rtol:g}, cotangent "
            f"seed={self.seed}).{hint}"
        )

    def _kink(self, position: int, index: tuple[int, ...], step: float) -> str:
        """A word on the slopes to the left and right, if they differ."""
        array = self.probe.arrays[position]
        unit = np.zeros(array.shape)
        unit[index] = step
        moved = [*self.probe.arrays]
        here = self.probe.value()
        slopes = []
        for sign in (-1.0, 1.0):
            moved[position] = np.asarray(array + sign * unit)
            slopes.append(float(np.sum(self.cotangent * (self.probe.value(moved) - here))) / (sign * step))
        left, right = slopes
        if abs(right - left) <= 1e-2 * max(abs(right), abs(left)):
            return ""
        return (
            f" The slopes to its left and right are {left:.4g} and {right:.4g}: if there is a kink (a ReLU, a "
            "maximum), move the input away from it."
        )


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


def _locate(
    gradient: np.ndarray[Any, Any], direction: np.ndarray[Any, Any], slope: Callable[[Any], float]
) -> tuple[int, ...]:
    """The index of a wrong entry: halve the direction and follow the half that deviates more."""
    candidates = np.arange(gradient.size)
    while len(candidates) > 1:
        halves = np.array_split(candidates, 2)
        deviations = []
        for half in halves:
            masked = np.zeros(gradient.size)
            masked[half] = direction.reshape(-1)[half]
            masked = masked.reshape(gradient.shape)
            deviations.append(abs(float(np.sum(gradient * masked)) - slope(masked)))
        candidates = halves[int(deviations[1] > deviations[0])]
    return _index(candidates[0], gradient.shape)


def _index(entry: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(entry, shape))


def _unit(shape: tuple[int, ...], entry: Any) -> np.ndarray[Any, Any]:
    """Zeros with a one at the flat position `entry`."""
    unit = np.zeros(shape)
    unit.reshape(-1)[entry] = 1.0
    return unit


def _hint(analytic: np.ndarray[Any, Any], numerical: np.ndarray[Any, Any]) -> str:
    """What the two vectors say about the kind of mistake."""
    if not np.any(analytic):
        return " The backward gives zero everywhere."
    large = np.abs(numerical) > 1e-3 * largest_entry(numerical)
    ratios = analytic[large] / numerical[large] if np.any(large) else np.array([np.nan])
    if len(ratios) > 1 and np.ptp(ratios) <= 1e-4 * abs(ratios[0]):
        return f" Every entry is off by the factor {ratios[0]:.6g}."
    return ""


def _function_name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    code = getattr(function, "__code__", None)
    if "<lambda>" in name and code is not None:
        return f"<lambda> at {code.co_filename}:{code.co_firstlineno}"
    return str(name)
