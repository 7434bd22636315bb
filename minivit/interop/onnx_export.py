"""Models as ONNX files, which other programs run and viewers draw.

The graph has a function for each kind of block, called once for each block with that block's weights: a viewer shows
the architecture, and inside a function its mathematics. Weights keep their names and layouts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minivit.files import written_whole
from minivit.interop.errors import WeightsError
from minivit.interop.onnx_resnet import resnet
from minivit.interop.onnx_vit import vision_transformer
from minivit.models import ResNet, VisionTransformer
from minivit.nn import Module

LARGEST = 2**31 - 2**20  # bytes of weights: a protobuf message ends at 2 GiB, and there is more in it than weights

WRITERS: dict[type[Module], Callable[[Any], Any]] = {VisionTransformer: vision_transformer, ResNet: resnet}


def onnx_model(model: Module, metadata: Mapping[str, Any] | None = None) -> Any:
    """A model's forward in evaluation as an `onnx.ModelProto` of opset 20, for any batch size.

    Parameters
    ----------
    model : VisionTransformer or ResNet
        With parameters of float32. Dropout and stochastic depth are left out, batch norms take their running
        statistics, whichever mode the model is in.
    metadata : mapping, optional
        What a user of the model needs, such as ``classes``, ``mean`` and ``std``: see `minivit.interop.checkpoint`.
        Each becomes an entry of the model's metadata, as JSON. The name ``model`` is taken: it holds the model's class
        and settings.

    Returns
    -------
    onnx.ModelProto
        Input ``images`` (batch, C, H, W), normalised as in training; output ``logits`` (batch, num_classes), or
        ``features`` (batch, num_features) without a head.

    Raises
    ------
    WeightsError
        For a model of another kind or dtype, one of more than 2 GiB, or metadata that do not fit into JSON.
    ImportError
        If onnx is not installed.
    """
    write = WRITERS.get(type(model))
    if write is None:
        kinds = " and ".join(kind.__name__ for kind in WRITERS)
        raise WeightsError(f"a {type(model).__name__} cannot be exported to ONNX; {kinds} can")
    state = model.state_dict()
    other = {str(values.dtype) for _, values in model.named_parameters()} - {"float32"}
    if other:
        raise WeightsError(
            f"the model's parameters are {', '.join(sorted(other))}; export it in float32: model.astype(np.float32)"
        )
    size = sum(values.nbytes for values in state.values())
    if size > LARGEST:
        raise WeightsError(
            f"the weights take {size / 2**30:.1f} GiB and an ONNX file can hold 2: export a smaller model"
        )
    settings: dict[str, Any] = model.config  # type: ignore[attr-defined]
    entries = {"model": {"class": type(model).__name__, "config": settings}} | _without_model(metadata)
    try:
        texts = {name: json.dumps(value, allow_nan=False) for name, value in entries.items()}
    except (TypeError, ValueError) as error:
        raise WeightsError(f"the metadata of an ONNX file have to fit into JSON: {error}") from error
    try:
        from onnx import helper
    except ImportError as error:
        raise ImportError("ONNX files are written with the package onnx: pip install onnx") from error
    made = write(model)
    helper.set_model_props(made, texts)
    return made


def export_onnx(model: Module, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
    """Write a model as an ONNX file, whole or not at all.

    Parameters
    ----------
    model, metadata
        As for `onnx_model`.
    path : path
        Ends in .onnx.

    Raises
    ------
    WeightsError, ImportError
        As `onnx_model`, or for another suffix.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise WeightsError(f"{path}: ONNX files end in .onnx")
    made = onnx_model(model, metadata)
    from onnx import checker

    checker.check_model(made, full_check=True)
    with written_whole(path) as temporary:
        temporary.write_bytes(made.SerializeToString())


def _without_model(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    if metadata and "model" in metadata:
        raise WeightsError("the metadata of an ONNX file have their own field `model`; give yours another name")
    return dict(metadata or {})
