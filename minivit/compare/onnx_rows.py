"""Exported ONNX files: their logits in onnxruntime and in ONNX's own evaluator, which is written in NumPy."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from minivit.compare.model_rows import TOLERANCES, ModelCase, model_cases
from minivit.compare.modules import by_minivit
from minivit.compare.rows import Computed, Row, Skip, row
from minivit.interop.onnx_export import onnx_model
from minivit.interop.onnx_graph import Graph

EVALUATORS = ("onnxruntime", "onnx.reference")


def installed() -> bool:
    """Whether there is what writes ONNX files and what runs them."""
    return all(importlib.util.find_spec(module) is not None for module in ("onnx", "onnxruntime"))


def by_onnx(made: Any, images: np.ndarray, evaluator: str = "onnxruntime") -> np.ndarray:
    """The output of an exported model.

    Parameters
    ----------
    made : onnx.ModelProto or path of a file
    images : float32 array of shape (B, C, H, W)
    evaluator : {"onnxruntime", "onnx.reference"}

    Returns
    -------
    float32 array of shape (B, num_classes)

    Raises
    ------
    ValueError
        For an unknown evaluator.
    """
    if evaluator not in EVALUATORS:
        raise ValueError(f"there is no evaluator {evaluator!r}; there is {', '.join(EVALUATORS)}")
    on_disk = isinstance(made, str | os.PathLike)
    if evaluator == "onnx.reference":
        from onnx.reference import ReferenceEvaluator

        session = ReferenceEvaluator(os.fspath(made) if on_disk else made)
    else:
        import onnxruntime

        source = os.fspath(made) if on_disk else made.SerializeToString()
        session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {Graph.images: images})[0])


def onnx_cases() -> list[ModelCase]:
    """Those of `model_cases`, but for training: a file holds the forward in evaluation."""
    return [case for case in model_cases() if not case.training]


def onnx_rows(dtypes: Sequence[str], chosen: Sequence[ModelCase] | None = None) -> tuple[list[Row], list[Skip]]:
    """A row for every model and evaluator in float32, and what is left out.

    Parameters
    ----------
    dtypes : sequence of {"float32", "float64"}
    chosen : sequence of ModelCase, optional
        By default `onnx_cases`.
    """
    every = onnx_cases() if chosen is None else chosen
    skips = [Skip("gradients and training of models", "ONNX", "the files hold the forward in evaluation")]
    if "float64" in dtypes:
        skips.append(Skip("models in float64", "ONNX", "the files are in float32"))
    if "float32" not in dtypes:
        return [], skips
    rows = []
    for case in every:
        model = case.create()
        side = case.image_size
        x = np.random.default_rng(1).standard_normal((case.batch_size, 3, side, side)).astype(np.float32)
        ours, made = by_minivit(model, x), onnx_model(model)
        for evaluator in EVALUATORS:
            theirs: Computed = by_onnx(made, x, evaluator), {}
            note = ", ".join(part for part in (case.note, evaluator) if part)
            rows.append(row("model", case.name, "ONNX", ours, theirs, TOLERANCES["float32"], note=note))
    return rows, skips
