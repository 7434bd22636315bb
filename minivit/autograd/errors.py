"""The engine's errors. Each message says what was expected, what came, in which op and user line, and what to do."""

from __future__ import annotations


class MinivitError(Exception):
    """Base class of everything the engine raises on purpose."""


class ShapeError(MinivitError, ValueError):
    """Shapes that do not fit together."""


class DTypeError(MinivitError, TypeError):
    """Dtypes that do not fit together, or an op that changed one."""


class DeviceError(MinivitError, ValueError):
    """Operands on different devices."""


class GradientError(MinivitError, RuntimeError):
    """A gradient was asked for that does not exist, or a backward returned a wrong one."""


class GraphFreedError(GradientError):
    """A second backward through a graph whose saved arrays are gone."""


class ModifiedInPlaceError(GradientError):
    """A parameter changed between the forward that used it and the backward that needs it."""


class StopGradientError(MinivitError, ValueError):
    """A target that must be a constant still carries gradient."""


class ImmutableTensorError(MinivitError, TypeError):
    """An attempt to write into a Tensor."""


class GradientCheckError(MinivitError, AssertionError):
    """A hand-derived gradient and an oracle disagree."""
