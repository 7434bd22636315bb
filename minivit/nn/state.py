"""Whether a dictionary of arrays fits the one that is to take it, and what to say where it does not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from minivit.autograd.errors import MinivitError

MOST_LINES = 1000
MOST_COMPARED = 20_000  # pairs of names: where more differ, it is another model, and the search would take long
LONGEST_COMPARED = 200


class StateError(MinivitError, KeyError):
    """A state dict that does not fit."""

    def __str__(self) -> str:
        return str(self.args[0])


def check_state(
    owner: str, expected: Mapping[str, tuple[int, ...]], state: Mapping[str, Any], strict: bool = True
) -> None:
    """Compare names and shapes.

    Parameters
    ----------
    owner : str
        Who is to take the state, for the message.
    expected : mapping of str to shape
    state : mapping of str to array
    strict : bool
        False asks for the shapes alone.

    Raises
    ------
    StateError
        Listing every missing, unexpected and mis-shaped name.
    """
    problems = [
        f"  shape of {name}: expected {shape}, got {tuple(state[name].shape)}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if strict:
        missing = [name for name in expected if name not in state]
        unexpected = [name for name in state if name not in expected]
        alike = nearest if len(missing) * len(unexpected) <= MOST_COMPARED else lambda *_: ""
        problems += [f"  missing {name}{alike(name, unexpected)}" for name in missing]
        problems += [f"  unexpected {name}{alike(name, missing)}" for name in unexpected]
    if problems:
        shown = problems[:MOST_LINES]
        if len(problems) > MOST_LINES:
            shown.append(f"  ... and {len(problems) - MOST_LINES} more")
        raise StateError(f"the state does not fit {owner}; nothing was loaded:\n" + "\n".join(shown))


def nearest(name: str, candidates: Collection[str]) -> str:
    """`` (is it ...?)`` with the candidate that is most like the name; empty where none is."""
    if len(name) > LONGEST_COMPARED:
        return ""
    from difflib import get_close_matches

    match = get_close_matches(name, [c for c in candidates if len(c) <= LONGEST_COMPARED], n=1, cutoff=0.75)
    return f" (is it {match[0]}?)" if match else ""
