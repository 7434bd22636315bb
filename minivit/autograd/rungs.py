"""The rungs of the ladder of proofs: each compares a hand-derived backward with one thing that knows better."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from minivit.autograd.backward import grad
from minivit.autograd.errors import GradientCheckError
from minivit.autograd.node import Node
from minivit.autograd.probe import (
    ROUNDING,
    STEP,
    Directions,
    Probe,
    UnsupportedError,
    cast_all,
    gradient_arrays,
    largest_entry,
    natural_scale,
)
from minivit.autograd.rounding import rounding_of
from minivit.autograd.state import unrolled
from minivit.autograd.tensor import Tensor
from minivit.backend import available_devices, kernels_disabled, move, to_host

NdArray = np.ndarray[Any, Any]
Framework = Callable[[Sequence[NdArray], NdArray], tuple[NdArray, Sequence[NdArray | None]]]
"""(inputs, cotangent) -> (value, one gradient an input): the same computation elsewhere."""

RUNGS = {
    1: "NumPy transcription",
    2: "composed",
    3: "complex step",
    4: "central differences",
    5: "second order",
    6: "linear in dy",
    7: "dtype, shape, inputs kept",
    8: "nothing left alive",
    9: "kernel",
    10: "GPU",
    11: "reference",
}

DIFFERENCE_STEP = 1e-4
SAME = 1e-12  # two float64 computations of one formula
SAME_SECOND = 1e-11  # ... of its second order
NEAR = 1e-7  # central differences
FLOAT32 = 1e-5
ROUGHLY = 1e-3  # a text in float32 against the same in float64


@dataclass(frozen=True)
class Rung:
    """One rung of the ladder.

    Attributes
    ----------
    number : int
        Its place in `RUNGS`.
    name : str
    error, tolerance : float or None
        Largest deviation found, relative to the largest entry, and the largest allowed. From one above the tolerance
        what rounding may do at this point is taken off first: see `minivit.autograd.rounding`.
    passed : bool or None
        None where it does not apply, as a kernel for an op that has none.
    note : str
        What was compared, what went wrong, or why it does not apply.
    """

    number: int
    name: str
    error: float | None
    tolerance: float | None
    passed: bool | None
    note: str = ""


class _NotApplicableError(Exception):
    """The rung says nothing about this op; the text says why."""


@dataclass(frozen=True)
class Rounding:
    """How far rounding alone may carry two computations apart, an absolute number for the value and each gradient."""

    value: float
    gradients: tuple[float, ...]


Found = tuple[float, float, str]
"""Error, tolerance, note."""


@dataclass
class Ladder:
    """The rungs, on one function at one point. Kernels are off on every rung but their own."""

    probe: Probe
    reference: Callable[..., Any] | None
    frameworks: dict[str, Framework]
    zero: tuple[int, ...]
    linear: bool
    rng: np.random.Generator
    cotangent: NdArray = field(init=False)
    directions: Directions = field(init=False)
    scales: list[float] = field(init=False)

    def climb(self) -> list[Rung]:
        """Every rung, in order; one that raises has failed."""
        with kernels_disabled():
            value = self.probe.value()
        self.cotangent = np.asarray(self.rng.standard_normal(value.shape))
        self.directions = self._random_directions()
        self.scales = [natural_scale(self.cotangent, value, self.probe.arrays[i]) for i in self.probe.checked]
        steps: list[tuple[int, str, Callable[[], Found]]] = [
            (1, RUNGS[1], self.against_transcription),
            (2, RUNGS[2], self.against_composed),
            (3, RUNGS[3], self.against_complex_step),
            (4, RUNGS[4], self.against_differences),
            (5, RUNGS[5], self.second_order),
            (6, RUNGS[6], self.linear_in_cotangent),
            (7, RUNGS[7], self.keeps_what_it_is_given),
            (8, RUNGS[8], self.leaves_nothing_alive),
        ]
        rungs = []
        with kernels_disabled():
            rungs += [_climb(number, name, step) for number, name, step in steps]
        rungs.append(_climb(9, RUNGS[9], self.kernels))
        rungs.append(_climb(10, RUNGS[10], self.on_gpu))
        for name, framework in self.frameworks.items():
            rungs.append(_climb(11, name, partial(self.against_framework, framework)))
        return rungs

    # The rungs

    def against_transcription(self) -> Found:
        """1. The value against the formula in plain NumPy."""
        if self.reference is None:
            raise _NotApplicableError("no transcription given")
        return distance(self.probe.value(), np.asarray(self.reference(*self.probe.arrays))), SAME, ""

    def against_composed(self) -> Found:
        """2. The hand-derived backward against the one composed from the backwards of primitives."""
        gradients = self.probe.gradients(self.cotangent)
        alone = [self.probe.gradients(self.cotangent, only=position)[0] for position in self.probe.checked]
        error = self._gradient_distance(alone, gradients)
        if error > SAME:
            return error, SAME, "a gradient asked for alone differs from the one asked for together with others"
        names = self._ops_that_run()
        if not names:
            raise _NotApplicableError("made of primitives only: the numerical rungs prove those")
        with unrolled():
            composed = self.probe.gradients(self.cotangent)
            value_composed = self.probe.value()
        value = self.probe.value()

        def error_beyond(rounding: Rounding) -> float:
            return max(
                self._gradient_distance(gradients, composed, rounding.gradients),
                distance(value, value_composed, rounding=rounding.value),
            )

        return self._beyond_rounding(error_beyond, SAME), SAME, ", ".join(names)

    def against_complex_step(self) -> Found:
        """3. The complex step along a random direction of each input."""
        try:
            slopes = self._slopes(self.probe.complex_step)
        except UnsupportedError as reason:
            raise _NotApplicableError(str(reason)) from reason

        def error_beyond(rounding: Rounding) -> float:
            return self._along_directions(slopes, rounding.gradients)

        return self._beyond_rounding(error_beyond, SAME), SAME, ""

    def against_differences(self) -> Found:
        """4. Central differences along a random direction of each input."""

        def slope(directions: Directions) -> NdArray:
            (position,) = directions
            array = self.probe.arrays[position]
            size = float(np.sqrt(np.mean(array * array))) if array.size else 1.0
            return self.probe.differences(directions, DIFFERENCE_STEP * (size or 1.0))

        floors = [ROUNDING / DIFFERENCE_STEP * scale for scale in self.scales]
        slopes = self._slopes(slope)

        def error_beyond(rounding: Rounding) -> float:
            return self._along_directions(slopes, rounding.gradients, floors)

        return self._beyond_rounding(error_beyond, NEAR), NEAR, ""

    def second_order(self) -> Found:
        """5. Hessian times vector: fused against composed, symmetry, and the complex step of the backward itself."""
        v, u = self.directions, self._random_directions()
        hessian_v, jacobian_v = self._second_order(v)
        size = max((largest_entry(block) for block in hessian_v), default=0.0)
        natural = max(self.scales, default=0.0) / (min(self._input_sizes(), default=1.0) or 1.0)
        if self.linear and size > 1e-12 * natural:
            return size / (natural or 1.0), 1e-12, "declared linear, but the gradient changes with the inputs"
        with unrolled():
            composed_h, composed_j = self._second_order(v)
        hessian_u, _ = self._second_order(u)
        u_hv = sum(float(np.sum(u[i] * h)) for i, h in zip(self.probe.checked, hessian_v, strict=True))
        v_hu = sum(float(np.sum(v[i] * h)) for i, h in zip(self.probe.checked, hessian_u, strict=True))
        lengths = [float(np.linalg.norm(h)) for h in (*hessian_v, *hessian_u)]
        exact_h: list[NdArray] | None = None
        try:
            numerical = self.probe.on_complex_numbers(
                lambda arrays: self.probe.gradients(self.cotangent.astype(np.complex128), arrays), v
            )
        except UnsupportedError:
            pass
        else:
            exact_h = [np.asarray(gradient.imag / STEP) for gradient in numerical]
            exact_j = self.probe.complex_step(v)

        def errors_beyond(of_j: float, of_h: Sequence[float], of_symmetry: float) -> dict[str, float]:
            pairs = list(zip(hessian_v, composed_h, of_h, strict=True))
            symmetry = max(0.0, abs(u_hv - v_hu) - of_symmetry) / (sum(lengths) or 1.0)
            errors = {
                "fused and composed differ": max(
                    [distance(jacobian_v, composed_j, rounding=of_j)]
                    + [distance(a, b, largest_entry(b) or size, allowed) for a, b, allowed in pairs]
                ),
                "the Hessian is not symmetric": _nan_as_infinite(symmetry),
            }
            if exact_h is not None:
                scale = max([size, *(largest_entry(block) for block in exact_h)])
                errors["the complex step of the backward differs"] = max(
                    [distance(a, b, scale, allowed) for a, b, allowed in zip(hessian_v, exact_h, of_h, strict=True)]
                    + [distance(jacobian_v, exact_j, rounding=of_j)]
                )
            return errors

        if not self.linear and self.cotangent.size and not size > 1e-12 * natural:
            return 1.0, 0.0, "the second order is zero here; if it is so by structure, declare linear=True"
        errors = errors_beyond(0.0, [0.0] * len(hessian_v), 0.0)
        if not max(errors.values()) <= SAME_SECOND:
            (of_j, *of_hv), (_, *of_hu) = self._second_order_rounding(v), self._second_order_rounding(u)
            symmetry = [
                r * float(np.linalg.norm(d[i]))
                for d, rounding in ((u, of_hv), (v, of_hu))
                for i, r in zip(self.probe.checked, rounding, strict=True)
            ]
            errors = errors_beyond(of_j, of_hv, sum(symmetry))
        worst = max(errors, key=errors.__getitem__)
        return errors[worst], SAME_SECOND, worst if errors[worst] > SAME_SECOND else "linear" if self.linear else ""

    def linear_in_cotangent(self) -> Found:
        """6. backward(a g + b h) = a backward(g) + b backward(h)."""
        a, b, other = 2.5, -0.75, np.asarray(self.rng.standard_normal(self.cotangent.shape))
        together = self.probe.gradients(a * self.cotangent + b * other)
        first, second = self.probe.gradients(self.cotangent), self.probe.gradients(other)
        apart = [a * g + b * h for g, h in zip(first, second, strict=True)]
        error = self._gradient_distance(together, apart)
        if not error <= SAME:
            parts = [(abs(a), self._rounding(self.cotangent)), (abs(b), self._rounding(other))]
            allowed = [sum(c * r.gradients[i] for c, r in parts) for i in range(len(together))]
            error = self._gradient_distance(together, apart, allowed)
        return error, SAME, ""

    def keeps_what_it_is_given(self) -> Found:
        """7. Inputs and cotangent unchanged; value and gradients of the inputs' dtype and shape."""
        value, gradients = self.probe.value(), self.probe.gradients(self.cotangent)
        error = 0.0
        for dtype in (np.float64, np.float32):
            arrays, cotangent = self._read_only(dtype), _read_only(self.cotangent, dtype)
            copies, dy = copy_all(arrays), cotangent.copy()
            value_here, gradients_here = self.probe.value(arrays), self.probe.gradients(cotangent, arrays)
            if not all(np.array_equal(x, y) for x, y in zip([*arrays, cotangent], [*copies, dy], strict=True)):
                return 1.0, 0.0, f"an input or the cotangent was changed ({np.dtype(dtype)})"
            expected = [arrays[position] for position in self.probe.checked]
            for got, like in zip([value_here, *gradients_here], [cotangent, *expected], strict=True):
                if got.dtype != like.dtype or got.shape != like.shape:
                    return 1.0, 0.0, f"{like.dtype} {like.shape} became {got.dtype} {got.shape}"
            scale = max(largest_entry(value), 0.1 * max(self._input_sizes(), default=0.0))  # a sum may cancel

            def error_beyond(
                rounding: Rounding, found: Any = (value_here, gradients_here), scale: float = scale
            ) -> float:
                return max(
                    distance(found[0], value, scale, rounding.value),
                    self._gradient_distance(found[1], gradients, rounding.gradients),
                )

            error = max(error, self._beyond_rounding(error_beyond, ROUGHLY, dtype))
        return error, ROUGHLY, "float32 against float64"

    def leaves_nothing_alive(self) -> Found:
        """8. With the garbage collector off, everything dies with the last reference, create_graph included."""
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            for create_graph in (False, True):
                left = [ref() for ref in self._references_of_a_backward(create_graph) if ref() is not None]
                if left:
                    kinds = ", ".join(sorted({type(x).__name__ for x in left}))
                    how = "with create_graph" if create_graph else "after a backward"
                    return float(len(left)), 0.0, f"{len(left)} objects ({kinds}) are still alive {how}"
        finally:
            if was_enabled:
                gc.enable()
        return 0.0, 0.0, ""

    def kernels(self) -> Found:
        """9. Every kernel against the text: both dtypes, strided inputs, single gradients, a repeated backward."""
        names: set[str] = set()
        worst = 0.0, SAME, ""
        for dtype in (np.float64, np.float32):
            arrays, dy = self._read_only(dtype), _read_only(self.cotangent, dtype)
            used = self._kernels_that_run(arrays)
            names |= used
            if not used:
                continue
            with kernels_disabled():  # the text in float64 is the judge, the text in the same dtype the yardstick
                exactly = cast_all(arrays, np.float64)
                exact = self.probe.value(exactly), self.probe.gradients(dy.astype(np.float64), exactly)
                text = self.probe.value(arrays), self.probe.gradients(dy, arrays)
            own_error = max(distance(text[0], exact[0]), self._gradient_distance(text[1], exact[1]))
            tolerance = max(1e-10 if dtype is np.float64 else FLOAT32, 4 * own_error)
            for layout, given in (("", arrays), (" on strided inputs", self._strided(dtype))):
                error, note = self._kernel_error(given, dy, *exact)
                if not error <= tolerance:
                    error, note = self._kernel_error(given, dy, *exact, self._rounding(dy, dtype, exactly))
                if not error <= tolerance:
                    return error, tolerance, f"{', '.join(sorted(used))} in {np.dtype(dtype)}{layout}: {note}"
                if error / tolerance >= worst[0] / worst[1]:
                    worst = error, tolerance, ""
        if not names:
            raise _NotApplicableError("no kernel")
        error = self._second_order_error_after_kernels()
        if not error <= SAME:
            return error, SAME, f"{', '.join(sorted(names))}: the second order of a graph that kernels have recorded"
        return worst[0], worst[1], ", ".join(sorted(names))

    def on_gpu(self) -> Found:
        """10. The first GPU against the CPU."""
        device = next((device for device in available_devices() if device != "cpu"), None)
        if device is None:
            raise _NotApplicableError("no GPU")
        with kernels_disabled():
            value, gradients = self.probe.value(), self.probe.gradients(self.cotangent)
        elsewhere = Probe(self.probe.function, self.probe.arrays)
        elsewhere.checked, elsewhere.device = self.probe.checked, device
        worst = 0.0, 1.0
        for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-4)):
            arrays = cast_all(self.probe.arrays, dtype)
            found = elsewhere.gradients(self.cotangent.astype(dtype), arrays)
            found_value = elsewhere.value(arrays)

            def error_beyond(rounding: Rounding, found: Any = found, found_value: Any = found_value) -> float:
                return max(
                    distance(found_value, value, rounding=rounding.value),
                    self._gradient_distance(found, gradients, rounding.gradients),
                )

            error = self._beyond_rounding(error_beyond, tolerance, dtype)
            if not error <= tolerance:
                return error, tolerance, f"{device}, {np.dtype(dtype)}"
            worst = max(worst, (error, tolerance), key=lambda pair: pair[0] / pair[1])
        return worst[0], worst[1], device

    def against_framework(self, framework: Framework) -> Found:
        """11. Value and gradients of another library."""
        with kernels_disabled():
            value, gradients = self.probe.value(), self.probe.gradients(self.cotangent)
        their_value, their_gradients = framework(self.probe.arrays, self.cotangent)
        errors = [distance(value, np.asarray(their_value))]
        for position, ours, scale in zip(self.probe.checked, gradients, self.scales, strict=True):
            theirs = their_gradients[position]
            if theirs is not None:
                errors.append(distance(ours, np.asarray(theirs), scale if position in self.zero else 0.0))
        return max(errors), 1e-10, ""

    # What they share

    def _random_directions(self) -> Directions:
        return {i: np.asarray(self.rng.standard_normal(self.probe.arrays[i].shape)) for i in self.probe.checked}

    def _input_sizes(self) -> list[float]:
        return [largest_entry(self.probe.arrays[i]) or 1.0 for i in self.probe.checked]

    def _slopes(self, slope: Callable[[Directions], NdArray]) -> list[float]:
        """<cotangent, numerical slope> along the direction of each input, one at a time."""
        return [float(np.sum(self.cotangent * slope({i: self.directions[i]}))) for i in self.probe.checked]

    def _along_directions(
        self, slopes: Sequence[float], rounding: Sequence[float], floors: Sequence[float] | None = None
    ) -> float:
        """Largest deviation of <gradient, direction> from the numerical slope, one input at a time.

        Parameters
        ----------
        slopes : sequence of float
        rounding : sequence of float
            Of each entry of a gradient; what many entries add up to grows as the length of the direction.
        floors : sequence of float, optional
            Deviations that the numerical slope has by itself.
        """
        worst = 0.0
        gradients = self.probe.gradients(self.cotangent)
        for i, (position, gradient, expected) in enumerate(zip(self.probe.checked, gradients, slopes, strict=True)):
            direction = self.directions[position]
            given = float(np.sum(gradient * direction))
            length = max(abs(given), abs(expected), float(np.linalg.norm(gradient)))
            own = floors[i] if floors else 0.0
            floor = max(1e-9 * self.scales[i], own)
            if position in self.zero:
                if not max(largest_entry(gradient), abs(expected)) <= floor:
                    raise GradientCheckError(f"{self.probe.describe(position)} was declared zero, it is {length:.3g}")
                continue
            if gradient.size and self.cotangent.size and not length > floor:
                raise GradientCheckError(
                    f"the gradient of {self.probe.describe(position)} is at most {length:.3g}, so any backward would "
                    "pass; choose other inputs, or declare it zero by structure"
                )
            deviation = _nan_as_infinite(abs(given - expected))
            allowed = own + rounding[i] * float(np.linalg.norm(direction))
            worst = max(worst, max(0.0, deviation - allowed) / (length or 1.0))
        return worst

    def _exact(self) -> Rounding:
        return Rounding(0.0, (0.0,) * len(self.probe.checked))

    def _rounding(self, cotangent: NdArray, dtype: Any = np.float64, arrays: Sequence[Any] | None = None) -> Rounding:
        """What two computations in a dtype may differ by at this point: see `minivit.autograd.rounding`."""

        def run(given: Sequence[Any]) -> list[NdArray]:
            *inputs, dy = given
            return [self.probe.value(inputs), *self.probe.gradients(dy, inputs)]

        inputs = cast_all(self.probe.arrays if arrays is None else arrays, np.float64)
        value, *gradients = rounding_of(run, [*inputs, cotangent.astype(np.float64)], dtype, self._own_rng())
        return Rounding(value, tuple(gradients))

    def _beyond_rounding(
        self, error_beyond: Callable[[Rounding], float], tolerance: float, dtype: Any = np.float64
    ) -> float:
        """The error, or, where it is more than the tolerance, what is left of it once rounding is allowed for."""
        error = error_beyond(self._exact())
        return error if error <= tolerance else error_beyond(self._rounding(self.cotangent, dtype))

    def _own_rng(self) -> np.random.Generator:
        """Not `rng`: whether rounding was asked for must not change what the later rungs draw."""
        return np.random.default_rng(0)

    def _gradient_distance(
        self, ours: Sequence[NdArray], theirs: Sequence[NdArray], rounding: Sequence[float] | None = None
    ) -> float:
        return max(
            (
                distance(a, b, scale if position in self.zero else 0.0, allowed)
                for position, a, b, scale, allowed in zip(
                    self.probe.checked, ours, theirs, self.scales, rounding or self._exact().gradients, strict=True
                )
            ),
            default=0.0,
        )

    def _ops_that_run(self) -> list[str]:
        """Names of the ops in the function that are not primitives."""
        nodes = _nodes_behind(self.probe.function(*self.probe.leaves()).node)
        return sorted({node.op.name for node in nodes if not node.op.primitive})

    def _second_order(
        self, directions: Directions, arrays: Sequence[Any] | None = None, cotangent: NdArray | None = None
    ) -> tuple[list[NdArray], NdArray]:
        """H v for every input, and J v: the derivatives of s = <gradient, v> by the inputs and by the cotangent."""
        leaves = self.probe.leaves(arrays)
        cotangent = self.cotangent if cotangent is None else cotangent
        dy = Tensor(move(cotangent, self.probe.device), requires_grad=True)
        wanted = [leaves[position] for position in self.probe.checked]
        gradients: tuple[Any, ...] = grad(self.probe.function(*leaves), wanted, dy, True, allow_unused=True)
        s: Any = None
        for position, gradient in zip(self.probe.checked, gradients, strict=True):
            if gradient is not None:
                term = (gradient * Tensor(directions[position])).sum()
                s = term if s is None else s + term
        *hessian_v, jacobian_v = gradient_arrays(s, [*wanted, dy], None)
        return hessian_v, jacobian_v

    def _second_order_rounding(self, directions: Directions) -> list[float]:
        """As `_rounding`, of J v and of H v for every input."""

        def run(given: Sequence[Any]) -> list[NdArray]:
            *inputs, dy = given
            hessian_v, jacobian_v = self._second_order(directions, inputs, dy)
            return [jacobian_v, *hessian_v]

        return rounding_of(run, [*self.probe.arrays, self.cotangent], np.float64, self._own_rng())

    def _references_of_a_backward(self, create_graph: bool) -> list[weakref.ref[Any]]:
        """Weak references to all that one forward and backward made; nothing but what they refer to is returned."""
        leaves = self.probe.leaves(copy_all(self.probe.arrays))
        wanted = [leaves[position] for position in self.probe.checked]
        output = self.probe.function(*leaves)
        references: list[weakref.ref[Any]] = [weakref.ref(x) for x in (*wanted, output)]
        references += _references_behind(output.node)
        gradients: tuple[Any, ...] = grad(
            output, wanted, Tensor(self.cotangent.copy()), create_graph, allow_unused=True
        )
        for gradient in gradients:
            if gradient is not None:
                references.append(weakref.ref(gradient))
                references += _references_behind(gradient.node)
        return references

    def _kernels_that_run(self, arrays: Sequence[NdArray]) -> set[str]:
        output = self.probe.function(*self.probe.leaves(arrays))
        return {node.op.name for node in _nodes_behind(output.node) if node.kernel is not None}

    def _kernel_error(
        self,
        arrays: Sequence[NdArray],
        cotangent: NdArray,
        value: NdArray,
        gradients: Sequence[NdArray],
        rounding: Rounding | None = None,
    ) -> tuple[float, str]:
        """Largest deviation of the kernels from the text's results, and on what."""
        allowed = rounding or self._exact()
        leaves = self.probe.leaves(arrays)
        wanted = [leaves[position] for position in self.probe.checked]
        output = self.probe.function(*leaves)
        dy = Tensor(cotangent)
        first, second = (gradient_arrays(output, wanted, dy, retain_graph=True) for _ in range(2))
        if not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)):
            return float("inf"), "a second backward through the same graph gives other numbers"
        for got, like in zip([to_host(output.data), *first], [cotangent, *(x.data for x in wanted)], strict=True):
            if got.dtype != like.dtype or got.shape != like.shape:
                return float("inf"), f"{like.dtype} {like.shape} became {got.dtype} {got.shape}"
        alone = [self.probe.gradients(cotangent, arrays, only=position)[0] for position in self.probe.checked]
        constant_dy = np.broadcast_to(np.asarray(0.7, cotangent.dtype), cotangent.shape)
        strided, contiguous = (self.probe.gradients(dy, arrays) for dy in (constant_dy, constant_dy.copy()))
        flat = self._exact() if rounding is None else self._rounding(constant_dy, cotangent.dtype, arrays)
        errors = {
            "value": distance(to_host(output.data), value, rounding=allowed.value),
            "gradients": self._gradient_distance(first, gradients, allowed.gradients),
            "a gradient asked for alone": self._gradient_distance(alone, gradients, allowed.gradients),
            "a cotangent with zero strides": self._gradient_distance(strided, contiguous, flat.gradients),
        }
        worst = max(errors, key=errors.__getitem__)
        return errors[worst], worst

    def _second_order_error_after_kernels(self) -> float:
        """create_graph recomputes everything by the text, whatever ran in the forward."""
        with kernels_disabled():
            text = self._second_order(self.directions)
        after = self._second_order(self.directions)
        size = max((largest_entry(block) for block in text[0]), default=0.0)
        return max(
            [distance(after[1], text[1])] + [distance(a, b, size) for a, b in zip(after[0], text[0], strict=True)]
        )

    def _read_only(self, dtype: Any) -> list[Any]:
        arrays = cast_all(self.probe.arrays, dtype)
        return [None if array is None else _read_only(array, array.dtype) for array in arrays]

    def _strided(self, dtype: Any) -> list[Any]:
        """The same values with gaps between the elements, in the memory order of the transposed array."""
        arrays = cast_all(self.probe.arrays, dtype)
        return [None if array is None else np.stack([array.T, array.T], axis=-1)[..., 0].T for array in arrays]


