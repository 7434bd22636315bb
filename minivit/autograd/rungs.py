"""The rungs of the ladder of proofs: each compares a hand-derived backward with one thing that knows better."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from minivit.autograd.ladder_point import (
    Framework,
    LadderPoint,
    NdArray,
    Rounding,
    copy_all,
    distance,
    nan_as_infinite,
    read_only,
)
from minivit.autograd.probe import (
    ROUNDING,
    STEP,
    Directions,
    Probe,
    UnsupportedError,
    cast_all,
    largest_entry,
    natural_scale,
)
from minivit.autograd.rung import RUNGS, Found, NotApplicableError, Rung, try_rung
from minivit.autograd.state import unrolled
from minivit.backend import available_devices, kernels_disabled

DIFFERENCE_STEP = 1e-4
SAME = 1e-12  # two float64 computations of one formula
SAME_SECOND = 1e-11  # ... of its second order
NEAR = 1e-7  # central differences
FLOAT32 = 1e-5
ROUGHLY = 1e-3  # a text in float32 against the same in float64


class Ladder(LadderPoint):
    """The rungs, on one function at one point. Kernels are off on every rung but their own."""

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
            rungs += [try_rung(number, name, step) for number, name, step in steps]
        rungs.append(try_rung(9, RUNGS[9], self.kernels))
        rungs.append(try_rung(10, RUNGS[10], self.on_gpu))
        for name, framework in self.frameworks.items():
            rungs.append(try_rung(11, name, partial(self.against_framework, framework)))
        return rungs

    # The rungs

    def against_transcription(self) -> Found:
        """1. The value against the formula in plain NumPy."""
        if self.reference is None:
            raise NotApplicableError("no transcription given")
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
            raise NotApplicableError("made of primitives only: the numerical rungs prove those")
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
            raise NotApplicableError(str(reason)) from reason

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
                "the Hessian is not symmetric": nan_as_infinite(symmetry),
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
            arrays, cotangent = self._read_only(dtype), read_only(self.cotangent, dtype)
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
            arrays, dy = self._read_only(dtype), read_only(self.cotangent, dtype)
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
            raise NotApplicableError("no kernel")
        error = self._second_order_error_after_kernels()
        if not error <= SAME:
            return error, SAME, f"{', '.join(sorted(names))}: the second order of a graph that kernels have recorded"
        return worst[0], worst[1], ", ".join(sorted(names))

    def on_gpu(self) -> Found:
        """10. The first GPU against the CPU."""
        device = next((device for device in available_devices() if device != "cpu"), None)
        if device is None:
            raise NotApplicableError("no GPU")
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
