"""BentoML: a service class with one synchronous API, numpy in and out."""

from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import DType

from benchmarks.peers.servers.stock import StockModel


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Forecaster:
    def __init__(self) -> None:
        self.model = StockModel()

    @bentoml.api
    def predict(self, past_values: Annotated[np.ndarray, DType("float32")]) -> np.ndarray:
        return self.model.predict(past_values)[0]
