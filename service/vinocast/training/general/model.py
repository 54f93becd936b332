"""The general forecaster's architecture: tokens of the future, begun from analogs of the past, that ask the past.

The 42 newest patches of 12 of a window are tokens, and 8 more are the patches of the forecast: through three layers
these alone go on, each asking all patches of the past. A head makes 12 steps by nine quantiles of each. What such a
token begins as is copied from the past, since patches copy badly where a period is no multiple of them: the newest 96
steps are compared with every 96 steps before them, at a stride of one, and what followed where they are alike is
averaged (the analog method, as attention). Nothing depends on data but values, so the graph is static, of products,
softmaxes, norms and elementwise functions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

# Files of a run: the averaged weights, float32, whose metadata says step and recipe, and the losses.
WEIGHTS_FILE = "weights.safetensors"
CURVE_FILE = "curve.json"
CONTEXT = 512
HORIZON = 96
PATCH = 12
QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
D_MODEL = 128
HEADS = 8
LAYERS = 3
FFN = 384
# Of the analogs: how many averages there are, and how many numbers describe the 96 steps that are compared, for each.
ANALOGS = 4
MATCHED = 8
PASTS = CONTEXT // PATCH
FUTURES = HORIZON // PATCH
SEGMENTS = CONTEXT - 2 * HORIZON + 1
# Patches in which a segment begins.
STARTS = -(-SEGMENTS // PATCH)
# Added to the variance, in the units of the series.
MINIMUM_VARIANCE = 1e-5
NORM_EPS = 1e-5
# In deviations of a window: nothing beyond is learned from, nor seen.
BOUND = 30.0


def standardise(past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return series [n, context] standardised by their own means and deviations, and those, [n, 1] each."""
    mean = past.mean(1, keepdim=True)
    centred = past - mean
    deviation = (centred.square().mean(1, keepdim=True) + MINIMUM_VARIANCE).sqrt()
    return centred / deviation, mean, deviation


class Attention(nn.Module):
    """Attention of some tokens to others, many heads wide."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(D_MODEL, D_MODEL) for _ in range(4))

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Return [n, a, d_model] for ``asking`` [n, a, d_model] and ``asked`` [n, t, d_model]."""
        n, size = len(asked), D_MODEL // HEADS
        weight, bias = (
            torch.cat([getattr(m, part) for m in (self.k_proj, self.v_proj)]) for part in ("weight", "bias")
        )
        k, v = F.linear(asked, weight, bias).view(n, -1, 2, HEADS, size).permute(2, 0, 3, 1, 4)
        q = self.q_proj(asking).view(n, -1, HEADS, size).transpose(1, 2)
        # torch's own attention is two to three times slower here, in bfloat16 and backwards.
        mixed = (torch.softmax((q * size**-0.5) @ k.transpose(-1, -2), -1) @ v).transpose(1, 2).flatten(2)
        merged: Tensor = self.out_proj(mixed)
        return merged


class TokenNorm(nn.BatchNorm1d):
    """Batchnorm of [n, tokens, d_model] over series and tokens; of fixed statistics it is part of the next product."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what has its shape."""
        return super().forward(x.flatten(0, 1)).view(x.shape)


