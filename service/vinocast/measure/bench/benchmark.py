"""One run of the benchmark: every load in turn, round by round, so that drift of the machine falls on all alike."""

from __future__ import annotations

import itertools
import os
import platform
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vinocast import __version__
from vinocast.data.bundled import bundled_models
from vinocast.engine.cpu import cpu_budget, processor
from vinocast.engine.repository import Repository
from vinocast.errors import SetupError
from vinocast.forecast.kind import FORECASTER
from vinocast.forecast.manifest import ForecasterFolder
from vinocast.kinds import KINDS
from vinocast.measure.bench import figures, requests
from vinocast.measure.bench.figures import MATMUL, Cell, Raw, Row, Samples, Split, median
from vinocast.measure.bench.load import ClosedLoop, OpenLoop
from vinocast.measure.bench.processes import (
    HttpService,
    RawModel,
    Service,
    StdioService,
    first_answer_seconds,
    import_seconds,
)
from vinocast.measure.children import sharpen_timers
from vinocast.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vinocast.measure.bench.load import Body, Client, Slice
    from vinocast.progress import Progress
    from vinocast.settings import Settings

CLIENTS = (1, 4, 16)
# Each slice of a load begins with a few requests that are not measured: the load before it has filled the caches.
SETTLE = 3


@dataclass(frozen=True)
class Plan:
    """How much to measure.

    Attributes:
        seconds: of each load and graph, in all rounds together.
        rounds: turns that the seconds are cut into.
        starts: starts of the service, and imports of OpenVINO, to take the median of.
        rates: arrivals per second of the open loops.
    """

    seconds: float = 2.0
    rounds: int = 10
    starts: int = 5
    rates: tuple[float, ...] = (100.0, 300.0)


QUICK = Plan(seconds=0.12, rounds=1, starts=1)


@dataclass(frozen=True)
class BenchmarkResults:
    """What a run found. Times are milliseconds unless a name says otherwise; memory is MB of 10^6 bytes."""

    machine: dict[str, Any]
    plan: Plan
    matmul_gflops: float
    raw: list[Raw]
    loads: list[Row]
    split: list[Split]
    start_up_seconds: dict[str, float]
    memory_mb: dict[requests.Transport, dict[str, float]]


def run(settings: Settings, stock: Path | None, plan: Plan) -> BenchmarkResults:
    """Measure everything, with its progress on standard error, and return the results.

    Args:
        settings: of the services, as ``serve`` and ``stdio`` take them.
        stock: the stock graph's IR, or a folder with one, to measure beside ours.
        plan: how much to measure.

    Raises:
        SetupError: a process under measurement does not come up, ends, or does not answer.
    """
    # When this process is told to end, the ones it measures must end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sharpen_timers()
    folder = (
        Repository(settings.models or bundled_models(), settings.default_model, KINDS).find(FORECASTER, None).folder
    )
    channels = len(folder.manifest.channels)
    windows = requests.random_windows(folder.manifest.context, channels)
    cells = {cell: Samples() for cell in plan_cells(channels, plan.rates)}
    bodies = {
        cell: itertools.cycle(
            # One target is the last channel; the empty request has none.
            requests.forecasts(cell.transport, cell.form, windows, [channels - 1] if cell.targets == 1 else None)
        )
        for cell in cells
    }

    with ExitStack() as stack:
        raw = stack.enter_context(
            RawModel(folder=str(folder.path), profile=settings.profile, stock=stock and str(find_ir(stock)))
        )
        described = raw.describe()
        graphs: dict[str, list[float]] = {name: [] for name in described["multiply_adds"]}
        steps = plan.starts + 1 + plan.rounds * (len(graphs) + len(cells))
        bar = stack.enter_context(progress(steps, "measuring"))
        start_up = _start_up(settings, next(bodies[Cell("stdio", "base64", channels, clients=1)]), plan.starts, bar)
        stdio, http = stack.enter_context(StdioService(settings)), stack.enter_context(HttpService(settings))
        services: dict[requests.Transport, Service] = {"stdio": stdio, "http": http}
        for transport, service in services.items():
            service.client().ask(requests.observations(transport, windows))
            service.wait_until_quiet()
        memory = {transport: {"start": service.rss_mb} for transport, service in services.items()}
        for _ in range(plan.rounds):
            for graph in graphs:
                graphs[graph] += raw.measure(graph, plan.seconds / plan.rounds)
                bar.update(1)
            for cell, samples in cells.items():
                part = _load(services[cell.transport].client(), cell, bodies[cell], plan.seconds / plan.rounds)
                samples.add(part, refused=cell.form == "empty")
                bar.update(1)
        for transport, service in services.items():
            memory[transport]["end"] = service.rss_mb

    rows = [figures.figures(cell, samples) for cell, samples in cells.items()]
    work = described["multiply_adds"]
    rate = figures.gflops(work[MATMUL], graphs.pop(MATMUL))
    return BenchmarkResults(
        machine=_machine(settings, folder, described),
        plan=plan,
        matmul_gflops=round(rate, 1),
        raw=[figures.raw(graph, times, work[graph], rate) for graph, times in graphs.items()],
        loads=rows,
        split=figures.split(rows),
        start_up_seconds=start_up,
        memory_mb=memory,
    )


def _start_up(settings: Settings, body: Body, count: int, bar: Progress) -> dict[str, float]:
    """Return the medians of ``count`` starts each, in turns; one more comes first, which fills the page cache."""
    seconds: dict[str, list[float]] = {"import openvino": [], "stdio, first answer": []}
    for _ in range(count + 1):
        seconds["import openvino"].append(import_seconds())
        seconds["stdio, first answer"].append(first_answer_seconds(settings, body))
        bar.update(1)
    return {what: median(values[1:]) for what, values in seconds.items()}


def _load(client: Client, cell: Cell, bodies: Iterator[Body], seconds: float) -> Slice:
    client.ask(list(itertools.islice(bodies, SETTLE)))
    schedule = ClosedLoop(seconds) if cell.rate is None else OpenLoop(cell.rate, seconds)
    return client.drive(schedule, bodies, cell.clients)


def _machine(settings: Settings, folder: ForecasterFolder, described: dict[str, Any]) -> dict[str, Any]:
    return {
        "cpu": processor().name,
        "cores": cpu_budget().cores,
        # Of the last minute of the run. Beyond the cores there are, others were at work.
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "openvino": described["openvino"],
        "vinocast": __version__,
        "model": folder.label,
        "profile": settings.profile,
        "in_force": described["in_force"],
    }


def plan_cells(channels: int, rates: tuple[float, ...]) -> list[Cell]:
    """Return the loads of a run: closed loops, open loops, and a request of nothing for each transport."""
    counts = dict.fromkeys((channels, 1))
    forms = [(transport, form) for transport in requests.TRANSPORTS for form in requests.FORMS]
    return [
        *(Cell(*form, targets, clients=clients) for form in forms for targets in counts for clients in CLIENTS),
        *(Cell(*form, targets, rate=rate) for form in forms for targets in counts for rate in rates),
        *(Cell(transport, "empty", 0, clients=1) for transport in requests.TRANSPORTS),
    ]


def find_ir(path: Path) -> Path:
    """Return the IR that a path means: itself, or the one in that folder; raises SetupError."""
    if path.is_file():
        return path
    found = sorted(path.glob("*.xml"))
    if len(found) != 1:
        raise SetupError(f"--stock {path}: expected an IR, or a folder with one, found {len(found)}")
    return found[0]
