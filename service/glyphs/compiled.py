"""The glyph chain on OpenVINO, compiled and warm.

Batch shapes, measured with f32 on two cores (Zen 4), milliseconds a grid of the light Phase 2 by grids in an inference:
1 0.85, 4 0.65, 8 0.59, 16 0.56, 32 0.56, 64 0.53; one dynamic shape takes 5 to 20 per cent more. Microseconds a cell of
Phase 1: 16 5.5, 64 3.8, 256 3.0, 1024 4.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.glyphs.chain import GlyphChain
from service.runtime.batched import BatchedModel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from service.runtime.compiled import Compiler

PHASE1_BATCHES = (16, 64, 256)
PHASE2_BATCHES = (1, 4, 16)


def compile_chain(
    compiler: Compiler, phase1: Path, phase2: Path, phase2_batches: Sequence[int] = PHASE2_BATCHES
) -> GlyphChain:
    """Read and compile the two IRs for every batch shape; what comes back has run each of them."""
    return GlyphChain(
        BatchedModel(compiler, compiler.read(phase1), PHASE1_BATCHES),
        BatchedModel(compiler, compiler.read(phase2), phase2_batches),
    )
