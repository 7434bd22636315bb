"""What the optimisers share: they update the flat buffer of a model, segment by segment where settings differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minivit.backend import Array, backend_of, to_host
from minivit.nn import FlatParameters, Module, Parameter
from minivit.nn.flat import Segment
from minivit.nn.state import check_state

Decays = Callable[[str, Parameter], bool]

TOKENS = ("cls_token", "dist_token", "mask_token", "pos_embed")


def decays_matrices(name: str, parameter: Parameter) -> bool:
    """Weight decay for matrices and kernels: not for biases, LayerNorms, special tokens and positions. timm's rule."""
    return parameter.ndim > 1 and name.rpartition(".")[2] not in TOKENS


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

    Attributes
    ----------
    flat : FlatParameters
    state : dict of str to array
        Buffers of the layout of `flat`, by `state_names`.
    steps : int
        Steps made.
    updates : dict of str to int
        For each parameter, the steps in which it had a gradient.
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
        self._known_settings: dict[tuple[str, float], tuple[str, float, float]] = {}
        self.flat = FlatParameters(module, group=self._settings)
        self._segments = self.flat.segments
        self.state: dict[str, Array] = {name: self.flat.zeros() for name in self.state_names}
        self.updates = {segment.name: 0 for segment in self._segments}
        self.steps = 0

    def kind(self, name: str, parameter: Parameter) -> str:  # noqa: ARG002
        """Parameters of different kinds are updated by separate calls of `update`; here all are of one."""
        return ""

    def _settings(self, name: str, parameter: Parameter) -> tuple[str, float, float]:
        """(kind, factor of the learning rate, weight decay) of a parameter."""
        return (
            self.kind(name, parameter),
            self.learning_rate_scale(name, parameter),
            self.weight_decay if self.decays(name, parameter) else 0.0,
        )

    def zero_grad(self) -> None:
        """Forget every gradient."""
        self.flat.module.zero_grad()

    def step(self) -> None:
        """Update every parameter that got a gradient; the others are neither moved nor decayed."""
        self._follow_layout()
        self.steps += 1
        for segment in self._segments:
            self.updates[segment.name] += segment.parameter.grad is not None
        for start, stop, ((_, scale, decay), count) in self.flat.runs(self._treatment):
            self.update(slice(start, stop), self.learning_rate * scale, decay, count)
        self.flat.touch()

    def _treatment(self, segment: Segment) -> tuple[tuple[str, float, float], int]:
        """Settings and number of updates: segments that share both are updated together."""
        key = segment.name, self.weight_decay
        settings = self._known_settings.get(key)
        if settings is None:
            settings = self._known_settings[key] = self._settings(segment.name, segment.parameter)
        return settings, self.updates[segment.name]

    def update(self, part: slice, learning_rate: float, weight_decay: float, count: int) -> None:
        """Update one stretch of the flat buffer in place.

        Parameters
        ----------
        part : slice
        learning_rate, weight_decay : float
            Of this stretch.
        count : int
            Which update of these parameters it is, from 1.
        """
        raise NotImplementedError

    def _follow_layout(self) -> None:
        """Where the module tree, its device or dtype changed, lay out anew; a parameter that stayed keeps its state."""
        self.flat.refresh()
        if self._segments is self.flat.segments:
            return
        self._known_settings.clear()
        old, updates = self.state, {id(s.parameter): self.updates[s.name] for s in self._segments}
        self.state = {name: self.flat.zeros() for name in self.state_names}
        for name, buffer in self.state.items():
            self.flat.carry_over(old[name], self._segments, into=buffer)
        self._segments = self.flat.segments
        self.updates = {s.name: updates.get(id(s.parameter), 0) for s in self._segments}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Every state array by ``<state>.<parameter>``, and the numbers of updates and steps, as NumPy arrays."""
        self._follow_layout()
        arrays = {
            f"{key}.{name}": np.array(to_host(view))
            for key, buffer in self.state.items()
            for name, view in self.flat.by_name(buffer).items()
        }
        counts = {f"updates.{name}": np.array(count, np.int64) for name, count in self.updates.items()}
        return {**arrays, **counts, "steps": np.array(self.steps, np.int64)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Write what `state_dict` gave.

        Raises
        ------
        StateError
            Listing every missing, unexpected and mis-shaped name; nothing is written then.
        """
        self._follow_layout()
        shapes = self.flat.shapes
        expected: dict[str, tuple[int, ...]] = {
            f"{key}.{name}": shape for key in self.state_names for name, shape in shapes.items()
        }
        expected |= {f"updates.{name}": () for name in shapes} | {"steps": ()}
        check_state(type(self).__name__, expected, state)
        for key, buffer in self.state.items():
            for name, view in self.flat.by_name(buffer).items():
                host = np.asarray(state[f"{key}.{name}"], dtype=view.dtype, order="C")
                view[...] = backend_of(view).from_host(host, self.flat.device)
        self.updates = {name: int(state[f"updates.{name}"]) for name in shapes}
        self.steps = int(state["steps"])
