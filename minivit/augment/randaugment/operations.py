"""The operations by name, and applying to each image of a batch one of its own.

Every operation with its value ("Rotate by 12 degrees") is worked out on the host, in Python's floats as the reference
implementations do it, and becomes one row of the arrays of a `Plan`: what remains for the batch is array code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any

import numpy as np

from minivit.augment.assign import assign
from minivit.augment.randaugment import affine, enhance, point_ops
from minivit.augment.randaugment.paint import paint
from minivit.augment.randaugment.squares import centered_square
from minivit.backend import Array, array_module


class Kind(IntEnum):
    """How an operation works. All from TABLE to CONTRAST are one look-up."""

    NOTHING = 0
    AFFINE = 1
    TABLE = 2
    AUTOCONTRAST = 3
    EQUALIZE = 4
    CONTRAST = 5
    COLOR = 6
    SHARPNESS = 7
    CUTOUT = 8


@dataclass(frozen=True)
class Application:
    """One operation with its value, for images of one size."""

    kind: Kind = Kind.NOTHING
    matrix: affine.Matrix = affine.IDENTITY
    table: np.ndarray | None = None
    factor: float = 1.0
    size: int = 0


NAMES = (
    "Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Invert", "Solarize", "SolarizeAdd",
    "Posterize", "Brightness", "AutoContrast", "Equalize", "Contrast", "Color", "Sharpness", "Cutout",
)  # fmt: skip


def application(name: str, value: float, height: int, width: int) -> Application:
    """An operation with the value that Pillow's function of that name takes.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    value : float
        Slope, pixels, degrees, threshold, added level, bits, factor, side of the square. Operations without one
        ignore it.
    height, width : int
        Of the images.

    Returns
    -------
    Application

    Raises
    ------
    ValueError
        If there is no operation of that name.
    """
    match name:
        case "ShearX":
            return Application(Kind.AFFINE, matrix=(1, value, 0, 0, 1, 0))
        case "ShearY":
            return Application(Kind.AFFINE, matrix=(1, 0, 0, value, 1, 0))
        case "TranslateX":
            return Application(Kind.AFFINE, matrix=(1, 0, value, 0, 1, 0))
        case "TranslateY":
            return Application(Kind.AFFINE, matrix=(1, 0, 0, 0, 1, value))
        case "Rotate":
            return Application(Kind.AFFINE, matrix=affine.rotation(value, height, width))
        case "Invert":
            return Application(Kind.TABLE, table=point_ops.inverted())
        case "Solarize":
            return Application(Kind.TABLE, table=point_ops.solarized(value))
        case "SolarizeAdd":
            return Application(Kind.TABLE, table=point_ops.solarized_after_adding(int(value)))
        case "Posterize":
            return Application(Kind.TABLE, table=point_ops.posterized(int(value)))
        case "Brightness":
            return Application(Kind.TABLE, table=point_ops.brightened(value))
        case "AutoContrast":
            return Application(Kind.AUTOCONTRAST)
        case "Equalize":
            return Application(Kind.EQUALIZE)
        case "Contrast":
            return Application(Kind.CONTRAST, factor=value)
        case "Color":
            return Application(Kind.COLOR, factor=value)
        case "Sharpness":
            return Application(Kind.SHARPNESS, factor=value)
        case "Cutout":
            return Application(Kind.CUTOUT, size=int(value))
        case "Identity":
            return Application()
    raise ValueError(f"expected an operation of {', '.join(NAMES)}, got {name!r}")


@dataclass(frozen=True, eq=False)
class Plan:
    """Applications as arrays, one row of each for one application.

    Attributes
    ----------
    kind : array (R,) of int8
    fixed : array (R, 6) of int32
        `affine.fixed_point` of the matrices.
    matrix : array (R, 6) of float64
    table : array (R,) of int32
        Row of `tables`.
    tables : array (T, 256) of uint8
    factor : array (R,) of float32
    size : array (R,) of int32
        Side of the blanked square.
    """

    kind: Array
    fixed: Array
    matrix: Array
    table: Array
    tables: Array
    factor: Array
    size: Array

    @classmethod
    def of(cls, applications: Sequence[Application]) -> Plan:
        """The plan of some applications, on the host."""
        tables = {bytes(range(256)): 0}
        table = [
            0 if one.table is None else tables.setdefault(one.table.tobytes(), len(tables)) for one in applications
        ]
        matrix = np.array([one.matrix for one in applications], np.float64)
        return cls(
            kind=np.array([one.kind for one in applications], np.int8),
            fixed=affine.fixed_point(matrix),
            matrix=matrix,
            table=np.array(table, np.int32),
            tables=np.frombuffer(b"".join(tables), np.uint8).reshape(-1, 256),
            factor=np.array([one.factor for one in applications], np.float32),
            size=np.array([one.size for one in applications], np.int32),
        )

    def on(self, xp: Any) -> Plan:
        """A copy in another array library, on its current device."""
        return replace(self, **{field.name: xp.asarray(getattr(self, field.name)) for field in fields(self)})


def apply(
    state: Array,
    channels: int,
    rows: Array,
    plan: Plan,
    *,
    fill: Array,
    cut_color: Array,
    place: Array,
    cubic: Array | None = None,
) -> None:
    """Apply to each image, in place, the application in its row of the plan.

    Parameters
    ----------
    state : array (B, C, H, W) of uint8
        The images, and perhaps one more channel, which only moves with the pixels.
    channels : int
        Of the images: 1 or 3.
    rows : array (B,) of an integer type
    plan : Plan
    fill, cut_color : array (C,) of uint8
        For each channel of the state, what an affine transform brings in and what a cutout leaves.
    place : array (B, 2) of uint32
        Random words for the row and the column of the pixel that a cutout is around.
    cubic : array (B,) of bool, optional
        Whether an affine transform interpolates bicubically or bilinearly. Without it, it takes the nearest pixel.
    """
    xp = array_module(state)
    images = state[:, :channels]
    kind = plan.kind.take(rows)

    def moved(part: Any) -> Array:
        return affine.nearest(state[part], plan.fixed.take(rows[part], axis=0), fill)

    def interpolated(part: Any, how: bool) -> Array:
        return affine.interpolated(state[part], plan.matrix.take(rows[part], axis=0), fill, cubic=how)

    def mapped(part: Any) -> Array:
        some, which, row = images[part], kind[part], rows[part]
        tables = plan.tables.take(plan.table.take(row), axis=0)[:, None]  # (n, 1, 256)
        tables = xp.broadcast_to(tables, (len(some), channels, 256)).copy()
        assign(tables, which == Kind.AUTOCONTRAST, lambda i: point_ops.autocontrast_tables(some[i]))
        assign(tables, which == Kind.EQUALIZE, lambda i: point_ops.equalize_tables(some[i]))
        assign(tables, which == Kind.CONTRAST, lambda i: point_ops.contrast_tables(some[i], plan.factor.take(row[i])))
        return point_ops.look_up(some, tables)

    def cut(part: Any) -> Array:
        square = centered_square(place[part], plan.size.take(rows[part]), *state.shape[2:])
        paint(some := state[part].copy(), square, cut_color)
        return some

    moving = kind == Kind.AFFINE
    if cubic is None:
        assign(state, moving, moved)
    else:
        assign(state, moving & ~cubic, lambda i: interpolated(i, False))
        assign(state, moving & cubic, lambda i: interpolated(i, True))
    assign(images, (kind >= Kind.TABLE) & (kind <= Kind.CONTRAST), mapped)
    assign(images, kind == Kind.COLOR, lambda i: enhance.color(images[i], plan.factor.take(rows[i])))
    assign(images, kind == Kind.SHARPNESS, lambda i: enhance.sharpness(images[i], plan.factor.take(rows[i])))
    assign(state, kind == Kind.CUTOUT, cut)


def operation(name: str) -> Callable[..., Array]:
    """The function of `OPERATIONS` of that name."""

    def apply_to_all(images: Array, value: float = 0.0, *, fill: Any = 0, interpolation: str = "nearest") -> Array:
        xp = array_module(images)
        B, C, H, W = images.shape
        if interpolation not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(f'expected interpolation "nearest", "bilinear" or "bicubic", got {interpolation!r}')
        plan = Plan.of([application(name, value, H, W)]).on(xp)
        color = xp.asarray(np.broadcast_to(np.asarray(fill, np.uint8), C).copy())
        apply(
            state := images.copy(),
            C,
            xp.zeros(B, np.int32),
            plan,
            fill=color,
            cut_color=color,
            place=xp.full((B, 2), 2**31, np.uint32),
            cubic=None if interpolation == "nearest" else xp.full(B, interpolation == "bicubic"),
        )
        return state

    return apply_to_all


OPERATIONS: dict[str, Callable[..., Array]] = {name: operation(name) for name in NAMES}
"""Each operation by name, for all images of a batch alike: ``OPERATIONS["Rotate"](images, 12.0, fill=128)``.

The value is as for `application`. `fill` is what comes from outside the image and what a cutout (in the middle) leaves:
one level or one for each channel. `interpolation` of affine transforms is "nearest", "bilinear" or "bicubic".
"""
