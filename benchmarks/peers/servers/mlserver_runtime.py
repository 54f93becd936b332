"""MLServer: a custom inference runtime, asked by the Open Inference Protocol v2 as JSON."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.servers.stock import StockModel


class Forecaster(MLModel):
    async def load(self) -> bool:
        self._model = StockModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        window = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        forecast = self._model.predict(window)
        output = NumpyCodec.encode_output("prediction_outputs", forecast)
        return InferenceResponse(model_name=self.name, outputs=[output])
