"""Which values of a drawn graph are living, behind a cut, or constants.

A value is *behind the cut* if every way from it to the output crosses a stop-gradient, or the place where something
that was computed without recording enters the recorded graph. It is *living* if a gradient comes back to it. What is
neither is a constant that nobody asked a gradient of.
"""

from __future__ import annotations

from minivit.inspect.graph_trace import Value

LIVING, BEHIND, CONSTANT = "living", "behind", "constant"


def leading_to(values: list[Value], output: int) -> list[int]:
    """What leads to a value, itself included, in the order in which it was met."""
    seen, stack = {output}, [output]
    while stack:
        for use in values[stack.pop()].uses:
            if use.value not in seen:
                seen.add(use.value)
                stack.append(use.value)
    return sorted(seen)


def lost(values: list[Value], leads: list[int]) -> list[str]:
    """For each value, why it carries no gradient although something before it did; empty if nothing was lost."""
    lost = [""] * len(values)
    for index in leads:
        value = values[index]
        if value.carries or value.stops:
            continue
        for use in value.uses:
            if values[use.value].carries:
                lost[index] = "data" if use.as_array else "no_grad"
            elif not lost[index]:
                lost[index] = lost[use.value]
    return lost


def states(values: list[Value], leads: list[int], output: int, lost: list[str]) -> dict[int, str]:
    """LIVING, BEHIND or CONSTANT for each value that leads to the output."""
    free, living = {output}, {output} if values[output].carries else set()
    for index in reversed(leads):
        for use in values[index].uses:
            used = values[use.value]
            entered = values[index].carries and (lost[use.value] or (use.as_array and used.carries))
            if index in free and not values[index].stops and not entered:
                free.add(use.value)
            if index in living and use.flows:
                living.add(use.value)
    return {index: LIVING if index in living else CONSTANT if index in free else BEHIND for index in leads}
