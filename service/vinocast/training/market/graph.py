"""The weights of a market model as an OpenVINO graph, [b, context, 7] to [b, horizon, outputs], in f32.

It computes what ``features.py`` says, from the channels as they are served. What counts is taken from differences of
neighbouring prices, which float32 holds exactly: at 65,000, where it has a step of 0.008, a logarithm of a price would
have lost what a range is made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
from openvino import opset13 as op

from vinocast.export.algebra import floats, ints, reshape, transpose
from vinocast.forecast.market import CHANNELS, CLOSE, HIGH, LOW, PRICES, VOLUME
from vinocast.training.market.candles import CONTEXT, HORIZON
from vinocast.training.market.features import CLIP, LOGS, MOVES, Scaling

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from openvino import Node

INPUT, OUTPUT = "past_values", "forecast"
OUTPUTS = (*PRICES, *LOGS)
# What a price is taken to be at least where something is divided by it.
LEAST_PRICE = 1e-30


def build_graph(weights: NDArray[np.float64], scaling: Scaling) -> ov.Model:
    """Return the graph of weights [outputs, SEEN, horizon] of LOGS; prices are their last value."""
    past = op.parameter([-1, CONTEXT, len(CHANNELS)], np.float32, name=INPUT)
    bars = op.concat([_ranges(past, scaling), _volumes(past, scaling)], 1)
    seen = op.concat([bars, _moves(past, scaling)], 1)
    # In the units of the logarithms; what stands for 1 is the bias.
    factors, shifts = np.asarray(scaling.deviations)[:, None], np.asarray(scaling.means)[:, None]
    matrix = (weights[:, :-1] * factors[:, None]).transpose(1, 0, 2).reshape(weights.shape[1] - 1, -1)
    bias = (weights[:, -1] * factors + shifts).reshape(-1)
    made = op.add(op.matmul(seen, floats(matrix), False, False), floats(bias))
    logs = transpose(reshape(made, 0, len(LOGS), HORIZON), 0, 2, 1)
    last = op.slice(past, ints(CONTEXT - 1), ints(CONTEXT), ints(1), ints(1))
    prices = op.tile(op.gather(last, ints(*PRICES.values()), ints(2)), ints(1, HORIZON, 1))
    result = op.result(op.concat([prices, logs], 2), name=OUTPUT)
    past.output(0).get_tensor().set_names({INPUT})
    result.output(0).get_tensor().set_names({OUTPUT})
    return ov.Model([result], [past], "market")


def _channel(past: Node, channel: int) -> Node:
    """One channel, [b, context]."""
    return op.squeeze(op.slice(past, ints(channel), ints(channel + 1), ints(1), ints(2)), ints(2))


def _standard(logs: Node, scaling: Scaling, index: int) -> Node:
    return op.divide(op.subtract(logs, floats(scaling.means[index])), floats(scaling.deviations[index]))


def _ranges(past: Node, scaling: Scaling) -> Node:
    high, low = _channel(past, HIGH), _channel(past, LOW)
    ranges = op.divide(op.subtract(high, low), op.maximum(low, floats(LEAST_PRICE)))
    logs = op.log(op.maximum(ranges, floats(scaling.floors[0])))
    return op.maximum(_standard(logs, scaling, 0), floats(CLIP))


def _volumes(past: Node, scaling: Scaling) -> Node:
    logs = op.log(op.add(op.relu(_channel(past, VOLUME)), floats(1.0)))
    return op.maximum(_standard(logs, scaling, 1), floats(CLIP))


def _moves(past: Node, scaling: Scaling) -> Node:
    """The logarithms of root mean squares of the newest returns, [b, moves]."""
    close = _channel(past, CLOSE)
    before, after = (op.slice(close, ints(at), ints(at + CONTEXT - 1), ints(1), ints(1)) for at in (0, 1))
    returns = op.divide(op.subtract(after, before), op.maximum(before, floats(LEAST_PRICE)))
    newest = np.zeros((CONTEXT - 1, len(MOVES)))
    for place, count in enumerate(MOVES):
        newest[-count:, place] = 1 / count
    squares = op.matmul(op.multiply(returns, returns), floats(newest), False, False)
    logs = op.multiply(op.log(op.maximum(squares, floats(scaling.floors[1] ** 2))), floats(0.5))
    return _standard(logs, scaling, 2)
