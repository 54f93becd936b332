"""The general forecaster as an OpenVINO graph that computes what ``model.py`` does with less arithmetic.

Built from the weights. What is folded is folded in float64, and every step is an identity of algebra:

1. Of eval batchnorms nothing remains: they are folded into the linear maps behind them.
2. K and V of the past are one product for all layers, since its tokens are the same in each.
3. The comparison of 96 steps with each 96 before them takes the series in rows of 17 patches, one for each patch: what
   describes the 12 segments that begin in a patch is one product with a row, its weights shifted twelvefold. Segments
   that are none get no share.
4. What followed them is averaged by the same rows: first over patches, then, shifted against each other by one step,
   over the 12 segments of a patch. So no segment is copied out.
5. A future token is embedded in two parts, of which one is the same for all of them.

An int8 form keeps the comparison, what is averaged by it and the steps between quantiles in full precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
from openvino import opset13 as op

from vinocast.export.algebra import (
    GELU_SCALE,
    Affine,
    Linear,
    attend,
    beside,
    exact,
    floats,
    gelu,
    heads,
    ints,
    reshape,
    standardise,
    transpose,
)
from vinocast.training.general.model import (
    ANALOGS,
    BOUND,
    CONTEXT,
    D_MODEL,
    FUTURES,
    HEADS,
    HORIZON,
    LAYERS,
    MATCHED,
    MINIMUM_VARIANCE,
    NORM_EPS,
    PASTS,
    PATCH,
    QUANTILES,
    SEGMENTS,
    STARTS,
)

if TYPE_CHECKING:
    from openvino import Node

    from vinocast.export.families.checkpoint import Weights

INPUT, OUTPUT = "past_values", "quantiles"
# Patches of a row, which reaches what followed the last segment that begins in its first.
ROW = 1 + 2 * HORIZON // PATCH
# What followed a segment, and a patch before that, begins in its row behind so many steps.
BEFORE = HORIZON - PATCH
# Below any score: its share is 0 in float32.
NEVER = -1e9


def build_graph(weights: Weights) -> ov.Model:
    """Return the graph, [n, context] to [n, horizon, levels], batch dynamic, in f32."""
    return _Builder(weights).build()


class _Builder:
    def __init__(self, weights: Weights) -> None:
        self.w = weights

    def build(self) -> ov.Model:
        parameter = op.parameter([-1, CONTEXT], np.float32, name=INPUT)
        scaled, unscale = standardise(parameter, MINIMUM_VARIANCE)
        bounded = op.clamp(scaled, -BOUND, BOUND)
        series = op.asinh(bounded)
        past = op.slice(series, ints(CONTEXT - PASTS * PATCH), ints(CONTEXT), ints(1), ints(1))
        tokens = self.layers(reshape(past, 0, PASTS, PATCH), self.begun(series))
        quantiles = unscale(self.monotone(self.linear("head.")(tokens)))
        result = op.result(quantiles, name=OUTPUT)
        parameter.output(0).get_tensor().set_names({INPUT})
        result.output(0).get_tensor().set_names({OUTPUT})
        return ov.Model([result], [parameter], "general")

    def linear(self, name: str) -> Linear:
        return Linear(self.w[f"{name}weight"].T, self.w[f"{name}bias"])

    def norm(self, name: str) -> Affine:
        gain = self.w[f"{name}weight"] / np.sqrt(self.w[f"{name}running_var"] + NORM_EPS)
        return Affine(gain, self.w[f"{name}bias"] - self.w[f"{name}running_mean"] * gain)

    def begun(self, series: Node) -> Node:
        """What the future's tokens begin as, [n, futures, d_model], positions included."""
        weight = self.w["embed_future.weight"].T.reshape(-1, PATCH, D_MODEL)
        after, before, newest = weight[:ANALOGS], weight[ANALOGS:-1], weight[-1]
        position = self.w["position"][PASTS:] + self.w["embed_future.bias"]
        analogs = self.analogs(series)
        first = op.slice(analogs, ints(0), ints(1), ints(1), ints(1))
        rest = op.slice(analogs, ints(1), ints(1 + FUTURES), ints(1), ints(1))
        last = reshape(op.slice(series, ints(CONTEXT - PATCH), ints(CONTEXT), ints(1), ints(1)), 0, 1, PATCH)
        same = Linear(np.concatenate([before.reshape(-1, D_MODEL), newest]), np.zeros(D_MODEL))
        common = same(op.concat([first, last], 2))
        return op.add(Linear(after.reshape(-1, D_MODEL), position)(rest), common)

    def analogs(self, series: Node) -> Node:
        """What followed where the past was alike, [n, 1 + futures, analogs * patch], a patch before it first."""
        padded = op.pad(series, ints(0, 0), ints(0, (STARTS + ROW - 1) * PATCH - CONTEXT), "constant", floats(0.0))
        places = np.arange(STARTS)[:, None] + np.arange(ROW)
        rows = reshape(op.gather(reshape(padded, 0, -1, PATCH), op.constant(places), ints(1)), 0, STARTS, ROW * PATCH)
        # Columns: what describes a segment, analogs, segments of a patch.
        match = self.w["analogs.match.weight"].reshape(ANALOGS, MATCHED, HORIZON).transpose(2, 1, 0)
        shifted = np.zeros((HORIZON + PATCH - 1, MATCHED, ANALOGS, PATCH))
        for step in range(PATCH):
            shifted[step : step + HORIZON, ..., step] = match
        known = exact(
            op.slice(rows, ints(0), ints(len(shifted)), ints(1), ints(2)),
            floats(shifted.reshape(len(shifted), -1)),
            "known",
        )
        # The newest are described once for each segment of a patch: so rows are subtracted from rows, which is faster.
        newest = reshape(op.slice(series, ints(CONTEXT - HORIZON), ints(CONTEXT), ints(1), ints(1)), 0, 1, HORIZON)
        asked = exact(newest, floats(np.repeat(match, PATCH, 2).reshape(HORIZON, -1)), "asked")
        away = reshape(op.squared_difference(known, asked), 0, STARTS, MATCHED, ANALOGS * PATCH)
        distance = op.reduce_sum(away, ints(2), False)
        prior = np.full((ANALOGS, STARTS * PATCH), NEVER)
        prior[:, :SEGMENTS] = self.w["analogs.prior"]
        scores = op.subtract(
            floats(prior.reshape(ANALOGS, STARTS, PATCH).transpose(0, 2, 1).reshape(ANALOGS, -1)),
            reshape(transpose(distance, 0, 2, 1), 0, ANALOGS, PATCH * STARTS),
        )
        share = reshape(op.softmax(scores, -1), 0, ANALOGS * PATCH, STARTS)
        # Of each segment of a patch, all that follows where it begins; the segments begin a step apart.
        width = PATCH + HORIZON + PATCH
        after = op.slice(rows, ints(BEFORE), ints(BEFORE + width), ints(1), ints(2))
        apart = reshape(exact(share, after, "mixed"), 0, ANALOGS, PATCH * width)
        # In rows that are one longer each next begins one further on.
        apart = op.pad(apart, ints(0, 0, 0), ints(0, 0, PATCH), "constant", floats(0.0))
        apart = op.slice(reshape(apart, 0, ANALOGS, PATCH, width + 1), ints(0), ints(PATCH + HORIZON), ints(1), ints(3))
        mixed = op.reduce_sum(apart, ints(2), False)
        return reshape(
            transpose(reshape(mixed, 0, ANALOGS, 1 + FUTURES, PATCH), 0, 2, 1, 3), 0, 1 + FUTURES, ANALOGS * PATCH
        )

    def layers(self, past: Node, future: Node) -> Node:
        """The layers: the past's patches, and what the future's tokens begin as, to the latter at the end."""
        embed = self.linear("embed_past.").scaled(GELU_SCALE)
        past = op.multiply(gelu(embed(past)), floats(GELU_SCALE))
        past = op.add(past, floats(self.w["position"][:PASTS]))
        asked = [
            self.norm("norm_past.").then(self.linear(f"layers.{index}.attn.{which}_proj."))
            for index in range(LAYERS)
            for which in "kv"
        ]
        pairs = heads(beside(*asked)(past), len(asked), HEADS)
        for index in range(LAYERS):
            name = f"layers.{index}."
            q, out = (self.linear(f"{name}attn.{which}_proj.") for which in ("q", "out"))
            q = self.norm(f"{name}norm1.").then(q.scaled((D_MODEL // HEADS) ** -0.5))
            mixed = attend(*heads(q(future), 1, HEADS), *pairs[2 * index : 2 * index + 2])
            future = op.add(future, out(mixed))
            widen = self.norm(f"{name}norm2.").then(self.linear(f"{name}ff1.")).scaled(GELU_SCALE)
            narrow = self.linear(f"{name}ff2.")
            narrow = Linear(narrow.weight * GELU_SCALE, narrow.bias)
            future = op.add(future, narrow(gelu(widen(future))))
        return future

    def monotone(self, raw: Node) -> Node:
        """The median, and from it outwards the steps between neighbours: [n, horizon, levels]."""
        count = len(QUANTILES)
        middle = count // 2
        raw = reshape(raw, 0, HORIZON, count)
        outwards = np.zeros((count, count))
        for level in range(middle):
            outwards[level:middle, level] = -1
            outwards[middle + 1 : count - level, count - 1 - level] = 1
        median = op.slice(raw, ints(middle), ints(middle + 1), ints(1), ints(2))
        return op.add(exact(op.softplus(raw), floats(outwards), "outwards"), median)
