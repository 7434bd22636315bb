"""What the rungs of the ladder of proofs measure with: a function at one point, a cotangent, directions, distances."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minivit.autograd.backward import grad
from minivit.autograd.errors import GradientCheckError
from minivit.autograd.node import Node
from minivit.autograd.probe import Directions, Probe, cast_all, gradient_arrays, largest_entry
from minivit.autograd.rounding import rounding_of
from minivit.autograd.tensor import Tensor
from minivit.backend import kernels_disabled, move, to_host

NdArray = np.ndarray[Any, Any]
Framework = Callable[[Sequence[NdArray], NdArray], tuple[NdArray, Sequence[NdArray | None]]]
"""(inputs, cotangent) -> (value, one gradient an input): the same computation elsewhere."""


@dataclass(frozen=True)
class Rounding:
    """How far rounding alone may carry two computations apart, an absolute number for the value and each gradient."""

    value: float
    gradients: tuple[float, ...]


@dataclass
class LadderPoint:
    """A function at one point.

    Attributes
    ----------
    probe : Probe
    reference : callable or None
        The formula in plain NumPy.
    frameworks : dict of str to Framework
    zero : tuple of int
        Inputs whose gradient is zero by structure.
    linear : bool
        Whether the gradient does not change with the inputs.
    rng : numpy.random.Generator
    cotangent : array
        Random, of the output's shape.
    directions : dict of int to array
        A random one for each checked input.
    scales : list of float
        By checked input, how large a gradient may be expected to be.
    """

    probe: Probe
    reference: Callable[..., Any] | None
    frameworks: dict[str, Framework]
    zero: tuple[int, ...]
    linear: bool
    rng: np.random.Generator
    cotangent: NdArray = field(init=False)
    directions: Directions = field(init=False)
    scales: list[float] = field(init=False)

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
            deviation = nan_as_infinite(abs(given - expected))
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
        return [None if array is None else read_only(array, array.dtype) for array in arrays]

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
    return nan_as_infinite(float(beyond) / (scale or largest_entry(theirs) or 1.0))


def nan_as_infinite(error: float) -> float:
    """An error, or infinity for NaN: it passes nowhere."""
    return float("inf") if np.isnan(error) else error


def copy_all(arrays: Sequence[Any]) -> list[Any]:
    """Copies of arrays."""
    return [None if array is None else array.copy() for array in arrays]


def read_only(array: NdArray, dtype: Any) -> NdArray:
    """A copy in a dtype that cannot be written into."""
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
