"""What the optimisers share: they update the flat buffer of a model, segment by segment where settings differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minivit.backend import Array, array_module, backend_of, device_of, to_host
from minivit.nn import FlatParameters, Module, Parameter

Decays = Callable[[str, Parameter], bool]


def decays_matrices(name: str, parameter: Parameter) -> bool:
    """Weight decay for matrices and kernels only: not for biases, LayerNorms, class token and positions, as in timm."""
    return parameter.ndim > 1 and name not in ("cls_token", "pos_embed")


class Optimizer:
    """Base class: holds the flat parameters and state buffers of the same layout.

    Parameters
    ----------
    module : Module
        Its trainable parameters become views into one flat buffer.
    learning_rate : float
    weight_decay : float
    decays : callable
        (name, parameter) -> whether weight decay applies to it.
    learning_rate_scale : callable, optional
        (name, parameter) -> factor of its learning rate.
    """

    state_names: tuple[str, ...] = ()

    def __init__(
        self,
        module: Module,
        learning_rate: float,
        weight_decay: float = 0.0,
        decays: Decays = decays_matrices,
        learning_rate_scale: Callable[[str, Parameter], float] | None = None,
    ) -> None:
        if not learning_rate >= 0.0:
            raise ValueError(f"{type(self).__name__}: learning_rate must not be negative, got {learning_rate}")
        if not weight_decay >= 0.0:
            raise ValueError(f"{type(self).__name__}: weight_decay must not be negative, got {weight_decay}")
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.decays = decays
        self.learning_rate_scale = learning_rate_scale or (lambda *_: 1.0)
        self.flat = FlatParameters(module, group=self._settings)
        self.state: dict[str, Array] = {name: self._zeros() for name in self.state_names}
        self.steps = 0

    def _settings(self, name: str, parameter: Parameter) -> tuple[float, float]:
        """(factor of the learning rate, weight decay) of a parameter."""
        return (
            self.learning_rate_scale(name, parameter),
            self.weight_decay if self.decays(name, parameter) else 0.0,
        )

    def _zeros(self) -> Array:
        return array_module(self.flat.data).zeros_like(self.flat.data)

    def zero_grad(self) -> None:
        """Forget every gradient."""
        for segment in self.flat.segments:
            segment.parameter.grad = None

    def step(self) -> None:
        """Update every parameter that got a gradient; the others are neither moved nor decayed."""
        self._follow_module()
        self.steps += 1
        for start, stop, (scale, decay) in self.flat.runs(lambda s: self._settings(s.name, s.parameter)):
            self.update(slice(start, stop), self.learning_rate * scale, decay)
        self.flat.touch()

    def update(self, part: slice, learning_rate: float, weight_decay: float) -> None:
        """Update one stretch of the flat buffer in place."""
        raise NotImplementedError

    def _follow_module(self) -> None:
        """Where the module tree, its device or dtype changed, lay out anew and carry the state over by name."""
        if self.flat.is_current:
            return
        gradients = {s.name: s.parameter.grad for s in self.flat.segments}
        old = {key: self.flat.by_name(buffer) for key, buffer in self.state.items()}
        old = {key: {name: to_host(view) for name, view in views.items()} for key, views in old.items()}
        self.flat.refresh()
        self.state = {name: self._zeros() for name in self.state_names}
        self._write_state(old)
        for segment in self.flat.segments:
            gradient = gradients.get(segment.name)
            if gradient is not None and segment.parameter.gradient_buffer is not None:
                segment.parameter.gradient_buffer[...] = self._here(to_host(gradient))
                segment.parameter.grad = segment.parameter.gradient_buffer

    def _here(self, array: np.ndarray) -> Array:
        """A host array on the device and in the dtype of the parameters."""
        backend = backend_of(self.flat.data)
        return backend.from_host(np.ascontiguousarray(array, dtype=self.flat.data.dtype), device_of(self.flat.data))

    def _write_state(self, state: dict[str, dict[str, np.ndarray]]) -> None:
        for key, views in state.items():
            mine = self.flat.by_name(self.state[key])
            for name, values in views.items():
                if name in mine and mine[name].shape == values.shape:
                    mine[name][...] = self._here(values)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Every state array by ``<state>.<parameter>``, and the number of steps, as NumPy arrays."""
        arrays = {
            f"{key}.{name}": np.array(to_host(view))
            for key, buffer in self.state.items()
            for name, view in self.flat.by_name(buffer).items()
        }
        return {**arrays, "steps": np.array(self.steps, np.int64)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Write what `state_dict` gave.

        Raises
        ------
        KeyError
            Naming what is missing.
        """
        expected = [f"{key}.{segment.name}" for key in self.state_names for segment in self.flat.segments] + ["steps"]
        missing = [name for name in expected if name not in state]
        if missing:
            raise KeyError(f"the optimiser's state lacks {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}")
        self.steps = int(state["steps"])
        self._write_state(
            {
                key: {segment.name: state[f"{key}.{segment.name}"] for segment in self.flat.segments}
                for key in self.state_names
            }
        )
