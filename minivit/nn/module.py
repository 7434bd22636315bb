"""Module: a tree of parameters and buffers with a forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from minivit.autograd.errors import DTypeError
from minivit.autograd.state import STATE
from minivit.backend import Array, device_of, move, to_host
from minivit.nn.buffer import Buffer
from minivit.nn.parameter import Parameter
from minivit.nn.state import StateError, check_state


class Module:
    """Base class of layers and models.

    Attributes that are Parameters, Buffers or Modules (or lists, tuples and dicts of them) make up the tree; their
    names, joined by dots, are the names of the state dict: ``blocks.0.attn.qkv.weight``.

    Attributes
    ----------
    training : bool
        Switched by `train` and `eval`.
    mixes_examples : bool
        True for a layer that, while it trains, computes an example from the others of the batch too, as batch
        normalisation does: the batch then cannot be cut into parts that know nothing of each other.
    """

    training: bool = True
    mixes_examples: bool = False

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run the forward."""
        outer, hooks = STATE.module, STATE.hooks
        for hook in hooks:
            hook.before_module(self, inputs)
        STATE.module = self  # a node remembers the module it was made in, for messages and profiles
        try:
            return self.forward(*inputs, **options)
        finally:
            for hook in hooks:
                hook.after_module(self)
            STATE.module = outer

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below this one."""
        for name, value in _members(vars(self)):
            if isinstance(value, Module):
                yield name, value

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """The module itself (its name is empty) and all below it, each once, parents first."""
        for path, module, _ in self._walk():
            yield path, module

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its full name."""
        return ((name, value) for name, value in self._named_values() if isinstance(value, Parameter))

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Every buffer once, with its full name."""
        return ((name, value) for name, value in self._named_values() if isinstance(value, Buffer))

    def _named_values(self) -> Iterator[tuple[str, Parameter | Buffer]]:
        """Every parameter and buffer once, in PyTorch's order: a module's parameters, its buffers, what is below it."""
        seen: set[int] = set()
        for path, _, values in self._walk():
            for name, value in values:
                if id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def _walk(self) -> Iterator[tuple[str, Module, list[tuple[str, Parameter | Buffer]]]]:
        """Full name, module, its own parameters and then buffers, of every module of the tree once, parents first."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            parameters, buffers, children = [], [], []
            for name, value in _members(vars(module)):
                if isinstance(value, Module):
                    children.append((f"{path}.{name}" if path else name, value))
                elif isinstance(value, Parameter):
                    parameters.append((name, value))
                else:
                    buffers.append((name, value))
            yield path, module, parameters + buffers
            stack.extend(reversed(children))

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def count_parameters(self, trainable_only: bool = False) -> int:
        """Number of values in all parameters."""
        return sum(p.size for p in self.parameters() if p.requires_grad or not trainable_only)

    def path_of(self, module: Module | None) -> str:
        """Full name of a module below this one; empty for this one or for none."""
        for path, candidate in self.named_modules():
            if candidate is module:
                return path
        return ""

    @property
    def device(self) -> str:
        """The device of the first parameter or buffer; ``"cpu"`` without one."""
        for _, value in self._named_values():
            return device_of(value.data)
        return "cpu"

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of every parameter and buffer as a NumPy array, by full name."""
        return {name: np.array(to_host(value.data)) for name, value in self._named_values()}

    def load_state_dict(self, state: Mapping[str, Array], strict: bool = True) -> None:
        """Write arrays into the parameters and buffers.

        Parameters
        ----------
        state : mapping of str to array
            Converted to the dtype and device of each parameter and buffer.
        strict : bool
            False ignores missing and unexpected names; shapes have to fit in any case.

        Raises
        ------
        StateError
            Listing every missing, unexpected and mis-shaped name, or where a buffer of integers would take other
            numbers; nothing is written then.
        """
        values = dict(self._named_values())
        check_state(type(self).__name__, {name: value.shape for name, value in values.items()}, state, strict)
        given = {name: value for name, value in values.items() if name in state}
        for name, value in given.items():
            if value.dtype.kind in "iu" and state[name].dtype.kind not in "iu":
                raise StateError(f"{name} holds {value.dtype}, the state has {state[name].dtype}; nothing was loaded")
        for name, value in given.items():
            value.assign(state[name])

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on and let batch normalisation use the batch's own statistics; returns the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch dropout off and let batch normalisation use its running statistics; returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget every gradient: a parameter that gets none in the next step is then skipped, not updated."""
        for _, _, values in self._walk():
            for _, value in values:
                value.grad = None

    def to(self, device: str) -> Self:
        """Move every parameter and buffer to a device; returns the module.

        An optimiser notices and moves its state too.
        """
        for _, value in self._named_values():
            value.replace(move(value.data, device))
        return self

    def astype(self, dtype: Any) -> Self:
        """Convert every parameter, and every buffer of floats, to another floating-point dtype; returns the module.

        Raises
        ------
        DTypeError
            If the dtype is not a floating-point one.
        """
        if np.dtype(dtype).kind not in "fc":
            raise DTypeError(f"astype: parameters need a floating-point dtype, got {np.dtype(dtype)}")
        for _, value in self._named_values():
            if value.dtype.kind in "fc":
                value.replace(value.data.astype(dtype, copy=False))
        return self

    def requires_grad(self, wanted: bool = True) -> Self:
        """Freeze (False) or unfreeze every parameter; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad = wanted
        return self

    def __repr__(self) -> str:
        children = "".join(
            f"\n  {name}: {repr(child).replace(chr(10), chr(10) + '  ')}" for name, child in self.named_children()
        )
        return f"{type(self).__name__}({self.describe()}){children}"

    def describe(self) -> str:
        """The module's settings, for `repr`."""
        return ""


def _members(attributes: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """Modules, parameters and buffers among some attributes, also in lists, tuples and dicts, with their names."""
    found: list[tuple[str, Any]] = []
    for name, value in attributes.items():
        if isinstance(value, _TREE):
            found.append((name, value))
        elif isinstance(value, _CONTAINERS):
            items = value if isinstance(value, dict) else dict(enumerate(value))
            found += [(f"{name}.{below}", member) for below, member in _members(items)]
    return found


_TREE = (Module, Parameter, Buffer)
_CONTAINERS = (list, tuple, dict)
