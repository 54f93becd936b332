"""FastAPI and ONNX Runtime, written plainly: a pydantic model in, one out, a session in between."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from pydantic import BaseModel

options = ort.SessionOptions()
options.intra_op_num_threads = int(os.environ.get("PEER_THREADS", "2"))
session = ort.InferenceSession(os.environ["PEER_MODEL"], options, providers=["CPUExecutionProvider"])
app = FastAPI()


class Window(BaseModel):
    past_values: list[list[float]]


class Forecast(BaseModel):
    predictions: list[list[float]]


@app.post("/predict")
def predict(window: Window) -> Forecast:
    past_values = np.array([window.past_values], np.float32)
    (forecast,) = session.run(["prediction_outputs"], {"past_values": past_values})
    return Forecast(predictions=forecast[0].tolist())
