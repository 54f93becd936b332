"""What ``manifest.json`` says of a glyph chain."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vinocast.engine.bounds import MOST_LABELS
from vinocast.engine.manifest import GOLDEN_FILE, Manifest, TensorSpec
from vinocast.glyphs.cells import GRID_SIDE

PHASE1_IR_FILE, PHASE1_WEIGHTS_FILE = "phase1.xml", "phase1.bin"
PHASE2_IR_FILE, PHASE2_WEIGHTS_FILE = "phase2.xml", "phase2.bin"
LABEL_MAP_FILE = "label_map.json"
CHARS_FILE = "chars.csv"


class GlyphsManifest(Manifest):
    """``manifest.json`` of a glyph chain. ``golden_tolerance`` is of the logits of Phase 2, absolute."""

    required = (
        PHASE1_IR_FILE,
        PHASE1_WEIGHTS_FILE,
        PHASE2_IR_FILE,
        PHASE2_WEIGHTS_FILE,
        LABEL_MAP_FILE,
        CHARS_FILE,
        GOLDEN_FILE,
    )

    computes = required[:4]

    kind: Literal["glyphs"] = "glyphs"
    labels: int = Field(gt=0, le=MOST_LABELS, description="how many labels Phase 2 tells apart")
    precision: Literal["f32"] = "f32"
    metrics: dict[str, float] = Field(
        default_factory=dict, description="accuracy on fonts that training has not seen; metrics.json has the whole"
    )

    def described(self) -> dict[str, Any]:
        """Return what a client must know to ask."""
        return {"labels": self.labels}

    def tensors(self) -> tuple[list[TensorSpec], list[TensorSpec]]:
        """Return glyphs in both of their forms, of which a request has one, and the best labels of each glyph."""
        inputs = [TensorSpec("grids", "INT64", [-1, GRID_SIDE, GRID_SIDE]), TensorSpec("rasters", "BYTES", [-1])]
        outputs = {"ids": "INT64", "labels": "BYTES", "probabilities": "FP32"}
        return inputs, [TensorSpec(name, datatype, [-1, -1]) for name, datatype in outputs.items()]
