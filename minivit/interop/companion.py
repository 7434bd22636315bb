"""The small JSON files that lie beside weights: config.json, preprocessor_config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minivit.files import written_whole
from minivit.interop.errors import WeightsError

LARGEST = 16 * 2**20  # bytes; the names of ImageNet-21k's classes, twice, take two million


def read_beside(path: Path, name: str) -> dict[str, Any] | None:
    """The JSON object in a file beside `path`; None where there is no such file.

    Raises
    ------
    WeightsError
        If the file is larger than 16 MiB, or holds no JSON object.
    """
    file = path.with_name(name)
    if not file.is_file():
        return None
    if file.stat().st_size > LARGEST:
        raise WeightsError(f"{file} is larger than {LARGEST} bytes, which no configuration is; move it away")
    try:
        return json_object(file.read_bytes())
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file} is no readable configuration: {error}; repair it, or move it away") from error


def write_beside(path: Path, name: str, content: Mapping[str, Any]) -> None:
    """Write a JSON object beside `path`, whole or not at all."""
    with written_whole(path.with_name(name)) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def json_object(text: bytes | str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises
    ------
    ValueError
        If it is none, names a key twice, or is nested too deeply.
    """
    try:
        found = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON object, got {type(found).__name__}")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found
