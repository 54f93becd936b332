"""Glyph rasters to ranked labels, as ``vinocast infer-chain`` does; the guide is ``docs/OPENVINO.md``.

A thin door into the package, and the place where older code imports the OpenVINO functions from; they take the
arguments that it passes.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

if importlib.util.find_spec("vinocast") is None:  # run from a checkout that is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "service"))

from vinocast.recognition.command import main

DOORS = {
    "export_phase1_to_onnx": "vinocast.export.glyphs.onnx",
    "export_phase2_to_onnx": "vinocast.export.glyphs.onnx",
    "convert_onnx_to_openvino": "vinocast.export.glyphs.onnx",
    "setup_openvino_model": "vinocast.export.glyphs.engine",
    "OpenVINOInferenceEngine": "vinocast.export.glyphs.engine",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: the program itself may need neither torch nor OpenVINO."""
    if name not in DOORS:
        raise AttributeError(name)
    return getattr(importlib.import_module(DOORS[name]), name)


if __name__ == "__main__":
    sys.exit(main())
