"""The stock graph as the peers on OpenVINO run it: f32, lowest latency, one stream of two threads, its one shape."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray


class StockModel:
    """Forecasts [1, horizon, channels] of windows [1, context, channels], one at a time."""

    def __init__(self) -> None:
        core = ov.Core()
        model = core.read_model(os.environ["PEER_MODEL"])
        _, context, channels = model.inputs[0].get_partial_shape()
        self._shape = (1, context.get_length(), channels.get_length())
        model.reshape(list(self._shape))
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": 2,
        }
        self._request = core.compile_model(model, "CPU", config).create_infer_request()

    def predict(self, window: Any) -> NDArray[np.float32]:
        """Return the forecast of a window given as anything that numpy makes an array of."""
        self._request.infer({0: np.asarray(window, np.float32).reshape(self._shape)})
        forecast: NDArray[np.float32] = self._request.get_output_tensor().data.copy()
        return forecast
