"""A placed graph as SVG: shapes, lines and words, nothing that a program would have to add."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from minivit.inspect.graph_parts import Parts
from minivit.inspect.graph_picture import BAR, BAR_HEIGHT, Picture, Shape, Strand
from minivit.inspect.graph_states import BEHIND, CONSTANT, LIVING
from minivit.inspect.graph_text import DETAIL, LABEL, TITLE, Line, Norm, text_width, tooltip_of

MARGIN = 22.0
FONTS = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
CARD, INK, QUIET = "#fcfdfe", "#1f2933", "#5d6b79"
BLUE, GREEN, RED = "#1769aa", "#2b7a4b", "#d6202f"
PALE, FAINT = "#eef0f2", "#b4bdc6"


@dataclass(frozen=True)
class _Style:
    """Fill, outline and ink of a box."""

    fill: str
    stroke: str
    ink: str = INK
    width: float = 1.2
    dashed: bool = False
    rounded: float = 4.0


STYLES = {
    "op": _Style("#ffffff", BLUE),
    "module": _Style("#e4f0fa", BLUE, width=1.8, rounded=7),
    "parameter": _Style("#e6f4ea", GREEN),
    "weights": _Style("#e6f4ea", GREEN),
    "input": _Style("#ffffff", "#52606d", rounded=99),
    "constant": _Style("#ffffff", "#8793a0", dashed=True, rounded=0),
    "output": _Style(INK, INK, ink="#ffffff", rounded=99),
    "group": _Style("#f4f8fc", "#7ba6cc", dashed=True, rounded=9),
}
NO_GRADIENT = _Style("#ffffff", "#8793a0")  # an op of constants
OUT_OF_REACH = _Style(PALE, FAINT, ink="#596570")  # behind the cut


def svg_of(picture: Picture, parts: Parts, norm: Norm, title: str, summary: str) -> str:
    """The whole picture.

    Parameters
    ----------
    picture : Picture
    parts : Parts
    norm : callable
        The norm of what came back along some uses, or None.
    title : str
        The first line, and the name that a screen reader says.
    summary : str
        The second line.
    """
    legend = _legend(picture)
    inner = max(picture.width, text_width(title, 16, bold=True), text_width(summary, 12), 380.0)
    rows = _wrapped(legend, inner)
    top = MARGIN + 46
    width = inner + 2 * MARGIN
    height = top + picture.height + 26 + 20 * len(rows) + MARGIN - 8
    left = MARGIN + (inner - picture.width) / 2
    body = [
        _text(MARGIN, MARGIN + 13, title, 16, INK, bold=True),
        _text(MARGIN, MARGIN + 31, summary, 12, QUIET),
        f'<g transform="translate({_n(left)} {_n(top)})">',
        *(_box(shape, parts, norm) for shape in picture.shapes if shape.box.kind == "group"),
        *_strands(picture.lines),
        *(_box(shape, parts, norm) for shape in picture.shapes if shape.box.kind != "group"),
        *(_text(port.x, port.y + 3.5, port.text, LABEL, QUIET, anchor="middle") for port in picture.ports),
        *(_label(strand) for strand in picture.lines if strand.label),
        "</g>",
    ]
    y = top + picture.height + 34
    for row in rows:
        x = MARGIN
        for sample, words, length in row:
            body += [f'<g transform="translate({_n(x)} {_n(y)})">{sample}</g>', _text(x + 40, y + 4, words, 11, QUIET)]
            x += length
        y += 20
    drawn = "\n".join(body)
    name = "graph-" + hashlib.sha256(drawn.encode()).hexdigest()[:10]  # two pictures may stand on one page
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width)}" height="{_n(height)}" '
        f'viewBox="0 0 {_n(width)} {_n(height)}" style="max-width:100%;height:auto" font-family="{FONTS}" '
        f'role="img" aria-labelledby="{name}-title {name}-description">\n'
        f'<title id="{name}-title">{escape(title)}</title>\n'
        f'<desc id="{name}-description">{escape(_description(parts, summary))}</desc>\n'
        f'<rect x="0.5" y="0.5" width="{_n(width - 1)}" height="{_n(height - 1)}" rx="10" fill="{CARD}" '
        f'stroke="#d5dbe1"/>\n{drawn}\n</svg>\n'
    )


# Boxes


def _box(shape: Shape, parts: Parts, norm: Norm) -> str:
    box = shape.box
    if box.kind in ("stop", "cut"):
        drawn = _bar(shape)
    else:
        style = STYLES[box.kind]
        if box.state == BEHIND:
            style = _Style(
                OUT_OF_REACH.fill, OUT_OF_REACH.stroke, OUT_OF_REACH.ink, style.width, style.dashed, style.rounded
            )
        elif box.kind == "op" and box.state == CONSTANT:
            style = NO_GRADIENT
        drawn = _outline(shape, style) + _words(shape, style.ink)
    value = box.values[0] if box.values else None
    about = tooltip_of(box, parts, None if value is None else norm(parts.carried_from.get(value, frozenset())))
    hint = f"<title>{escape(about)}</title>" if about else ""
    return f'<g class="{box.kind} {box.state}" data-node="{box.key}">{hint}{drawn}</g>'


def _outline(shape: Shape, style: _Style) -> str:
    look = f'fill="{style.fill}" stroke="{style.stroke}" stroke-width="{style.width}"'
    if style.dashed:
        look += ' stroke-dasharray="4 3"'
    x, y, width, height = shape.x, shape.y, shape.width, shape.height
    if shape.box.kind in ("parameter", "weights"):  # corners cut off
        cut = 7.0
        points = [(cut, 0), (width - cut, 0), (width, cut), (width, height - cut)]
        points += [(width - cut, height), (cut, height), (0, height - cut), (0, cut)]
        corners = " ".join(f"{_n(x + a)},{_n(y + b)}" for a, b in points)
        return f'<polygon points="{corners}" {look}/>'
    rounded = min(style.rounded, height / 2)
    return f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="{_n(rounded)}" {look}/>'


def _bar(shape: Shape) -> str:
    """The red bar across an edge, its name beside it."""
    middle = shape.y + shape.height / 2
    bar = f'x="{_n(shape.x)}" y="{_n(middle - BAR_HEIGHT / 2)}" width="{_n(BAR)}" height="{_n(BAR_HEIGHT)}"'
    name = shape.lines[0].parts[0][0]
    return f'<rect class="stop" {bar} rx="2" fill="{RED}"/>' + _text(
        shape.x + BAR + 6, middle + 4, name, TITLE, RED, bold=True
    )


def _words(shape: Shape, ink: str) -> str:
    centred = shape.text_at is None
    total = sum(line.height for line in shape.lines)
    x, y = shape.text_at or (shape.x + shape.width / 2, shape.y + (shape.height - total) / 2)
    drawn = []
    for line in shape.lines:
        y += line.height
        drawn.append(_line(line, x, y - 3.6, ink, "middle" if centred else "start"))
    return "".join(drawn)


def _line(line: Line, x: float, y: float, ink: str, anchor: str) -> str:
    words = "".join(
        f'<tspan font-size="{TITLE if title else DETAIL}"{_weight(title)}>{escape(text)}</tspan>'
        for text, title in line.parts
    )
    return f'<text x="{_n(x)}" y="{_n(y)}" fill="{ink}" text-anchor="{anchor}" xml:space="preserve">{words}</text>'


# Lines


def _strands(strands: Sequence[Strand]) -> list[str]:
    norms = [s.norm for s in strands if s.norm is not None and math.isfinite(s.norm)]
    largest = max(norms, default=0.0)
    drawn = []
    for state in (BEHIND, CONSTANT, LIVING):  # what matters most on top
        for strand in strands:
            if strand.route.state == state:
                width = _thickness(strand.norm, largest) if state == LIVING else 1.2
                colour = {LIVING: BLUE, CONSTANT: "#8793a0", BEHIND: FAINT}[state]
                drawn.append(_strand(strand, colour, width, dashed=state == BEHIND))
    return drawn


def _thickness(norm: float | None, largest: float) -> float:
    """By the logarithm of the norm: four powers of ten from thin to thick."""
    if norm is None or not largest:
        return 1.4
    if not math.isfinite(norm):
        return 4.6
    return 1.4 if norm == 0 else 1.4 + 3.2 * min(max(1 + math.log10(norm / largest) / 4, 0.0), 1.0)


def _strand(strand: Strand, colour: str, width: float, *, dashed: bool) -> str:
    stretches = strand.stretches
    x, top, bottom = stretches[0]
    end = stretches[-1][2]
    tip = 3.4 + 0.9 * width if strand.has_arrow else 0.0
    path = [f"M{_n(x)} {_n(top)}V{_n(bottom)}"]
    for (x0, _, y0), (x1, y1, y2) in pairwise(stretches):
        middle = (y0 + y1) / 2
        if abs(x0 - x1) > 0.05:
            path.append(f"C{_n(x0)} {_n(middle)} {_n(x1)} {_n(middle)} {_n(x1)} {_n(y1)}")
        path.append(f"V{_n(y2)}")
    path[-1] = f"V{_n(end - tip)}"
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    course = strand.route.course
    ends = f'data-source="{course.origin}" data-target="{course.target.key if course.target.kind == "box" else ""}"'
    line = (
        f'<path class="edge {strand.route.state}" {ends} d="{"".join(path)}" fill="none" stroke="{colour}" '
        f'stroke-width="{width:.1f}"{dashes}/>'
    )
    if not strand.has_arrow:
        return line
    half, high = 2.6 + 0.8 * width, tip + 1.6
    return line + (
        f'<path d="M{_n(stretches[-1][0])} {_n(end)}l{_n(-half)} {_n(-high)}h{_n(2 * half)}z" fill="{colour}"/>'
    )


def _label(strand: Strand) -> str:
    x, y = strand.label_at
    half = text_width(strand.label, LABEL) / 2 + 1
    colour = BLUE if strand.norm is not None else QUIET
    return (
        f'<g class="norm"><rect x="{_n(x - half)}" y="{_n(y - 6.5)}" width="{_n(2 * half)}" height="13" rx="3" '
        f'fill="{CARD}"/>{_text(x, y + 3.8, strand.label, LABEL, colour, anchor="middle")}</g>'
    )


# What it all means

Entry = tuple[str, str, float]
"""A sample, what it stands for, and the length of both."""


def _legend(picture: Picture) -> list[Entry]:
    kinds = {shape.box.kind for shape in picture.shapes}
    states = {strand.route.state for strand in picture.lines}
    entries = []

    def add(sample: str, words: str) -> None:
        entries.append((sample, words, 40 + text_width(words, 11) + 20))

    if any(strand.norm is not None for strand in picture.lines):
        lines = "".join(
            f'<path d="M{x} -5V5" stroke="{BLUE}" stroke-width="{w}"/>' for x, w in ((6, 1.4), (16, 2.8), (27, 4.6))
        )
        add(lines, "a gradient comes back: number and thickness are its norm")
    elif LIVING in states:
        add(f'<path d="M0 0H32" stroke="{BLUE}" stroke-width="2"/>', "a gradient can come back")
    if CONSTANT in states:
        add('<path d="M0 0H32" stroke="#8793a0" stroke-width="1.2"/>', "values only")
    if kinds & {"stop", "cut"}:
        add(f'<rect x="0" y="-3.5" width="32" height="7" rx="2" fill="{RED}"/>', "the gradient stops here")
    if BEHIND in states:
        sample = f'<rect x="0" y="-6" width="32" height="12" rx="3" fill="{PALE}" stroke="{FAINT}"/>'
        add(sample, "behind the stop: nothing comes back")
    if kinds & {"parameter", "weights"}:
        sample = f'<polygon points="5,-6 27,-6 32,-1 32,1 27,6 5,6 0,1 0,-1" fill="#e6f4ea" stroke="{GREEN}"/>'
        add(sample, "learned")
    return entries


def _wrapped(entries: list[Entry], width: float) -> list[list[Entry]]:
    rows: list[list[Entry]] = []
    left = 0.0
    for entry in entries:
        if not rows or left < entry[2] - 20:
            rows.append([])
            left = width
        rows[-1].append(entry)
        left -= entry[2]
    return rows


def _description(parts: Parts, summary: str) -> str:
    """For who does not see it."""
    stops = sum(box.kind in ("stop", "cut") for box in parts.boxes)
    behind = [box.title for box in parts.boxes if box.state == BEHIND and box.kind in ("op", "module")]
    words = [f"A graph of {len(parts.boxes)} boxes from inputs, above, to the output, below. {summary}."]
    if stops:
        where = f"; behind: {', '.join(behind)}" if behind else ""
        words.append(f"Red bars where a gradient stops: {stops}{where}.")
    return " ".join(words)


def _text(x: float, y: float, words: str, size: float, colour: str, *, bold: bool = False, anchor: str = "") -> str:
    where = f' text-anchor="{anchor}"' if anchor else ""
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" font-size="{size:g}" fill="{colour}"{_weight(bold)}{where}>'
        f"{escape(words)}</text>"
    )


def _weight(bold: bool) -> str:
    return ' font-weight="600"' if bold else ""


def _n(value: float) -> str:
    """A coordinate: one digit behind the point is a tenth of a pixel."""
    return f"{round(value, 1) + 0.0:g}"
