"""A market model whose answers numpy can make: the last value of every price, and means of what it sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op
from support import Window
from vinocast.data.regular import sha256_file
from vinocast.engine.manifest import GOLDEN_FILE, IR_FILE, Source, write_manifest
from vinocast.forecast.manifest import ForecasterManifest
from vinocast.forecast.market import CHANNELS, Market

CONTEXT, HORIZON = 16, 4
OUTPUTS = ["close", "low", "log_range", "log_volume", "log_volatility"]
PLAIN = {"mean": 0.0, "deviation": 1.0}
FLOOR = 1e-4
MARKET: dict[str, Any] = {
    "bar": "5m",
    "inputs": dict.fromkeys(CHANNELS, PLAIN),
    "outputs": dict.fromkeys(OUTPUTS, PLAIN),
    "floors": {"log_range": FLOOR},
}


def bars(count: int, seed: int = 3) -> Window:
    """Rows of the seven channels of bars of our own making, float32 [count, 7]."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(0.01 * random.standard_normal(count).cumsum())
    high, low = close * (1 + random.uniform(0, 0.01, (2, count)) * [[1], [-1]])
    volume, rsi = random.uniform(0, 50, count), random.uniform(0, 100, count)
    macd, volatility = random.standard_normal(count), random.uniform(0.001, 0.02, count)
    return np.stack([close, high, low, volume, rsi, macd, volatility], axis=1).astype(np.float32)


def answer(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the model answers to windows [b, context, 7]: [b, horizon, outputs]."""
    last, mean = windows[:, -1], windows.mean(axis=1)
    made = np.stack([last[:, 0], last[:, 2], mean[:, 4], mean[:, 3], mean[:, 6]], axis=1)
    return np.repeat(made[:, None], HORIZON, axis=1).astype(np.float32)


def make_market(folder: Path, **market: Any) -> Path:
    """Write the folder of such a model; ``market`` changes fields of the section of its manifest."""
    folder.mkdir(parents=True)
    past = op.parameter([-1, CONTEXT, 7], np.float32, name="past_values")
    last = op.gather(past, op.constant(np.array([CONTEXT - 1])), op.constant(np.int64(1)))
    mean = op.reduce_mean(past, op.constant(np.array([1])), True)
    picked = [
        op.gather(values, op.constant(np.array([channel])), op.constant(np.int64(2)))
        for values, channel in ((last, 0), (last, 2), (mean, 4), (mean, 3), (mean, 6))
    ]
    forecast = op.tile(op.concat(picked, 2), op.constant(np.array([1, HORIZON, 1])))
    ov.save_model(ov.Model([op.result(forecast)], [past], "market"), folder / IR_FILE, compress_to_fp16=False)
    inputs = np.stack([bars(CONTEXT, seed) for seed in range(3)])
    np.savez(folder / GOLDEN_FILE, inputs=inputs, outputs=answer(inputs))
    write_manifest(
        folder,
        ForecasterManifest(
            name=folder.name,
            layout="window",
            context=CONTEXT,
            horizon=HORIZON,
            channels=list(CHANNELS),
            precision="f32",
            market=Market.model_validate(MARKET | market),
            golden_tolerance=1e-4,
            files={path.name: sha256_file(path) for path in folder.iterdir()},
            source=Source(name="toy", sha256={}, options={}),
            tools={},
        ),
    )
    return folder
