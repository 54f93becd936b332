"""FastAPI and the Hugging Face model in torch, written plainly."""

from __future__ import annotations

import os

import torch
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import PatchTSTForPrediction

torch.set_num_threads(2)
model = PatchTSTForPrediction.from_pretrained(os.environ["PEER_MODEL"]).eval()
app = FastAPI()


class Window(BaseModel):
    past_values: list[list[float]]


class Forecast(BaseModel):
    predictions: list[list[float]]


@app.post("/predict")
def predict(window: Window) -> Forecast:
    with torch.inference_mode():
        forecast = model(past_values=torch.tensor([window.past_values])).prediction_outputs
    return Forecast(predictions=forecast[0].tolist())
