"""All parameters of a model in one buffer, all gradients in another.

Parameters are views into the first. AdamW, clipping, averaging of weights and checkpoints are then one pass over
contiguous memory each, instead of one over every tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.autograd.errors import DeviceError, DTypeError, GradientError
from minivit.backend import Array, array_module, device_of, move
from minivit.nn.module import Module
from minivit.nn.parameter import Parameter

CACHE_LINE = 64  # bytes
ALIGNMENT = 16  # elements: 64 bytes of float32, 128 of float64


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
        Every segment starts at a cache line; the gaps of up to 15 elements between them hold zeros.
    segments : list of Segment
        A new list each time that the buffers are laid out: whoever holds a buffer of the same layout compares it by
        identity, and follows with `carry_over`.

    Raises
    ------
    ValueError
        If no parameter is trainable.
    DTypeError, DeviceError
        If the parameters have not all one dtype and device.
    """

    def __init__(self, module: Module, group: Callable[[str, Parameter], Any] | None = None) -> None:
        self.module = module
        self.group = group or (lambda *_: 0)
        self.segments: list[Segment] = []
        self._views: list[tuple[Array, Array]] = []  # of each segment, in data and in grad
        self._lay_out()

    def _lay_out(self) -> None:
        named = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        _check_alike(self.module, named)
        named.sort(key=lambda pair: self.group(*pair))
        self._release(keep={id(parameter) for _, parameter in named})
        first = named[0][1].data
        segments: list[Segment] = []
        start = 0
        for name, parameter in named:
            segments.append(Segment(name, parameter, start, start + parameter.size))
            start += -(-parameter.size // ALIGNMENT) * ALIGNMENT
        ends = [segment.start for segment in segments[1:]] + [start]
        self._gaps = [(s.stop, end) for s, end in zip(segments, ends, strict=True) if s.stop < end]
        self.data: Array = _aligned_zeros(first, start)
        self.grad: Array = _aligned_zeros(first, start)
        self.segments, self._views = segments, []
        for segment in segments:
            parameter = segment.parameter
            data, grad = (b[segment.start : segment.stop].reshape(parameter.shape) for b in (self.data, self.grad))
            data[...] = parameter.data
            parameter.data = data
            parameter.name = segment.name
            parameter.gradient_buffer = grad
            self._views.append((data, grad))
        self._here = {s.name: (s.parameter, *views) for s, views in zip(segments, self._views, strict=True)}
        self.gather()

    def _release(self, keep: set[int]) -> None:
        """Give the parameters that are no longer here memory of their own, so that the old buffers can go."""
        for segment, (data, grad) in zip(self.segments, self._views, strict=True):
            parameter = segment.parameter
            if id(parameter) in keep or parameter.data is not data:
                continue
            parameter.data = data.copy()
            parameter.gradient_buffer = None
            if parameter.grad is not None and parameter.grad is grad:
                parameter.grad = grad.copy()

    def gather(self) -> None:
        """Bring gradients that lie elsewhere (set by hand, or computed before the layout) into the buffer."""
        for segment, (_, grad) in zip(self.segments, self._views, strict=True):
            theirs = segment.parameter.grad
            if theirs is None or theirs is grad:
                continue
            if theirs.shape != grad.shape or theirs.dtype != grad.dtype or device_of(theirs) != self.device:
                raise GradientError(
                    f"the gradient of {segment.name} must be {grad.dtype} {grad.shape} on {self.device}, it is "
                    f"{theirs.dtype} {theirs.shape} on {device_of(theirs)}; set parameter.grad to None to drop it"
                )
            grad[...] = theirs
            segment.parameter.grad = grad

    @property
    def is_current(self) -> bool:
        """Whether the module still has exactly these parameters, in these buffers."""
        count = 0
        for name, parameter in self.module.named_parameters():
            if not parameter.requires_grad:
                continue
            known, data, grad = self._here.get(name, (None, None, None))
            if parameter is not known or parameter.data is not data or parameter.gradient_buffer is not grad:
                return False
            count += 1
        return count == len(self._here)

    def refresh(self) -> bool:
        """Lay the buffers out anew if the module tree, a device or a dtype changed; whether it was so.

        Either way every gradient lies in the buffer afterwards.
        """
        if self.is_current:
            self.gather()
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

    def zeros(self) -> Array:
        """A further buffer of the same layout."""
        return _aligned_zeros(self.data, self.size)

    def carry_over(self, buffer: Array, segments: Sequence[Segment], into: Array) -> None:
        """Write a buffer of a former layout into one of today's, parameter by parameter.

        Parameters
        ----------
        buffer : array
            Laid out by `segments`; its device and dtype may have been others.
        segments : sequence of Segment
        into : array (n,)
            Keeps its values for parameters that were not there, or had another size.
        """
        former = {id(segment.parameter): segment for segment in segments}
        for segment in self.segments:
            old = former.get(id(segment.parameter))
            if old is not None and old.stop - old.start == segment.stop - segment.start:
                values = move(buffer[old.start : old.stop], self.device)
                into[segment.start : segment.stop] = values.astype(into.dtype)

    def touch(self) -> None:
        """Note that the values of all parameters changed."""
        for segment in self.segments:
            segment.parameter.touch()

    def clear_gaps(self) -> None:
        """Zeros between the segments of the gradient, also after a multiplication by NaN."""
        for start, stop in self._gaps:
            self.grad[start:stop] = 0.0

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

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters' shapes by name."""
        return {s.name: s.parameter.shape for s in self.segments}


class GradientBuffer:
    """What one of several workers adds its gradients to.

    Parameters
    ----------
    flat : FlatParameters
    buffer : array, optional
        ``flat.grad``, for one worker that adds to the model's own buffer; a buffer of its own by default.
    """

    def __init__(self, flat: FlatParameters, buffer: Array | None = None) -> None:
        if buffer is not None and buffer is not flat.grad:
            raise ValueError("GradientBuffer: buffer must be flat.grad or None, for memory of its own")
        self.flat = flat
        self.is_flat_grad = buffer is not None
        self._follow()

    def _follow(self) -> None:
        flat = self.flat
        self.segments = flat.segments
        self.buffer: Array = flat.grad if self.is_flat_grad else flat.zeros()
        self._views = {id(s.parameter): self.buffer[s.start : s.stop].reshape(s.parameter.shape) for s in flat.segments}
        self.received: set[int] = set()

    def clear(self) -> None:
        """Forget what was delivered; the memory is overwritten by what comes next.

        With ``flat.grad`` as its buffer, it goes on from the gradients that the parameters have.
        """
        if self.segments is not self.flat.segments:
            self._follow()
        self.received.clear()
        if self.is_flat_grad:
            self.flat.gather()
            self.received.update(id(s.parameter) for s in self.segments if s.parameter.grad is not None)

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
    """Add the workers' buffers, in their order, to the flat gradient, and hang it on the parameters.

    Raises
    ------
    ValueError
        If a buffer that is the flat gradient itself is not the first, or a buffer is of a former layout.
    """
    if any(buffer.is_flat_grad for buffer in buffers[1:]):
        raise ValueError("combine: the worker whose buffer is flat.grad must come first, or it would be overwritten")
    if any(buffer.segments is not flat.segments for buffer in buffers):
        raise ValueError(
            "combine: the parameters were laid out anew since the buffers were cleared; clear them, run backward again"
        )
    flat.gather()
    for segment in flat.segments:
        parameter = segment.parameter
        mine = flat.grad[segment.start : segment.stop]
        for buffer in buffers:
            if id(parameter) not in buffer.received:
                continue
            if parameter.grad is None:
                if not buffer.is_flat_grad:
                    mine[...] = buffer.buffer[segment.start : segment.stop]
                parameter.grad = parameter.gradient_buffer
            elif not buffer.is_flat_grad:
                mine += buffer.buffer[segment.start : segment.stop]


def _check_alike(module: Module, named: Sequence[tuple[str, Parameter]]) -> None:
    if not named:
        raise ValueError(f"{type(module).__name__} has no trainable parameter; unfreeze some first")
    first_name, first = named[0]
    for name, parameter in named:
        if parameter.dtype != first.dtype:
            raise DTypeError(
                f"parameters of one model need one dtype: {first_name} is {first.dtype}, {name} is {parameter.dtype}; "
                "use model.astype(...)"
            )
        if parameter.device != first.device:
            raise DeviceError(
                f"parameters of one model need one device: {first_name} is on {first.device}, {name} on "
                f"{parameter.device}; use model.to(...)"
            )


def _aligned_zeros(like: Array, count: int) -> Array:
    """Zeros (count,) of the dtype and on the device of `like`, from a cache line on."""
    xp = array_module(like)
    if xp is not np:
        return xp.zeros_like(like, shape=(count,))  # GPU allocators align by themselves
    raw = np.zeros(count * like.dtype.itemsize + CACHE_LINE, np.uint8)
    offset = -raw.ctypes.data % CACHE_LINE
    return raw[offset : offset + count * like.dtype.itemsize].view(like.dtype)
