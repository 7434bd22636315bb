"""Module: a tree of parameters with a forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from minivit.autograd.errors import DTypeError
from minivit.autograd.state import STATE
from minivit.backend import Array, device_of, move, to_host
from minivit.nn.parameter import Parameter
from minivit.nn.state import check_state


class Module:
    """Base class of layers and models.

    Attributes that are Parameters or Modules (or lists, tuples and dicts of them) make up the tree; their names, joined
    by dots, are the names of the state dict: ``blocks.0.attn.qkv.weight``.
    """

    training: bool = True

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
        seen: set[int] = set()
        for path, _, parameters in self._walk():
            for name, parameter in parameters:
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield (f"{path}.{name}" if path else name), parameter

    def _walk(self) -> Iterator[tuple[str, Module, list[tuple[str, Parameter]]]]:
        """Full name, module and its own parameters, of every module of the tree once, parents first."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            parameters, children = [], []
            for name, value in _members(vars(module)):
                if isinstance(value, Parameter):
                    parameters.append((name, value))
                else:
                    children.append((f"{path}.{name}" if path else name, value))
            yield path, module, parameters
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
        """The device of the first parameter; ``"cpu"`` without one."""
        for parameter in self.parameters():
            return device_of(parameter.data)
        return "cpu"

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of every parameter as a NumPy array, by full name."""
        return {name: np.array(to_host(parameter.data)) for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Array], strict: bool = True) -> None:
        """Write arrays into the parameters.

        Parameters
        ----------
        state : mapping of str to array
            Converted to each parameter's dtype and device.
        strict : bool
            False ignores missing and unexpected names; shapes have to fit in any case.

        Raises
        ------
        StateError
            Listing every missing, unexpected and mis-shaped name; nothing is written then.
        """
        parameters = dict(self.named_parameters())
        check_state(type(self).__name__, {name: p.shape for name, p in parameters.items()}, state, strict)
        for name, parameter in parameters.items():
            if name in state:
                parameter.assign(state[name])

    def train(self, mode: bool = True) -> Self:
        """Switch dropout and its kind on; returns the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch dropout and its kind off; returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget every gradient: a parameter that gets none in the next step is then skipped, not updated."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, device: str) -> Self:
        """Move every parameter to a device; returns the module. An optimiser notices and moves its state too."""
        for parameter in self.parameters():
            parameter.replace(move(parameter.data, device))
        return self

    def astype(self, dtype: Any) -> Self:
        """Convert every parameter to another floating-point dtype; returns the module.

        Raises
        ------
        DTypeError
            If the dtype is not a floating-point one.
        """
        if np.dtype(dtype).kind not in "fc":
            raise DTypeError(f"astype: parameters need a floating-point dtype, got {np.dtype(dtype)}")
        for parameter in self.parameters():
            parameter.replace(parameter.data.astype(dtype, copy=False))
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


def _members(attributes: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """The modules and parameters among some attributes, also those in lists, tuples and dicts, with their names."""
    for name, value in attributes.items():
        if isinstance(value, _TREE):
            yield name, value
        elif isinstance(value, _CONTAINERS):
            items = value if isinstance(value, dict) else dict(enumerate(value))
            for below, member in _members(items):
                yield f"{name}.{below}", member


_TREE = (Module, Parameter)
_CONTAINERS = (list, tuple, dict)
