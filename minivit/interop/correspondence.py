"""Which arrays of another format a parameter corresponds to, and how one is made of the other without a digit changing.

A format is a table: the name of each of minivit's parameters, and the rule for it. The same rules read, write, and say
in the file's own names what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Rule(NamedTuple):
    """How another format keeps one parameter.

    Attributes
    ----------
    names : tuple of str
        Of its arrays there.
    there : callable
        The parameter -> those arrays.
    back : callable
        Those arrays -> the parameter; a ValueError if their shapes are none that `there` makes.
    """

    names: tuple[str, ...]
    there: Callable[[np.ndarray], Sequence[np.ndarray]]
    back: Callable[..., np.ndarray]


Rules = Mapping[str, Rule]


def same(name: str) -> Rule:
    """The parameter under another name."""
    return Rule((name,), lambda array: (array,), lambda array: array)


def transposed(name: str) -> Rule:
    """A linear map's weight (O, I), kept as (I, O)."""
    return Rule((name,), lambda array: (array.T,), lambda array: _of_rank(array, 2).T)


def channels_last(name: str) -> Rule:
    """A convolution's weight (O, I, H, W), kept as (H, W, I, O)."""
    return Rule(
        (name,),
        lambda array: (array.transpose(2, 3, 1, 0),),
        lambda array: _of_rank(array, 4).transpose(3, 2, 0, 1),
    )


def thirds(*names: str) -> Rule:
    """Query, key and value (3D, ...), kept as three arrays (D, ...)."""
    return Rule(names, lambda array: np.split(array, 3), _joined)


def thirds_in_heads(*names: str, heads: int) -> Rule:
    """Weight (3D, I) or bias (3D,) of query, key and value, kept as three arrays (I, h, d) or (h, d)."""

    def there(array: np.ndarray) -> list[np.ndarray]:
        return [part.T.reshape(*part.shape[1:], heads, -1) for part in np.split(array, 3)]  # (D, I) -> (I, h, d)

    def back(*parts: np.ndarray) -> np.ndarray:
        if parts[0].ndim not in (2, 3):
            raise ValueError(f"expected heads, got {parts[0].shape}")
        return _joined(*(part.reshape(*part.shape[:-2], -1).T for part in parts))  # (I, h, d) -> (D, I)

    return Rule(names, there, back)


def from_heads(name: str, heads: int) -> Rule:
    """Weight (O, D) of the map after attention, kept as (h, d, O)."""
    return Rule(
        (name,),
        lambda array: (array.T.reshape(heads, -1, array.shape[0]),),
        lambda array: _of_rank(array, 3).reshape(-1, array.shape[-1]).T,
    )


def written(state: Mapping[str, np.ndarray], rules: Rules) -> dict[str, np.ndarray]:
    """minivit's parameters as another format has them; one that it has no rule for keeps its name."""
    arrays: dict[str, np.ndarray] = {}
    for name, array in state.items():
        rule = rules.get(name)
        arrays.update({name: array} if rule is None else zip(rule.names, rule.there(array), strict=True))
    return arrays


def read(arrays: Mapping[str, np.ndarray], rules: Rules) -> tuple[dict[str, np.ndarray], frozenset[str]]:
    """Another format's arrays as minivit's parameters.

    Parameters
    ----------
    arrays : mapping of str to array
    rules : mapping of str to Rule

    Returns
    -------
    state : dict of str to array
        What could be made of them; a parameter whose arrays are missing or of impossible shapes is left out.
    rest : frozenset of str
        Names of the arrays that were not used.
    """
    state: dict[str, np.ndarray] = {}
    rest = set(arrays)
    for name, rule in rules.items():
        if all(part in arrays for part in rule.names):
            try:
                state[name] = rule.back(*(arrays[part] for part in rule.names))
            except ValueError:
                continue
            rest -= set(rule.names)
    return state, frozenset(rest)


def expected_shapes(shapes: Mapping[str, tuple[int, ...]], rules: Rules) -> dict[str, tuple[int, ...]]:
    """The names and shapes that a model's arrays have in another format."""
    blank = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    return {name: array.shape for name, array in written(blank, rules).items()}


def _joined(*parts: np.ndarray) -> np.ndarray:
    if len({part.shape for part in parts}) != 1 or parts[0].ndim == 0:
        raise ValueError(f"expected three equal shapes, got {', '.join(str(part.shape) for part in parts)}")
    return np.concatenate(parts)


def _of_rank(array: np.ndarray, rank: int) -> np.ndarray:
    if array.ndim != rank:
        raise ValueError(f"expected {rank} axes, got {array.shape}")
    return array
