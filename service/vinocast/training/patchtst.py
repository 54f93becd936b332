"""The forecaster's architecture, and a training forward over the weights of transformers' own module.

Computes what ``PatchTSTForPrediction`` computes, in less time: channels are independent, so a batch is of single
series; the head reads only the CLS token, so the last layer is computed for that token alone; K and V are one product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from transformers import PatchTSTConfig, PatchTSTForPrediction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from vinocast.training.recipe import Recipe

CONTEXT = 512
HORIZON = 96
# Added to the variance by the scaler of transformers.
MINIMUM_VARIANCE = 1e-5
# The architecture of ibm-granite/granite-timeseries-patchtst.
GRANITE: dict[str, Any] = {
    "context_length": CONTEXT,
    "prediction_length": HORIZON,
    "patch_length": 12,
    "patch_stride": 12,
    "d_model": 128,
    "num_attention_heads": 16,
    "num_hidden_layers": 3,
    "ffn_dim": 512,
    "activation_function": "gelu",
    "norm_type": "batchnorm",
    "norm_eps": 1e-5,
    "pre_norm": True,
    "bias": True,
    "positional_encoding_type": "sincos",
    "use_cls_token": True,
    "pooling_type": None,
    "share_embedding": True,
    "share_projection": True,
    "channel_attention": False,
    "scaling": "std",
    "loss": "mse",
    "init_std": 0.02,
    "attention_dropout": 0.0,
}
# What the forward below is written for.
LIKE_GRANITE = ("activation_function", "norm_type", "pre_norm", "use_cls_token", "attention_dropout")


def new_model(recipe: Recipe, channels: int = 1, config: Mapping[str, Any] = GRANITE) -> PatchTSTForPrediction:
    """Return a model of an architecture with first weights from the seed.

    Only what regularizes differs from its config. The weights do not depend on the number of channels, as
    :func:`vinocast.training.start.read_start` takes no model of which they do.
    """
    torch.manual_seed(recipe.seed)
    rates = {
        "positional_dropout": recipe.position_dropout,
        "ff_dropout": recipe.ffn_dropout,
        "head_dropout": recipe.head_dropout,
        "path_dropout": recipe.path_dropout,
    }
    return PatchTSTForPrediction(PatchTSTConfig.from_dict({**config, **rates, "num_input_channels": channels}))


def standardise(past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return series [n, context] standardised as the model does it, with their means and deviations [n, 1]."""
    mean = past.mean(1, keepdim=True)
    deviation = (past.var(1, unbiased=False, keepdim=True) + MINIMUM_VARIANCE).sqrt()
    return (past - mean) / deviation, mean, deviation


class Dropout:
    """Dropout by random bytes, at rates of whole 256ths: torch's own masks take a sixth of a training step.

    Without a generator nothing is dropped.
    """

    def __init__(self, generator: np.random.Generator | None = None) -> None:
        self._generator = generator

    def seed(self) -> None:
        """Have torch's own masks follow from the generator too."""
        if self._generator is not None:
            torch.manual_seed(int(self._generator.integers(2**63)))

    def elements(self, x: Tensor, rate: float) -> Tensor:
        """Drop single elements."""
        return self._drop(x, rate, tuple(x.shape))

    def series(self, x: Tensor, rate: float) -> Tensor:
        """Drop whole series of a batch."""
        return self._drop(x, rate, (len(x), *[1] * (x.dim() - 1)))

    def _drop(self, x: Tensor, rate: float, shape: tuple[int, ...]) -> Tensor:
        dropped = round(rate * 256)
        if self._generator is None or dropped == 0:
            return x
        # A copy, since torch warns of memory that it may not write to.
        random_bytes = bytearray(self._generator.bytes(int(np.prod(shape))))
        kept = torch.frombuffer(random_bytes, dtype=torch.uint8).view(shape) >= dropped
        return x * kept.to(x.dtype).mul_(256 / (256 - dropped))


def forward(model: PatchTSTForPrediction, series: Tensor, dropout: Dropout) -> Tensor:
    """Forecast standardised series [n, context]; returns standardised [n, horizon].

    Drops at the model's own rates. Batchnorm goes by ``model.training``; in training the last one sees the CLS token
    alone, which is what it is for at inference. An architecture unlike Granite's is computed by transformers itself.
    """
    config, encoder = model.config, model.model.encoder
    if any(getattr(config, name) != GRANITE[name] for name in LIKE_GRANITE) or (
        config.patch_stride != config.patch_length
    ):
        dropout.seed()
        answer: Tensor = model(past_values=series[..., None]).prediction_outputs[..., 0]
        return answer
    n, heads = len(series), config.num_attention_heads
    patches = config.context_length // config.patch_length
    h = encoder.embedder.input_embedding(series[:, -patches * config.patch_length :].reshape(n, patches, -1))
    position = encoder.positional_encoder.position_enc
    h = dropout.elements(h + position[1:], config.positional_dropout)
    cls = encoder.positional_encoder.cls_token.view(1, 1, -1) + position[:1]
    h = torch.cat([cls.expand(n, 1, -1), h], 1)
    for layer in encoder.layers:
        attention = layer.self_attn
        y = _batchnorm(layer.norm_sublayer1.batchnorm, h)
        k_and_v = torch.cat([attention.k_proj.weight, attention.v_proj.weight])
        bias = torch.cat([attention.k_proj.bias, attention.v_proj.bias])
        k, v = F.linear(y, k_and_v, bias).view(n, -1, 2, heads, attention.head_dim).permute(2, 0, 3, 1, 4)
        if layer is encoder.layers[-1]:
            h, y = h[:, :1], y[:, :1]
        q = attention.q_proj(y).mul(attention.scaling).view(n, -1, heads, attention.head_dim).transpose(1, 2)
        mixed = (torch.softmax(q @ k.transpose(-1, -2), -1) @ v).transpose(1, 2).flatten(2)
        h = h + dropout.series(attention.out_proj(mixed), config.path_dropout)
        y = _batchnorm(layer.norm_sublayer3.batchnorm, h)
        y = dropout.elements(F.gelu(layer.ff[0](y)), config.ff_dropout)
        h = h + dropout.series(layer.ff[3](y), config.path_dropout)
    forecast: Tensor = model.head.projection(dropout.elements(h[:, 0], config.head_dropout))
    return forecast


def _batchnorm(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    result: Tensor = norm(x.flatten(0, 1)).view(x.shape)
    return result
