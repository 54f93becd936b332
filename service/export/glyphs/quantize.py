"""Phase 2 in int8: NNCF's post-training quantization, calibrated on real grids."""

from __future__ import annotations

import contextlib
import io
import logging
from typing import TYPE_CHECKING, Any

import nncf
import numpy as np
import openvino as ov

from service.runtime.cpu import processor

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def quantize(model: ov.Model, target: Path, grids: NDArray[Any]) -> None:
    """Write the int8 form of an f32 Phase 2 to ``target``, its ranges taken from grids [n, 16, 16].

    Without VNNI the sums of int8 products overflow 16 bits, so weights are then kept to 7 bits.
    """
    fix = nncf.quantization.advanced_parameters.OverflowFix
    samples = [grid[None].astype(np.int64) for grid in grids]
    # NNCF draws its progress on standard output and tells how it went at level INFO.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        quantized = nncf.quantize(
            model,
            nncf.Dataset(samples),
            subset_size=len(samples),
            # GELU's range is lopsided; and the head costs little in f32.
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(types=["MatMul"]),
            fast_bias_correction=False,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=fix.DISABLE if processor().vnni else fix.ENABLE
            ),
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    ov.save_model(quantized, target, compress_to_fp16=False)
