"""Phase 2 in int8: NNCF's post-training quantization, calibrated on real grids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from vinocast.export.folder import save_ir
from vinocast.export.pinned import answer, quantize_apart

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def quantize(model: ov.Model, target: Path, grids: NDArray[Any]) -> None:
    """Write the int8 form of an f32 Phase 2 to ``target``, its ranges taken from grids [n, 16, 16]."""
    quantized = quantize_apart("vinocast.export.glyphs.quantize", model, grids.astype(np.int64))
    target.parent.mkdir(parents=True, exist_ok=True)
    save_ir(quantized, target)


def _quantize(model: ov.Model, grids: NDArray[np.int64]) -> ov.Model:
    import nncf  # noqa: PLC0415 - takes seconds, and only the other process needs it

    nncf.set_log_level("ERROR")
    quantized: ov.Model = nncf.quantize(
        model,
        nncf.Dataset(list(grids[:, None])),
        subset_size=len(grids),
        # GELU's range is lopsided; and the head costs little in f32.
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(types=["MatMul"]),
        fast_bias_correction=False,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            # Without VNNI, sums of two products of 8 bits saturate in 16: weights then take 7 of their 8 bits, on every
            # CPU, since an IR outlives the one it was made on.
            overflow_fix=nncf.quantization.advanced_parameters.OverflowFix.ENABLE
        ),
    )
    return quantized


if __name__ == "__main__":
    answer(_quantize)