class Layer(nn.Module):
    """A layer in which the future's tokens ask the past's, norms before its sublayers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = TokenNorm(D_MODEL, NORM_EPS), TokenNorm(D_MODEL, NORM_EPS)
        self.attn = Attention()
        self.ff1, self.ff2 = nn.Linear(D_MODEL, FFN), nn.Linear(FFN, D_MODEL)

    def forward(self, future: Tensor, past: Tensor) -> Tensor:
        """Return what has the shape of ``future`` [n, futures, d_model], given ``past`` [n, pasts, d_model], normed."""
        h = future + self.attn(self.norm1(future), past)
        result: Tensor = h + self.ff2(F.gelu(self.ff1(self.norm2(h))))
        return result


class Analogs(nn.Module):
    """What followed where the past was like the newest 96 steps, averaged in several ways."""

    def __init__(self) -> None:
        super().__init__()
        self.match = nn.Linear(HORIZON, ANALOGS * MATCHED, bias=False)
        self.prior = nn.Parameter(torch.zeros(ANALOGS, SEGMENTS))

    def forward(self, series: Tensor) -> Tensor:
        """Return [n, analogs, patch + horizon] for [n, context]: a patch before, and what followed."""
        # conv1d is the product of match.weight with every 96 steps in a row.
        described = F.conv1d(series[:, None], self.match.weight[:, None]).view(len(series), ANALOGS, MATCHED, -1)
        known, asked = described[..., :SEGMENTS], described[..., -1:]
        distance = _precise(known - asked).square().sum(2)
        share = torch.softmax(self.prior - distance, -1)
        # By patches of the past, in each of which 12 segments begin, so that no segment is copied out; see graph.py.
        n, width = len(series), PATCH + HORIZON + PATCH
        rows = F.pad(series[:, HORIZON - PATCH :], (0, PATCH)).unfold(1, width, PATCH)
        by_step = F.pad(share, (0, STARTS * PATCH - SEGMENTS)).view(n, ANALOGS, STARTS, PATCH).transpose(2, 3)
        apart = torch.matmul(by_step.flatten(1, 2), rows).view(n, ANALOGS, PATCH * width)
        # In rows that are one longer each next begins one further on.
        return F.pad(apart, (0, PATCH)).view(n, ANALOGS, PATCH, width + 1)[..., : PATCH + HORIZON].sum(2)


class GeneralForecaster(nn.Module):
    """Maps standardised series [n, context] to standardised quantiles [n, horizon, 9], which never cross."""

    def __init__(self) -> None:
        super().__init__()
        self.analogs = Analogs()
        self.embed_past, self.norm_past = nn.Linear(PATCH, D_MODEL), TokenNorm(D_MODEL, NORM_EPS)
        self.embed_future = nn.Linear((2 * ANALOGS + 1) * PATCH, D_MODEL)
        self.position = nn.Parameter(_sincos(PASTS + FUTURES, D_MODEL))
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.head = nn.Linear(D_MODEL, PATCH * len(QUANTILES))
        nn.init.normal_(self.head.weight, std=0.02)

    def forward(self, standardised: Tensor) -> Tensor:
        """Return the quantiles, in float32 at least."""
        n = len(standardised)
        series = torch.asinh(standardised.clamp(-BOUND, BOUND))
        past = F.gelu(self.embed_past(series[:, -PASTS * PATCH :].reshape(n, PASTS, PATCH)))
        analogs = self.analogs(series)
        before, after = analogs[..., :PATCH], analogs[..., PATCH:]
        begun = torch.cat(
            [
                after.reshape(n, ANALOGS, FUTURES, PATCH).transpose(1, 2).flatten(2),
                torch.cat([before.flatten(1), series[:, -PATCH:].to(before.dtype)], 1)[:, None].expand(-1, FUTURES, -1),
            ],
            2,
        )
        past = self.norm_past(past + self.position[:PASTS])
        future = self.embed_future(begun) + self.position[PASTS:]
        for layer in self.layers:
            future = layer(future, past)
        return monotone(_precise(self.head(future)).view(n, HORIZON, len(QUANTILES)))


def monotone(raw: Tensor) -> Tensor:
    """Return quantiles of what a head says, [..., 9]: the median, and from it outwards the steps between neighbours."""
    middle = len(QUANTILES) // 2
    median = raw[..., middle : middle + 1]
    steps = F.softplus(raw)
    down = median - steps[..., :middle].flip(-1).cumsum(-1).flip(-1)
    return torch.cat([down, median, median + steps[..., middle + 1 :].cumsum(-1)], -1)


def _precise(x: Tensor) -> Tensor:
    return x.float() if x.dtype == torch.bfloat16 else x


def _sincos(count: int, width: int) -> Tensor:
    angle = torch.arange(count)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
    encoding = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
    return (encoding - encoding.mean()) / (encoding.std() * 10)
