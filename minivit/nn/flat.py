"""All parameters of a model in one buffer, all gradients in another.

Parameters are views into the first. AdamW, clipping, averaging of weights and checkpoints are then one pass over
contiguous memory each, instead of one over every tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minivit.autograd.errors import DeviceError, DTypeError
from minivit.backend import Array, array_module, device_of
from minivit.nn.module import Module
from minivit.nn.parameter import Parameter

ALIGNMENT = 16  # elements: a segment starts at a cache line


@dataclass(frozen=True)
class Segment:
    """Where a parameter lies in the flat buffers."""

    name: str
    parameter: Parameter
    start: int
    stop: int


class FlatParameters:
    """The trainable parameters of a module as one buffer, and a buffer for their gradients.

    Parameters
    ----------
    module : Module
    group : callable, optional
        (name, parameter) -> sortable key. Parameters of one key lie next to each other, so that an optimiser that
        treats them alike needs one pass for them.

    Attributes
    ----------
    data, grad : array (n,)
        Between the segments lie up to 15 unused zeros.
    segments : list of Segment
    """

    def __init__(self, module: Module, group: Callable[[str, Parameter], Any] | None = None) -> None:
        self.module = module
        self.group = group or (lambda *_: 0)
        self._lay_out()

    def _lay_out(self) -> None:
        named = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        if not named:
            raise ValueError(f"{type(self.module).__name__} has no trainable parameter; unfreeze some first")
        first = named[0][1]
        for name, parameter in named:
            if parameter.dtype != first.dtype:
                raise DTypeError(
                    f"parameters of one model need one dtype: {named[0][0]} is {first.dtype}, {name} is "
                    f"{parameter.dtype}; use model.astype(...)"
                )
            if parameter.device != first.device:
                raise DeviceError(
                    f"parameters of one model need one device: {named[0][0]} is on {first.device}, "
                    f"{name} on {parameter.device}; use model.to(...)"
                )
        named.sort(key=lambda pair: self.group(*pair))
        self.segments: list[Segment] = []
        start = 0
        for name, parameter in named:
            self.segments.append(Segment(name, parameter, start, start + parameter.size))
            start += -(-parameter.size // ALIGNMENT) * ALIGNMENT
        xp = array_module(first.data)
        self.data: Array = xp.zeros(start, dtype=first.dtype)
        self.grad: Array = xp.zeros(start, dtype=first.dtype)
        self._views: list[Array] = []
        for segment in self.segments:
            parameter = segment.parameter
            view = self.data[segment.start : segment.stop].reshape(parameter.shape)
            view[...] = parameter.data
            parameter.data = view
            parameter.name = segment.name
            parameter.gradient_buffer = self.grad[segment.start : segment.stop].reshape(parameter.shape)
            parameter.grad = None
            parameter.touch()
            self._views.append(view)

    @property
    def is_current(self) -> bool:
        """Whether the module still has exactly these parameters, in these buffers."""
        named = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        return len(named) == len(self.segments) and all(
            named.get(s.name) is s.parameter and s.parameter.data is view
            for s, view in zip(self.segments, self._views, strict=True)
        )

    def refresh(self) -> bool:
        """Lay the buffers out anew if the module tree, a device or a dtype changed; whether it was so."""
        if self.is_current:
            return False
        self._lay_out()
        return True

    @property
    def device(self) -> str:
        """Where the buffers are."""
        return device_of(self.data)

    @property
    def size(self) -> int:
        """Length of the buffers, gaps included."""
        return int(self.data.shape[0])

    def touch(self) -> None:
        """Note that the values of all parameters changed."""
        for segment in self.segments:
            segment.parameter.touch()

    def runs(self, key: Callable[[Segment], Any] | None = None) -> list[tuple[int, int, Any]]:
        """Contiguous stretches of segments that have a gradient and the same key: [(start, stop, key), ...]."""
        found: list[tuple[int, int, Any]] = []
        previous_ended_run = True
        for segment in self.segments:
            if segment.parameter.grad is None:
                previous_ended_run = True
                continue
            value = key(segment) if key is not None else None
            if not previous_ended_run and found[-1][2] == value:
                found[-1] = (found[-1][0], segment.stop, value)
            else:
                found.append((segment.start, segment.stop, value))
            previous_ended_run = False
        return found

    def by_name(self, buffer: Array) -> dict[str, Array]:
        """A buffer of the same layout (a moment, an average) as views by parameter name."""
        return {s.name: buffer[s.start : s.stop].reshape(s.parameter.shape) for s in self.segments}


class GradientBuffer:
    """A further gradient buffer for the same parameters: what one of several workers adds its gradients to."""

    def __init__(self, flat: FlatParameters, buffer: Array | None = None) -> None:
        self.flat = flat
        self.buffer: Array = array_module(flat.data).zeros_like(flat.data) if buffer is None else buffer
        self._views = {id(s.parameter): self.buffer[s.start : s.stop].reshape(s.parameter.shape) for s in flat.segments}
        self.received: set[int] = set()

    def clear(self) -> None:
        """Forget what was delivered; the memory is overwritten by what comes next."""
        self.received.clear()

    def deliver(self, leaf: Any, gradient: Array) -> None:
        """Add the gradient of a parameter; of other leaves nothing is kept."""
        view = self._views.get(id(leaf))
        if view is None:
            return
        if id(leaf) in self.received:
            view += gradient
        else:
            view[...] = gradient
            self.received.add(id(leaf))


def combine(flat: FlatParameters, buffers: Sequence[GradientBuffer]) -> None:
    """Sum the workers' buffers, in their order, into the flat gradient, and hang it on the parameters."""
    for segment in flat.segments:
        parameter = segment.parameter
        for buffer in buffers:
            if id(parameter) not in buffer.received:
                continue
            part = buffer.buffer[segment.start : segment.stop]
            mine = flat.grad[segment.start : segment.stop]
            if parameter.grad is None:
                if buffer.buffer is not flat.grad:
                    mine[...] = part
                parameter.grad = parameter.gradient_buffer
            else:
                mine += part
