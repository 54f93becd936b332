"""Does the IR compute what its source model computes? Measured on generated windows of several kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.errors import SetupError
from vinocast.export.generated import as_series, as_windows, generated_series

if TYPE_CHECKING:
    import openvino as ov
    from numpy.typing import NDArray
    from torch import nn

    from vinocast.export.families.checkpoint import Checkpoint, Signature
    from vinocast.forecast.manifest import Precision

# The largest difference that is accepted, in units of a series' scale. Of int8 this is to catch what went wrong: the
# bundled model differs by 0.05, the published one by 0.19.
BOUNDS: dict[Precision, float] = {"f32": 1e-5, "f16": 1e-2, "int8": 1.0}
TORCH_FACTOR = 4.0
# Two windows of each kind are compared, but one of a model so wide that its series would take gigabytes.
WIDE = 64


def check_parity(
    compiled: ov.CompiledModel, source: Checkpoint, model: nn.Module, precision: Precision
) -> dict[str, float]:
    """Return the largest difference between IR and source model by kind of window, in units of the series' scale.

    The reference is the source model run in float64. In float32 it is itself off by more than 1e-5 of the scale where
    the level of a series is far above its deviation: a forecast near 1e4 is rounded to a thousandth. So the IR may
    differ by 1e-5 (f16: 1e-2, int8: 1), or by 4 times what the source model in float32 does on the same windows; where
    the latter decides, that figure is returned too. Raises SetupError where the IR differs by more.
    """
    import torch  # noqa: PLC0415

    signature = source.signature
    channels = signature.channels
    figures: dict[str, float] = {}
    for kind in source.kinds:
        series = generated_series(kind, channels * (2 if channels < WIDE else 1), signature.context)
        windows = torch.from_numpy(as_windows(series, channels))
        with torch.inference_mode():
            single = signature.stored(model.float()(windows)).double().numpy()
            exact = signature.stored(model.double()(windows.double())).numpy()
        answer = infer(compiled, series, signature).astype(np.float64)
        scale = source.scale(series.astype(np.float64))
        scale = scale[..., None] if signature.levels else scale
        figures[kind] = float(np.max(np.abs(answer - as_series(exact)) / scale))
        own = float(np.max(np.abs(as_series(single - exact)) / scale))
        if TORCH_FACTOR * own > BOUNDS[precision]:
            figures[f"{kind}, {source.runner} in float32"] = own
        allowed = max(BOUNDS[precision], TORCH_FACTOR * own) if np.isfinite(own) else BOUNDS[precision]
        if not figures[kind] <= allowed:  # NaN is refused too
            raise SetupError(
                f"{source.name}: the converted model differs from the source by {figures[kind]:.1e} of the scale on "
                f"{kind} windows, {allowed:.1e} is accepted; nothing was written"
            )
    return figures


def infer(compiled: ov.CompiledModel, series: NDArray[np.float32], signature: Signature) -> NDArray[np.float32]:
    """Run the IR on series [n, context], in its layout; returns [n, horizon], with quantiles [n, horizon, levels]."""
    if signature.layout == "series":
        return np.array(compiled(series)[0])
    return np.array(as_series(compiled(as_windows(series, signature.channels))[0]))
