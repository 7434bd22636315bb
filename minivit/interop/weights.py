"""Loading and saving weights: which container, which format, does it fit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minivit import models
from minivit.interop import checkpoint, resnet, timm
from minivit.interop.contents import Contents, WeightsFile
from minivit.interop.errors import WeightsError
from minivit.interop.npz_file import read_npz, write_npz
from minivit.interop.safetensors_file import read_safetensors, write_safetensors
from minivit.nn import Module, StateError

FORMATS = ("minivit", "timm")
READERS = (checkpoint, timm, resnet)  # asked in this order whether they know a file
HEADS = ("head.weight", "fc.weight")
SUFFIXES = (".safetensors", ".npz")

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


def load(model_or_name: Module | str, path: str | os.PathLike[str]) -> Module:
    """Load weights into a model.

    Parameters
    ----------
    model_or_name : Module or str
        A model, whose weights are overwritten; or a name of `minivit.models`, which is made with as many classes as
        the file has.
    path : path
        A checkpoint of minivit (.safetensors), or weights with timm's names, which DeiT and torchvision's ResNets have
        too (.safetensors, .npz).

    Returns
    -------
    Module
        The model. Nothing was loaded if an error is raised.

    Raises
    ------
    WeightsError
        If the file cannot be read, is of no known format, or does not fit; each missing, unexpected and mis-shaped name
        and each differing setting is listed.
    FileNotFoundError
        If there is no such file.
    """
    contents = _read(Path(path))
    if isinstance(model_or_name, str):
        options: dict[str, Any] = {"initialization": "none"}
        head = next((contents.state[name] for name in HEADS if name in contents.state), None)
        if head is not None:
            options["num_classes"] = int(head.shape[0])
        model = models.create(model_or_name, **options)
    else:
        model = model_or_name
    _check_settings(model, contents, Path(path))
    _fill(model, contents, Path(path))
    return model


def load_model(path: str | os.PathLike[str]) -> tuple[Module, dict[str, Any]]:
    """Make the model that a file holds.

    Parameters
    ----------
    path : path
        As for `load`. A checkpoint of minivit says which model it is; for timm's weights it is the model with these
        shapes: of Vision Transformers one that has a name, as shapes do not tell the number of heads.

    Returns
    -------
    model : Module
        In evaluation mode.
    metadata : dict
        What the file says besides: ``classes``, ``mean``, ``std``, ... in a checkpoint of minivit; else empty.

    Raises
    ------
    WeightsError
        As `load`, or if the file does not tell the model.
    FileNotFoundError
        If there is no such file.
    """
    contents = _read(Path(path))
    if contents.config is None or contents.model_class is None:
        raise WeightsError(
            f"{path}: no named model has these shapes; make the model and use minivit.interop.load(model, path)"
        )
    model = _build(contents.model_class, contents.config, Path(path))
    _fill(model, contents, Path(path))
    return model.eval(), contents.metadata


def save(
    model: Module,
    path: str | os.PathLike[str],
    metadata: Mapping[str, Any] | None = None,
    format: str | None = None,
) -> None:
    """Save a model's weights, whole or not at all.

    Parameters
    ----------
    model : Module
    path : path
        The suffix decides on the container: .safetensors or .npz.
    metadata : mapping, optional
        What a user of the weights needs, such as ``classes``, ``mean`` and ``std``: see `minivit.interop.checkpoint`.
    format : {"minivit", "timm"}, optional
        "minivit" (the default for .safetensors) holds the model's configuration, and `load_model` can make the model
        from it; "timm" (the default for .npz) holds the weights alone.

    Raises
    ------
    WeightsError
        If the suffix or format is unknown or the two do not go together, or the configuration does not fit into JSON.
    """
    path = Path(path)
    suffix = _suffix(path)
    format = format or ("minivit" if suffix == ".safetensors" else "timm")
    if format not in FORMATS:
        raise WeightsError(f"unknown format {format!r}; expected {' or '.join(FORMATS)}")
    if format == "minivit":
        if suffix != ".safetensors":
            raise WeightsError(
                f"{path}: a checkpoint of minivit is a .safetensors file; rename it, or use format='timm'"
            )
        header = checkpoint.checkpoint_header(model, metadata)
    else:
        if metadata:
            raise WeightsError(f"{path}: format 'timm' holds weights alone; leave out the metadata or use 'minivit'")
        header = {"format": "pt"}  # what timm's own files say; the layout of the arrays is PyTorch's
    if suffix == ".npz":
        write_npz(path, model.state_dict())
    else:
        write_safetensors(path, model.state_dict(), header)


def _read(path: Path) -> Contents:
    suffix = _suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights at {path}")
    arrays, header = read_npz(path) if suffix == ".npz" else read_safetensors(path, skip=checkpoint.RESUME)
    file = WeightsFile(path, arrays, header)
    for reader in READERS:
        if reader.recognises(file):
            contents: Contents = reader.read(file)
            return contents
    some = ", ".join(list(arrays)[:5]) or "none"
    raise WeightsError(
        f"{path} is of no known format ({', '.join(FORMATS)}): its arrays are named {some}"
        + (", ..." if len(arrays) > 5 else "")
    )


def _suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        advice = (
            "; a PyTorch pickle can run code when it is read: in PyTorch, convert it with "
            "safetensors.torch.save_file(torch.load(path, weights_only=True), ...)"
            if path.suffix in (".pth", ".pt", ".bin", ".ckpt", ".tar")
            else ""
        )
        raise WeightsError(f"{path}: expected a file that ends in {' or '.join(SUFFIXES)}{advice}")
    return path.suffix


def _build(name: str, config: dict[str, Any], path: Path) -> Module:
    family = getattr(models, name, None) if name in models.__all__ else None
    if not (isinstance(family, type) and issubclass(family, Module)):
        known = [key for key in models.__all__ if isinstance(getattr(models, key), type)]
        raise WeightsError(f"{path} is a {name}, which minivit.models lacks; it has {', '.join(known)}")
    try:
        model = family(**{**config, "initialization": "none"})
    except (TypeError, ValueError, ArithmeticError, MemoryError) as error:
        raise WeightsError(f"{path}: {name} cannot be made from the settings in the file: {error}") from error
    if "initialization" in config:  # nothing was drawn now, but the model is still one that begins so
        model.config["initialization"] = config["initialization"]  # type: ignore[attr-defined]
    return model


def _check_settings(model: Module, contents: Contents, path: Path) -> None:
    """Raise if the file's settings are others than the model's: shapes alone do not show, say, the number of heads."""
    if not contents.states_config or contents.config is None:
        return
    mine, theirs = getattr(model, "config", {}), contents.config
    different = [
        f"  {key}: the file says {_plain(theirs[key])}, the model has {_plain(mine[key])}"
        for key in theirs
        if key in mine and key not in _FREE_SETTINGS and _plain(theirs[key]) != _plain(mine[key])
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
        model.load_state_dict(contents.state)
    except StateError as error:
        raise WeightsError(f"{path}: {error}") from error
