"""The version, in the one place from which the package, its metadata and the docs take it."""

__version__ = "0.1.0"
