"""What is written into the boxes of a drawn graph and onto its edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minivit.inspect.graph_parts import Box, Carried, Parts
from minivit.inspect.graph_trace import Value
from minivit.inspect.sizes import bytes_text, shape_text

TITLE, DETAIL, LABEL = 12.0, 10.5, 10.5  # sizes of type
NUMBERED = {"add_number": "+ {}", "multiply_number": "× {}", "divide_number": "÷ {}"}

Norm = Callable[[Carried], float | None]


@dataclass
class Line:
    """A line of text: its parts, each with whether it is set as the title."""

    parts: list[tuple[str, bool]]

    @property
    def width(self) -> float:
        """Of the whole line."""
        return sum(text_width(text, TITLE if title else DETAIL, title) for text, title in self.parts)

    @property
    def height(self) -> float:
        """With the space to the next."""
        return 15.0 if any(title for _, title in self.parts) else 13.0


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About the width of a text in a wide sans-serif typeface; a narrower one leaves some air."""
    width = 0.0
    for letter in text:
        narrow, wide = letter in " .,:;|!'ijlI()[]", letter in "mwMW%@→"
        width += 0.37 if narrow else 0.44 if letter in "ftr-/" else 0.95 if wide else 0.7 if letter.isupper() else 0.63
    return width * size * (1.1 if bold else 1.0)


def number_text(value: float) -> str:
    """Two digits: ``0.42``, ``1.3e-5``; large numbers in full."""
    text = f"{value:.2g}"
    if "e" not in text:
        return text
    digits, power = text.split("e")
    return f"{digits}e{int(power)}" if abs(int(power)) > 4 else f"{float(text):,.0f}"


def lines_of(box: Box, parts: Parts, norm: Norm) -> list[Line]:
    """The text of a box.

    Parameters
    ----------
    box : Box
    parts : Parts
    norm : callable
        The norm of what came back along some uses, or None.
    """
    values = [parts.values[index] for index in box.values]
    name = f"{box.subtitle}: {box.title}" if box.subtitle else box.title
    if box.kind == "op":
        return _op(box, values[0])
    if box.kind == "module":
        shapes = ", ".join(map(shape_text, box.input_shapes)), ", ".join(map(shape_text, box.output_shapes))
        lines = [name, " → ".join(shapes), _kept(box.kept_bytes)]
        if box.folded:
            lines.append(_counted([parts.values[index] for index in box.folded]))
            lines += _whole_gradient(norm(parts.all_carried_from(box.folded)))
        if any(value.stops for value in values):
            lines.append("with a stop_gradient inside")
        return _titled(*lines)
    if box.kind == "group":
        return _titled(name, *_settings(box), _kept(box.kept_bytes))
    if box.kind == "weights":
        gradient = _whole_gradient(norm(parts.all_carried_from(box.values)))
        return _titled(f"weights of {name}", _counted(values), *gradient)
    if box.kind == "constant" and len(name) == 1:
        name = box.kind  # a or b: what an operator calls its operand
    if box.kind in ("input", "parameter", "constant"):
        return _titled(name, shape_text(values[0].shape))
    return _titled({"data": "taken as an array"}.get(name, name))


def tooltip_of(box: Box, parts: Parts, norm: float | None) -> str:
    """More about a box, for who points at it."""
    if box.kind not in ("op", "stop"):
        return ""
    value = parts.values[box.values[0]]
    file, line = value.where
    facts = [value.name, f"{value.dtype} {shape_text(value.shape)}", f"keeps {value.kept_bytes:,} bytes"]
    if norm is not None:
        facts.append(f"gradient of the output {norm:.4g}")
    return ", ".join([*facts, f"called at {file.replace(chr(92), '/').split('/')[-1]}:{line}"])


def _titled(title: str, *details: str) -> list[Line]:
    return [Line([(title, True)]), *(Line([(detail, False)]) for detail in details)]


def _op(box: Box, value: Value) -> list[Line]:
    title, settings = value.name, _settings(box)
    if value.name in NUMBERED:
        title, settings = NUMBERED[value.name].format(f"{value.attributes['number']:.4g}"), []
    about = [shape_text(value.shape)]
    if value.kept_bytes:
        about.append(_kept(value.kept_bytes))
    if len(about) == 1 and not settings:
        return [Line([(title, True), (f"  {about[0]}", False)])]
    return _titled(title, *settings, " · ".join(about))


def _settings(box: Box) -> list[str]:
    """An op's keywords and constants, on a line; none if they are the usual ones."""
    facts = [f"{name} {value:.4g}" for name, value in box.numbers]
    for name, value in box.attributes.items():
        if name in ("shape", "axes", "dtype") or value is None or value == -1:
            continue
        facts.append(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {_short(value)}")
    return [", ".join(facts)] if facts else []


def _short(value: object) -> str:
    text = str(value).replace("'", "")
    return text if len(text) <= 24 else text[:23] + "…"


def _kept(size: int) -> str:
    return f"keeps {bytes_text(size)}" if size else "keeps 0 bytes"


def _counted(values: Sequence[Value]) -> str:
    count = sum(_size(value) for value in values)
    return f"{count:,} parameters"


def _size(value: Value) -> int:
    size = 1
    for length in value.shape:
        size *= length
    return size


def _whole_gradient(norm: float | None) -> list[str]:
    return [] if norm is None else [f"gradient {number_text(norm)}"]
