"""The glyph nets to ONNX, and ONNX to an OpenVINO IR; the batch is dynamic in both."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import openvino as ov
import torch

from vinocast.export.folder import save_ir
from vinocast.export.glyphs.nets import Phase1Net
from vinocast.glyphs.cells import CELL_SIDE, GRID_SIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTPUT = "logits"


def export_phase1_to_onnx(net: Phase1Net, path: Path) -> Path:
    """Write Phase 1 with input ``cells`` float32 [n, 1, 8, 8] and output ``logits`` [n, primitives]."""
    return _export(net, torch.zeros(2, 1, CELL_SIDE, CELL_SIDE), "cells", path)


def export_phase2_to_onnx(net: torch.nn.Module, path: Path, batch_size: int = 1) -> Path:  # noqa: ARG001
    """Write Phase 2 with input ``grids`` int64 [n, 16, 16] and output ``logits`` [n, labels], weights in the file.

    ``batch_size`` is taken from older callers and changes nothing: the batch was dynamic for them too.
    """
    return _export(net, torch.zeros(2, GRID_SIDE, GRID_SIDE, dtype=torch.int64), "grids", path)


def convert_onnx_to_openvino(onnx: Path, ir: Path) -> Path:
    """Write the IR ``ir`` (an ``.xml``; its ``.bin`` lies beside it) of an ONNX file, weights in float32; return it.

    Where ``ir`` has another ending it is a folder, and the IR is its ``phase2_model.xml``.
    """
    ir = Path(ir)
    if ir.suffix != ".xml":
        ir /= "phase2_model.xml"
    ir.parent.mkdir(parents=True, exist_ok=True)
    save_ir(ov.convert_model(onnx), ir)
    return ir


def _export(net: torch.nn.Module, example: torch.Tensor, name: str, path: Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _quiet():
        torch.onnx.export(
            net.eval(),
            (example,),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=[name],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
        )
    return path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep off the screen what the exporter says of itself: deprecations, and that torchvision is not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            for category in (FutureWarning, DeprecationWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        logger.setLevel(level)
