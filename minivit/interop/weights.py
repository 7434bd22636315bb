"""Loading weights: which model, does it fit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minivit import models
from minivit.interop.contents import Contents
from minivit.interop.correspondence import expected_shapes
from minivit.interop.errors import WeightsError
from minivit.interop.reading import read
from minivit.nn import Module, StateError, init
from minivit.nn.state import check_state

HEADS = ("head.weight", "fc.weight")


# Settings that change neither the weights' shapes nor what the model computes from them.
_FREE_SETTINGS = {
    "seed",
    "initialization",
    "dropout",
    "drop_path",
    "checkpoint_blocks",
    "zero_init_last",
    "bn_momentum",
}
_LARGEST_NAMED = 10**9  # parameters: more than any named model has


def load(model_or_name: Module | str, path: str | os.PathLike[str]) -> Module:
    """Load weights into a model.

    Parameters
    ----------
    model_or_name : Module or str
        A model, whose weights are overwritten; or a name of `minivit.models`, which is made with the file's number of
        classes, GELU, epsilon and pre_logits.
    path : path
        Weights of minivit, timm, DeiT, Google, Hugging Face or torchvision (.safetensors, .npz, .pth, .pt, .bin).

    Returns
    -------
    Module
        The model. Nothing was loaded if an error is raised.

    Raises
    ------
    WeightsError
        If the file cannot be read, is of no known format, or does not fit; each missing, unexpected and mis-shaped name
        and each setting that the file states otherwise is listed.
    FileNotFoundError
        If there is no such file.
    """
    contents = read(Path(path))
    model = _named(model_or_name, contents, Path(path)) if isinstance(model_or_name, str) else model_or_name
    _check_settings(model, contents, Path(path))
    _fill(model, contents, Path(path))
    return model


def load_model(path: str | os.PathLike[str]) -> tuple[Module, dict[str, Any]]:
    """Make the model that a file holds.

    Parameters
    ----------
    path : path
        As for `load`. A checkpoint of minivit says which model it is; of others it is the model with these shapes. The
        number of heads stands in Google's shapes and in Hugging Face's config.json; elsewhere it is that of the named
        models with this width, depth and perceptron.

    Returns
    -------
    model : Module
        In evaluation mode.
    metadata : dict
        What the file says besides: ``classes``, ``mean``, ``std``, ... Of formats other than minivit's own also
        ``flavour``: GELU, epsilon, heads, head, pre_logits, mean and std, each with where it was found (see
        `flavour_text`).

    Raises
    ------
    WeightsError
        As `load`, or if the file does not tell the model.
    FileNotFoundError
        If there is no such file.
    """
    contents = read(Path(path))
    if contents.config is None or contents.model_class is None:
        raise WeightsError(
            f"{path}: no named model has these shapes; make the model and use minivit.interop.load(model, path)"
        )
    model = _build(contents, Path(path))
    _fill(model, contents, Path(path))
    return model.eval(), contents.metadata


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The metadata that `load_model` returns, for a file whose model is made otherwise."""
    return read(Path(path)).metadata


def _named(name: str, contents: Contents, path: Path) -> Module:
    """A named model with the file's number of classes and flavour."""
    options: dict[str, Any] = {"initialization": "none"}
    head = next((contents.state[head] for head in HEADS if head in contents.state), None)
    if head is not None and head.ndim == 2:
        options["num_classes"] = int(head.shape[0])
    family = models.find(name).family
    options |= {key: value for key, value in contents.flavour.items() if key in models.settings(family)}
    try:
        with init.at_most(_LARGEST_NAMED):
            return models.create(name, **options)
    except init.TooManyParametersError as error:
        raise WeightsError(f"{path} does not fit {name}: {error}") from error


def _build(contents: Contents, path: Path) -> Module:
    """The model by its settings, if it has no more parameters than about what the file holds."""
    name, config = contents.model_class or "", contents.config or {}
    family = getattr(models, name, None) if name in models.__all__ else None
    if not (isinstance(family, type) and issubclass(family, Module)):
        known = [key for key in models.__all__ if isinstance(getattr(models, key), type)]
        raise WeightsError(f"{path} is a {name}, which minivit.models lacks; it has {', '.join(known)}")
    held = sum(array.size for array in contents.state.values())
    try:
        with init.at_most(2 * held + 2**16):  # more than it holds, so that what is missing can be named
            model = family(**{**config, "initialization": "none"})
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, MemoryError) as error:
        raise WeightsError(f"{path}: {name} cannot be made from the settings in the file: {error}") from error
    if "initialization" in config:  # nothing was drawn now, but the model is still one that begins so
        model.config["initialization"] = config["initialization"]  # type: ignore[attr-defined]
    return model


def _check_settings(model: Module, contents: Contents, path: Path) -> None:
    """Raise if the file states other settings than the model's: shapes alone do not show, say, the number of heads."""
    mine, theirs = getattr(model, "config", {}), contents.config or {}
    different = [
        f"  {key}: the file says {_plain(theirs[key])}, the model has {_plain(mine[key])}"
        for key in theirs
        if key in contents.stated and key in mine and key not in _FREE_SETTINGS
        if _plain(theirs[key]) != _plain(mine[key])
    ]
    if different:
        raise WeightsError(
            f"{path} is of another {type(model).__name__}; nothing was loaded:\n"
            + "\n".join(different)
            + "\nminivit.interop.load_model(path) makes the model that the file is of"
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _fill(model: Module, contents: Contents, path: Path) -> None:
    counters = {name for name, buffer in model.named_buffers() if buffer.dtype.kind in "iu"}
    for name, array in contents.state.items():
        if array.dtype.kind != "f" and name not in counters:
            raise WeightsError(f"{path}: {name} is {array.dtype}; weights are floating-point numbers")
    try:
        shapes = {name: value.shape for name, value in (*model.named_parameters(), *model.named_buffers())}
        if contents.rules is not None and (contents.rest or not _fits(shapes, contents.state)):
            settings = {"depth": 0, "heads": 1, **getattr(model, "config", {})}
            expected = expected_shapes(shapes, contents.rules(settings))
            check_state(type(model).__name__, expected, contents.arrays)  # in the file's own names
        model.load_state_dict(contents.state)
    except StateError as error:
        raise WeightsError(f"{path}: {error}") from error


def _fits(shapes: Mapping[str, tuple[int, ...]], state: Mapping[str, np.ndarray]) -> bool:
    return {name: array.shape for name, array in state.items()} == dict(shapes)
