"""The gradient of one argument beside central differences and the complex step, and what is said where they differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from minivit.autograd.errors import GradientCheckError
from minivit.autograd.probe import ROUNDING, Probe, UnsupportedError, largest_entry, natural_scale, root_mean_square


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
class Comparison:
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
