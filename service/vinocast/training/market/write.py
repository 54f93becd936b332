"""The files of a market model: its graph, golden vectors, weights, the table of its bands, and its manifest."""

from __future__ import annotations

import io
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import openvino as ov

from vinocast import __version__
from vinocast.data.regular import sha256_file
from vinocast.engine.folders import MANIFEST_FILE
from vinocast.engine.manifest import GOLDEN_FILE, IR_FILE, Source
from vinocast.evaluation.residuals import DECAY, GRID, Residuals, make_table
from vinocast.export.folder import files_below, save_ir
from vinocast.forecast.manifest import QUANTILES_FILE, Calibration, ForecasterManifest
from vinocast.forecast.market import CHANNELS, Market
from vinocast.forecast.quantiles import QuantileTable
from vinocast.training.market.candles import CONTEXT, HORIZON
from vinocast.training.market.graph import OUTPUTS, build_graph
from vinocast.training.market.made import made_windows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.training.market.candles import MarketData
    from vinocast.training.market.features import Scaling
    from vinocast.training.market.fit import Fitted

SOURCE_FILE = "source/weights.npz"
# In the unit of an output's errors: 1 of a logarithm, a recent return of a price.
GOLDEN_TOLERANCE = 1e-4


def section(data: MarketData, scaling: Scaling) -> Market:
    """Return the manifest's section: means and deviations of the training bars, of each channel and each output."""
    rows = data.rows[: data.targets["train"][1]].astype(np.float64)
    inputs: dict[str, dict[str, float | str]] = {}
    for place, channel in enumerate(CHANNELS):
        values = np.log1p(rows[:, place]) if channel == "volume" else rows[:, place]
        inputs[channel] = {
            "transform": "log1p" if channel == "volume" else "none",
            "mean": 0.0 if channel == "rsi" else float(values.mean()),
            "deviation": 100.0 if channel == "rsi" else float(values.std()),
        }
    logs = {
        name: {"mean": mean, "deviation": deviation}
        for name, mean, deviation in zip(OUTPUTS[3:], scaling.means, scaling.deviations, strict=True)
    }
    prices = {name: inputs[name] for name in OUTPUTS[:3]}
    floors = dict(zip(("log_range", "log_volatility"), scaling.floors, strict=True))
    return Market.model_validate({"bar": data.bar, "inputs": inputs, "outputs": prices | logs, "floors": floors})


def write_model(
    folder: Path, data: MarketData, market: Market, scaling: Scaling, fitted: Fitted, command: str
) -> ForecasterManifest:
    """Write the IR, golden vectors of bars of our own making, and the weights; return the manifest."""
    graph = build_graph(fitted.weights, scaling)
    save_ir(graph, folder / IR_FILE)
    inputs = made_windows(CONTEXT)
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.savez_compressed(folder / GOLDEN_FILE, inputs=inputs, outputs=compiled(inputs)[0])
    file = io.BytesIO()
    np.savez_compressed(file, weights=fitted.weights.astype(np.float32), **asdict(scaling))
    (folder / SOURCE_FILE).parent.mkdir()
    (folder / SOURCE_FILE).write_bytes(file.getvalue())
    words = data.options
    return ForecasterManifest(
        name=folder.name,
        layout="window",
        context=CONTEXT,
        horizon=HORIZON,
        channels=list(CHANNELS),
        precision="f32",
        market=market,
        golden_tolerance=GOLDEN_TOLERANCE,
        files=hashes(folder),
        source=Source(
            name=data.name,
            sha256={data.name: data.sha256},
            options={word.removeprefix("--"): value for word, value in zip(words[::2], words[1::2], strict=True)},
        ),
        tools={"vinocast": __version__} | {tool: version(tool) for tool in ("numpy", "openvino", "TA-Lib")},
        command=command,
    )


def write_bands(
    folder: Path, data: MarketData, manifest: ForecasterManifest, points: NDArray[np.float32]
) -> ForecasterManifest:
    """Write the table of quantiles of a model's errors on the validation windows, and return the manifest with it.

    It stands in for a stream's own outcomes while there are too few.
    """
    market = manifest.market
    assert market is not None  # noqa: S101 - it is written here
    begins, columns = data.begins("validation"), len(market.outputs)
    came = np.lib.stride_tricks.sliding_window_view(market.outcomes(data.rows), HORIZON, axis=0)[begins]
    scales = np.stack([market.scales(data.rows[begin - CONTEXT : begin]) for begin in begins.tolist()])
    scaled = (came - points.transpose(0, 2, 1)) / scales[:, :, None]
    count = np.arange(len(begins))
    residuals = Residuals(
        scaled.reshape(-1, HORIZON).astype(np.float32),
        np.tile(np.arange(columns), len(begins)),
        np.zeros(scaled.shape[0] * columns, np.int64),
        np.repeat(count, columns),
        np.repeat(count[::-1], columns),
    )
    by_output, figures = make_table(residuals, HORIZON, range(columns), DECAY)
    others, other_figures = make_table(residuals, HORIZON, None, DECAY)
    (folder / QUANTILES_FILE).write_bytes(QuantileTable(GRID, by_output, others).packed())
    made = {
        part: Calibration(data=data.name, sha256=data.sha256, options={"decay": repr(DECAY)}, held_back=held)
        for part, held in (("channels", figures), ("others", other_figures))
    }
    return manifest.model_copy(update={"calibration": made, "files": hashes(folder)})


def hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a folder but its manifest, by name."""
    files = {path.relative_to(folder).as_posix(): path for path in files_below(folder)}
    return {name: sha256_file(path) for name, path in files.items() if name != MANIFEST_FILE}
