"""What goes wrong with files of weights."""

from __future__ import annotations

from minivit.autograd.errors import MinivitError


class WeightsError(MinivitError, ValueError):
    """A file of weights that cannot be read, or does not fit the model."""
