"""Export the Hugging Face model of a folder to ONNX, for FastAPI + ONNX Runtime: ``export_onnx SOURCE OUTPUT``."""

from __future__ import annotations

import sys

import torch
from transformers import PatchTSTForPrediction


class Forecast(torch.nn.Module):
    """The forecast alone, of the many outputs the model has."""

    def __init__(self, model: PatchTSTForPrediction) -> None:
        super().__init__()
        self.model = model

    def forward(self, past_values: torch.Tensor) -> torch.Tensor:
        forecast: torch.Tensor = self.model(past_values=past_values).prediction_outputs
        return forecast


source, output = sys.argv[1:]
model = PatchTSTForPrediction.from_pretrained(source).eval()
torch.onnx.export(
    Forecast(model),
    (torch.zeros(1, model.config.context_length, model.config.num_input_channels),),
    output,
    input_names=["past_values"],
    output_names=["prediction_outputs"],
    dynamo=True,
    external_data=False,
)
