"""From an f32 graph to an int8 one: NNCF's quantization after training, calibrated on real windows. Needs no torch.

Linear maps and the scores of attention are quantized, weights by output channel and activations by tensor. Softmax and
what is done element by element stay in the precision of the profile, and so do a window's mean and deviation, and
products that a family has named so (``vinocast.export.algebra.exact``).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
from openvino import opset13 as op

from vinocast.export.algebra import EXACT, floats
from vinocast.export.pinned import answer, quantize_apart

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from openvino import Input, Node

    from vinocast.forecast.manifest import ForecasterManifest

# Softmax, the scaler of a window, norms, biases and residuals.
LEFT_OUT = ["Softmax", "ReduceMean", "Subtract", "Divide", "Sqrt", "Multiply", "Add", "Abs", "MVN", "Erf", "Gelu"]


def quantize(graph: ov.Model, windows: NDArray[np.float32], manifest: ForecasterManifest) -> ov.Model:
    """Return an int8 copy of a forecaster's graph.

    Args:
        graph: in f32, of the manifest's layout, batch dynamic.
        windows: float32 [n, context, channels] that stand for those to be served.
        manifest: of the model.
    """
    inputs = windows.transpose(0, 2, 1).copy() if manifest.layout == "series" else windows[:, None]
    return quantize_apart("vinocast.export.quantize", fuse_gelu(graph), inputs)


def _quantize(graph: ov.Model, inputs: NDArray[np.float32]) -> ov.Model:
    import nncf  # noqa: PLC0415 - takes seconds, and only the other process needs it
    from nncf.quantization.advanced_parameters import (  # noqa: PLC0415
        AdvancedQuantizationParameters,
        AdvancedSmoothQuantParameters,
        OverflowFix,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet  # noqa: PLC0415

    nncf.set_log_level("ERROR")
    quantized: ov.Model = nncf.quantize(
        graph,
        nncf.Dataset(list(inputs)),
        subset_size=len(inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(types=LEFT_OUT, patterns=[f"{re.escape(EXACT)}.*"], validate=False),
        advanced_parameters=AdvancedQuantizationParameters(
            # Without VNNI, sums of two products of 8 bits saturate in 16: weights then take 7 of their 8 bits. An
            # IR outlives the CPU it was made on, and costs nothing in speed for it.
            overflow_fix=OverflowFix.ENABLE,
            # The whole range that was seen, as a clipped outlier costs more accuracy than a coarser step. Outliers
            # stick to a few features, whose range SmoothQuant moves into the weights; most of it, measured.
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=0.8),
        ),
    )
    return quantized


def fuse_gelu(graph: ov.Model) -> ov.Model:
    """Return a copy that has a Gelu in place of y * (1 + erf(y)), its constants in the linear maps around it.

    The other way round (see GELU_SCALE of the graph) is the faster one in f32; in int8 the CPU plugin
    computes the Gelu within the product before it, and a forecast is faster by a fourteenth. A form that is not found
    as expected is left alone.
    """
    copy = graph.clone()
    for erf in [node for node in copy.get_ordered_ops() if node.get_type_name() == "Erf"]:
        y = erf.input_value(0)
        plus = _only_user(erf)
        product = plus and _only_user(plus.get_node())
        after = product and _only_user(product.get_node())
        bias, before = _constant_input(y.get_node(), "Add"), y.get_node().input_value(0).get_node()
        weight = _constant_input(before, "MatMul")
        narrow = after and _constant_input(after.get_node(), "MatMul")
        if not (after and bias and weight and narrow):
            continue
        for constant in (weight, bias, narrow):
            values = constant.get_source_output().get_node().get_data()
            constant.replace_source_output(floats(values.astype(np.float64) * math.sqrt(2)).output(0))
        after.replace_source_output(op.gelu(y, "erf").output(0))
    copy.validate_nodes_and_infer_types()
    return copy


def _only_user(node: Node) -> Input | None:
    users = list(node.output(0).get_target_inputs())
    return users[0] if len(users) == 1 else None


def _constant_input(node: Node, kind: str) -> Input | None:
    """The second input of a node of this kind, if it is a constant."""
    if node.get_type_name() != kind or node.input_value(1).get_node().get_type_name() != "Constant":
        return None
    return node.input(1)


if __name__ == "__main__":
    answer(_quantize)
