"""minivit's own format: safetensors whose header holds the model's class, its settings and what a user of it needs.

Header entries, all strings:

==============  ====================================================================================================
``format``      ``minivit checkpoint 1``
``metadata``    JSON: ``model`` (``class`` and ``config``) and further fields. Those that minivit itself reads are
                ``classes`` (names in label order), ``mean`` and ``std`` (of the normalisation, one number a channel),
                ``image_size`` (side of the training images) and ``crop_fraction`` (of the resized photo that a
                classifier looks at).
==============  ====================================================================================================

Arrays whose names begin with ``resume/`` belong to a training run and are no weights.

Where the settings name an ``encoder`` with a ``class`` and a ``config`` of its own, the model was trained on a pretext
task: the encoder is what is read, and what only the task needed is left behind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from minivit.interop.companion import json_object
from minivit.interop.contents import Contents, WeightsFile
from minivit.interop.errors import WeightsError
from minivit.nn import Module

FORMAT = "minivit checkpoint 1"
RESUME = "resume/"
ENCODER = "encoder."


def checkpoint_header(model: Module, metadata: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The header of a checkpoint of `model`.

    Parameters
    ----------
    model : Module
        With a `config`, from which its class makes it again.
    metadata : mapping, optional
        What JSON can hold, finite numbers only. The name ``model`` is taken.

    Returns
    -------
    dict of str
    """
    extra = dict(metadata or {})
    if "model" in extra:
        raise WeightsError("the metadata of a checkpoint has its own field `model`; give yours another name")
    try:
        fields = {"model": {"class": type(model).__name__, "config": _config_of(model)}, **extra}
        return {"format": FORMAT, "metadata": json.dumps(fields, allow_nan=False)}
    except (TypeError, ValueError) as error:
        raise WeightsError(f"the configuration of a checkpoint has to fit into JSON: {error}") from error


def recognises(file: WeightsFile) -> bool:
    """Whether the file says that it is one."""
    return file.header.get("format", "").startswith("minivit checkpoint")


def read(file: WeightsFile) -> Contents:
    """Weights, class, settings and metadata.

    Raises
    ------
    WeightsError
        If the header is of another version, or is damaged.
    """
    if file.header["format"] != FORMAT:
        raise WeightsError(f"{file.path} is a {file.header['format']!r}, this minivit reads {FORMAT!r}; update minivit")
    try:
        metadata = json_object(file.header["metadata"])
        model = metadata.pop("model")
        encoder = model["config"].get("encoder")
        made_of = encoder if isinstance(encoder, dict) else model
        name, config = made_of["class"], made_of["config"]
        if not isinstance(name, str) or not isinstance(config, dict):
            raise TypeError("the model's class has to be a string, its settings an object")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{file.path}: the header of this checkpoint is damaged: {error!r}") from error
    state = {name: array for name, array in file.arrays.items() if not name.startswith(RESUME)}
    if isinstance(encoder, dict):
        state = {name.removeprefix(ENCODER): array for name, array in state.items() if name.startswith(ENCODER)}
    return Contents(state, name, config, frozenset(config), metadata=metadata)


def _config_of(model: Module) -> dict[str, Any]:
    config = getattr(model, "config", None)
    if not isinstance(config, dict):
        raise WeightsError(
            f"{type(model).__name__} has no `config`, the settings from which it can be made again; "
            "set self.config in its constructor, or save with format='timm'"
        )
    return config
