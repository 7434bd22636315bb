"""Module: a tree of parameters with a forward."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minivit.autograd.errors import MinivitError
from minivit.autograd.state import STATE
from minivit.backend import Array, backend_of, device_of, move, to_host
from minivit.nn.parameter import Parameter


class StateError(MinivitError, KeyError):
    """A state dict that does not fit the module."""

    def __str__(self) -> str:
        return str(self.args[0])


class Module:
    """Base class of layers and models.

    Attributes that are Parameters or Modules (or lists of Modules) make up the tree; their names, joined by dots, are
    the names of the state dict: ``blocks.0.attn.qkv.weight``.
    """

    training: bool = True

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run the forward."""
        outer = STATE.module
        STATE.module = self  # a node remembers the module it was made in, for messages and profiles
        try:
            return self.forward(*inputs, **options)
        finally:
            STATE.module = outer

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below this one."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list | tuple):
                for index, item in enumerate(value):
                    if isinstance(item, Module):
                        yield f"{name}.{index}", item

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """The module itself and all below it, parents first."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its full name."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

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
        problems = [
            f"  shape of {name}: expected {parameters[name].shape}, got {tuple(state[name].shape)}"
            for name in parameters
            if name in state and tuple(state[name].shape) != parameters[name].shape
        ]
        if strict:
            unexpected = [name for name in state if name not in parameters]
            problems += [
                f"  missing {name}{_nearest(name, unexpected)}" for name in parameters if name not in state
            ] + [f"  unexpected {name}" for name in unexpected]
        if problems:
            raise StateError(
                f"the state does not fit {type(self).__name__}; nothing was loaded:\n" + "\n".join(problems)
            )
        for name, parameter in parameters.items():
            if name in state:
                backend = backend_of(parameter.data)
                array = backend.from_host(
                    np.ascontiguousarray(to_host(state[name]), dtype=parameter.dtype), device_of(parameter.data)
                )
                parameter.assign(array)

    def train(self, mode: bool = True) -> Module:
        """Switch dropout and its kind on; returns the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch dropout and its kind off; returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget every gradient: a parameter that gets none in the next step is then skipped, not updated."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, device: str) -> Module:
        """Move every parameter to a device; returns the module. An optimiser notices and moves its state too."""
        for parameter in self.parameters():
            parameter.data = move(parameter.data, device)
            parameter.grad = None
            parameter.gradient_buffer = None
            parameter.touch()
        return self

    def astype(self, dtype: Any) -> Module:
        """Convert every parameter to another floating-point dtype; returns the module."""
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = None
            parameter.gradient_buffer = None
            parameter.touch()
        return self

    def requires_grad(self, wanted: bool = True) -> Module:
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


def _nearest(name: str, candidates: list[str]) -> str:
    match = difflib.get_close_matches(name, candidates, n=1, cutoff=0.75)
    return f" (is it {match[0]}?)" if match else ""
