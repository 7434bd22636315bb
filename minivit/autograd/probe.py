"""A function at one point, with the two numerical derivatives that a backward is compared with."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minivit.autograd.backward import grad
from minivit.autograd.errors import MinivitError
from minivit.autograd.state import enable_grad
from minivit.autograd.tensor import Tensor
from minivit.backend import kernels_disabled, move, to_host

Directions = dict[int, np.ndarray[Any, Any]]
"""For some of the inputs, by position, the direction in which to move them."""

STEP = 1e-20  # of the complex step: its error is of the order of the step squared
ROUNDING = 64 * float(np.finfo(np.float64).eps)


class UnsupportedError(Exception):
    """A function that cannot be run on complex numbers."""


class Probe:
    """A function of Tensors at one point: its value, its gradients, and its numerical derivatives.

    Parameters
    ----------
    function : callable
        Tensors -> Tensor.
    inputs : sequence of arrays, Tensors and None
        Floating-point arrays and Tensors with ``requires_grad=True`` are differentiated; integers, bools and Tensors
        without gradient are constants; None stands for an optional input that is left out.
    constant : sequence of int
        Positions of arrays that are constants too.
    """

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Any], constant: Sequence[int] = ()) -> None:
        self.function = function
        self.device = next((x.device for x in inputs if isinstance(x, Tensor)), "cpu")
        self.arrays: list[Any] = [
            None if x is None else to_host(x.data) if isinstance(x, Tensor) else np.asarray(x) for x in inputs
        ]
        self.checked = tuple(
            position
            for position, (x, array) in enumerate(zip(inputs, self.arrays, strict=True))
            if is_floating(array) and position not in constant and getattr(x, "requires_grad", True)
        )
        self.names = argument_names(function)

    def describe(self, position: int) -> str:
        """``argument 1 'weight'``."""
        name = f" {self.names[position]!r}" if position < len(self.names) else ""
        return f"argument {position}{name}"

    def leaves(self, arrays: Sequence[Any] | None = None, requires_grad: bool = True) -> list[Any]:
        """Fresh Tensors that hold the arrays."""
        return [
            None if array is None else Tensor(move(array, self.device), requires_grad and position in self.checked)
            for position, array in enumerate(self.arrays if arrays is None else arrays)
        ]

    def value(self, arrays: Sequence[Any] | None = None) -> np.ndarray[Any, Any]:
        """The function's value (the function may itself take gradients, so recording stays on)."""
        with enable_grad():
            output: np.ndarray[Any, Any] = to_host(self.function(*self.leaves(arrays, requires_grad=False)).data)
        return output

    def cotangent(self, rng: np.random.Generator) -> np.ndarray[Any, Any]:
        """A random array of the output's shape and dtype."""
        value = self.value()
        return np.asarray(rng.standard_normal(value.shape), dtype=value.dtype)

    def gradients(
        self, cotangent: np.ndarray[Any, Any], arrays: Sequence[Any] | None = None, only: int | None = None
    ) -> list[np.ndarray[Any, Any]]:
        """The gradients that the backward gives, one for each position in `checked` (or for `only`)."""
        leaves = self.leaves(arrays)
        wanted = [leaves[position] for position in (self.checked if only is None else (only,))]
        with enable_grad():
            output = self.function(*leaves)
        return gradient_arrays(output, wanted, move(cotangent, self.device))

    def differences(self, directions: Directions, eps: float) -> np.ndarray[Any, Any]:
        """J v by central differences of fourth order: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h."""
        near = self.value(self._moved(directions, eps)) - self.value(self._moved(directions, -eps))
        far = self.value(self._moved(directions, 2 * eps)) - self.value(self._moved(directions, -2 * eps))
        slope: np.ndarray[Any, Any] = (8.0 * near - far) / (12.0 * eps)
        return slope

    def complex_step(self, directions: Directions) -> np.ndarray[Any, Any]:
        """J v as Im f(x + i h v) / h.

        Raises
        ------
        UnsupportedError
            If the function does not run on complex numbers.
        """
        output = self.on_complex_numbers(self.value, directions)
        return np.asarray(output.imag / STEP)

    def on_complex_numbers(self, run: Callable[[list[Any]], Any], directions: Directions) -> Any:
        """What `run` gives for x + i h v; an UnsupportedError if the text cannot take complex numbers."""
        arrays = cast_all(self.arrays, np.complex128)
        for position, direction in directions.items():
            arrays[position] = np.asarray(arrays[position] + 1j * STEP * direction)
        try:
            with kernels_disabled(), warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)  # a cast would drop the derivative
                result = run(arrays)
        except (MinivitError, TypeError, ValueError, np.exceptions.ComplexWarning) as error:
            raise UnsupportedError(f"does not run on complex numbers: {error}") from error
        outputs = result if isinstance(result, list) else [result]
        if not any(output.dtype.kind == "c" for output in outputs):
            raise UnsupportedError("left the complex numbers")
        return result

    def _moved(self, directions: Directions, step: float) -> list[Any]:
        arrays = list(self.arrays)
        for position, direction in directions.items():
            arrays[position] = np.asarray(arrays[position] + step * direction)  # a 0-d sum would be a scalar
        return arrays


def is_floating(array: Any) -> bool:
    """Whether it holds floating-point (or complex) numbers."""
    return array is not None and array.dtype.kind in "fc"


def cast_all(arrays: Sequence[Any], dtype: Any) -> list[Any]:
    """Copies of the floating-point arrays in another dtype; integers, bools and None as they are."""
    return [array.astype(dtype) if is_floating(array) else array for array in arrays]


def gradient_arrays(
    output: Tensor, wanted: Sequence[Tensor], cotangent: Any, retain_graph: bool = False
) -> list[np.ndarray[Any, Any]]:
    """`minivit.grad` as NumPy arrays, with zeros where no gradient flows."""
    if not output.requires_grad:
        return [np.zeros(x.shape, x.dtype) for x in wanted]
    found: tuple[Any, ...] = grad(output, wanted, cotangent, retain_graph=retain_graph, allow_unused=True)
    return [
        np.zeros(x.shape, x.dtype) if gradient is None else to_host(gradient.data)
        for x, gradient in zip(wanted, found, strict=True)
    ]


def natural_scale(cotangent: Any, value: Any, array: Any) -> float:
    """How large a gradient of <cotangent, value> one would expect: |L| / |x|.

    Values below a tenth count as one: they may be what large terms left when they cancelled.
    """
    return float(np.sum(np.abs(cotangent) * np.maximum(np.abs(value), 0.1))) / (root_mean_square(array) or 1.0)


def root_mean_square(array: Any) -> float:
    """The size of a typical entry, 0 for an empty array."""
    return float(np.sqrt(np.mean(array * array))) if array.size else 0.0


def largest_entry(array: Any) -> float:
    """Largest absolute value, 0 for an empty array."""
    return float(np.max(np.abs(array), initial=0.0))


def argument_names(function: Callable[..., Any]) -> list[str]:
    """Names of the positional parameters, as far as they are known."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
