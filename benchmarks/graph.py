"""The rewritten graph against the stock one: same weights, same process, same threads, f32, measured in turns.

    python -m benchmarks.graph --source FOLDER_OR_HUB_ID

Exits with 1 when the forecasts differ, or when the rewritten graph is slower than the bar set for it: of the stock
graph's median for one window, at most 0.70 for the whole window and 0.15 for a single series of it. The bars are those
of a model of seven channels whose head reads the CLS token.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.in_force import read_back
from vinocast.engine.profiles import DEFAULT_PROFILE, PROFILES
from vinocast.engine.tuned import find_profile
from vinocast.export.families.patchtst.graph import build_graph
from vinocast.export.families.patchtst.optimum import export_stock
from vinocast.export.families.patchtst.source import read_source

WINDOW_BAR = 0.70
SERIES_BAR = 0.15
TOLERANCE = 1e-5
TURN = 10
SETTLE = 2


@click.command(context_settings={"show_default": True})
@click.option("--source", required=True, help="Folder or hub id of a PatchTSTForPrediction.")
@click.option("--profile", "profile_name", type=click.Choice(list(PROFILES)), default=DEFAULT_PROFILE)
@click.option("--turns", type=click.IntRange(1), default=60, help=f"Turns of {TURN} inferences for each graph.")
def main(source: str, profile_name: str, turns: int) -> None:
    """Time the stock graph and the rewritten one, and compare what they forecast."""
    profile, budget = find_profile(profile_name), cpu_budget()
    Compiler(profile, budget)  # has OpenVINO load its CPU plugin under the profile's cap
    core = ov.Core()
    files = read_source(source)
    architecture = files.architecture
    if architecture.layout != "series":
        raise click.UsageError("the channels of this model cannot stand for each other: no single series to time")
    context, channels = architecture.context_length, architecture.num_input_channels
    window = np.random.default_rng(0).standard_normal((1, context, channels)).cumsum(1).astype(np.float32)
    series = np.ascontiguousarray(window[0].T)
    with tempfile.TemporaryDirectory() as folder:
        stock = core.read_model(export_stock(source, Path(folder) / "stock.xml"))
    rewritten = build_graph(architecture, files.weights())

    requests: dict[str, ov.InferRequest] = {}
    for name, graph, inputs in (
        (f"stock, {channels} series", stock, window),
        (f"rewritten, {channels} series", rewritten, series),
        ("rewritten, 1 series", rewritten, series[:1]),
    ):
        static = graph.clone()
        static.reshape(list(inputs.shape))
        compiled = core.compile_model(static, "CPU", profile.plugin_config(budget))
        requests[name] = compiled.create_infer_request()
        requests[name].get_input_tensor().data[:] = inputs
        requests[name].infer()
    in_force = read_back(compiled, "CPU", profile.plugin_config(budget))
    click.echo(f"{source}, profile {profile.name}: {in_force}")

    answers = [np.array(request.get_output_tensor().data) for request in requests.values()]
    expected, scale = answers[0][0].T, series.std(1, keepdims=True)
    difference = max(
        float((np.abs(answer - expected[: len(answer)]) / scale[: len(answer)]).max()) for answer in answers[1:]
    )
    times = _measure(requests, turns)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    base, whole, single = medians.values()

    click.echo(f"{'graph':24}{'median':>9}{'p99':>9}{'min':>9}  ms {'ratio':>7}")
    for name, values in times.items():
        row = "".join(f"{value * 1e3:9.3f}" for value in (medians[name], np.quantile(values, 0.99), values.min()))
        click.echo(f"{name:24}{row}     {medians[name] / base:7.3f}")
    click.echo(f"largest difference of the forecasts: {difference:.1e} of the deviation (at most {TOLERANCE:.0e})")
    failures = [
        *(["the forecasts differ"] if not difference <= TOLERANCE else []),
        *([f"{channels} series take more than {WINDOW_BAR} of the stock graph"] if whole > WINDOW_BAR * base else []),
        *([f"1 series takes more than {SERIES_BAR} of the stock graph"] if single > SERIES_BAR * base else []),
    ]
    if failures:
        raise click.ClickException("; ".join(failures))


def _measure(requests: dict[str, ov.InferRequest], turns: int) -> dict[str, NDArray[np.float64]]:
    """Return seconds of each inference; short turns, so that what else the machine does falls on all alike."""
    times: dict[str, list[float]] = {name: [] for name in requests}
    for _ in range(turns):
        for name, request in requests.items():
            for index in range(SETTLE + TURN):
                start = time.perf_counter()
                request.infer()
                if index >= SETTLE:
                    times[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