def distance(ours: Any, theirs: Any, scale: float = 0.0, rounding: float = 0.0) -> float:
    """Largest difference beyond `rounding`, relative to the largest entry of `theirs` or to `scale`.

    Infinite for other shapes or NaN.
    """
    if np.shape(ours) != np.shape(theirs):
        return float("inf")
    deviation = largest_entry(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
    beyond = np.maximum(deviation - rounding, 0.0)  # keeps NaN
    return _nan_as_infinite(float(beyond) / (scale or largest_entry(theirs) or 1.0))


def _nan_as_infinite(error: float) -> float:
    return float("inf") if np.isnan(error) else error


def _climb(number: int, name: str, step: Callable[[], Found]) -> Rung:
    try:
        error, tolerance, note = step()
    except _NotApplicableError as reason:
        return Rung(number, name, None, None, None, str(reason))
    except Exception as failure:  # noqa: BLE001 - whatever an op under test raises is the finding
        return Rung(number, name, float("inf"), 0.0, False, f"{type(failure).__name__}: {failure}")
    return Rung(number, name, float(error), float(tolerance), bool(error <= tolerance), note)


def copy_all(arrays: Sequence[Any]) -> list[Any]:
    """Copies of arrays."""
    return [None if array is None else array.copy() for array in arrays]


def _read_only(array: NdArray, dtype: Any) -> NdArray:
    copy = np.array(array, dtype=dtype)
    copy.flags.writeable = False
    return copy


def _nodes_behind(root: Node | None) -> list[Node]:
    found: dict[Node, None] = {}
    stack = [root] if root is not None else []
    while stack:
        node = stack.pop()
        if node not in found:
            found[node] = None
            stack += [edge for edge in node.edges if isinstance(edge, Node)]
    return list(found)


def _references_behind(root: Node | None) -> list[weakref.ref[Any]]:
    """Weak references to every node behind a tensor and to the arrays that they made."""
    references: list[weakref.ref[Any]] = []
    for node in _nodes_behind(root):
        made = [
            array
            for array in node.saved_arrays()
            if not isinstance(array, np.generic) and not any(array is given for given in node.constants)
        ]
        references += [weakref.ref(x) for x in (node, *made)]
    return references
