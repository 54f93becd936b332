"""One run: start every server, check that all forecast the same, then load them in turn, round by round."""

from __future__ import annotations

import os
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
from vinocast.engine.cpu import cpu_budget, processor
from vinocast.errors import SetupError
from vinocast.forecast.manifest import open_forecaster
from vinocast.measure.bench.requests import random_windows
from vinocast.measure.children import sharpen_timers
from vinocast.settings import Settings

from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.figures import CLIENTS, Report, bars
from benchmarks.peers.graphs import Graphs
from benchmarks.peers.processes import PeerProcess
from benchmarks.peers.server import Server, start_ours, start_peer
from benchmarks.peers.venvs import ensure_venv


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        model: folder of the model as ours serves it.
        source: folder of the Hugging Face model that it was converted from.
        stock: its stock graph as an IR; None to export it.
        venvs: folder of the peers' virtual environments.
        peers: names of those to run.
        seconds: of each load, in all rounds together.
        rounds: turns that the seconds are cut into.
        profile: of ours.
    """

    model: Path
    source: Path
    stock: Path | None
    venvs: Path
    peers: Sequence[str]
    seconds: float
    rounds: int
    profile: str


def run(plan: Plan) -> Report:
    """Measure everything, with progress on standard error, and return the report.

    A peer that cannot be made, does not start, forecasts something else or breaks off is left out, and the report says
    why. Raises SetupError when ours does.
    """
    # When this process is told to end, the ones it measures must end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sharpen_timers()
    manifest = open_forecaster(plan.model).manifest
    windows = random_windows(manifest.context, len(manifest.channels))
    failures: dict[str, str] = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True)))
        # The environments first: nothing else is to run while a server's start is timed.
        graphs = Graphs(plan.source, plan.stock, plan.venvs, scratch)
        ready: dict[str, Path] = {}
        for name in plan.peers:
            peer = PEERS[name]
            try:
                ensure_venv(plan.venvs / peer.venv, peer.requirements)
                ready[name] = graphs.path(peer.graph)
            except (SetupError, OSError) as error:
                failures[peer.title] = _reason(error)

        click.echo("starting vinocast", err=True)
        settings = Settings(models=plan.model.parent, default_model=plan.model.name, profile=plan.profile)
        servers = list(start_ours(stack, settings, windows, manifest.horizon))
        expected = servers[0].forecasts()
        for server in servers:
            server.compare(expected, windows)
        for name, graph in ready.items():
            peer = PEERS[name]
            click.echo(f"starting {peer.title}", err=True)
            try:
                with ExitStack() as own:
                    process = own.enter_context(PeerProcess(peer, plan.venvs / peer.venv, graph, scratch))
                    server = start_peer(peer, process, windows, manifest.horizon)
                    server.compare(expected, windows)
                    process.freeze()
                    stack.push(own.pop_all())
                servers.append(server)
            except (SetupError, OSError, ValueError) as error:
                failures[peer.title] = _reason(error)
        failures |= _measure(servers, plan)
        rows = [server.row() for server in servers if server.title not in failures]
    machine = {
        "cpu": processor().name,
        "cores": cpu_budget().cores,
        # Of the last minute of the run. Beyond the cores there are, others were at work.
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "model": plan.model.name,
        "profile": plan.profile,
    }
    return Report(machine, plan.seconds, plan.rounds, rows, bars(rows), failures)


def _measure(servers: Sequence[Server], plan: Plan) -> dict[str, str]:
    """Load all servers in turn; return why some of the peers could not go on to the end."""
    failures: dict[str, str] = {}
    with click.progressbar(length=plan.rounds * len(servers), label="measuring", file=sys.stderr) as bar:
        for _ in range(plan.rounds):
            for server in servers:
                bar.update(1)
                if server.title in failures:
                    continue
                try:
                    with server.awake():
                        for clients in CLIENTS:
                            server.load(clients, plan.seconds / plan.rounds)
                except (SetupError, OSError, ValueError) as error:
                    if not server.peer:
                        raise
                    failures[server.title] = _reason(error)
    return failures


def _reason(error: Exception) -> str:
    """Return an error's first line and its last, which of a log is where it says why it ended."""
    first, *others = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    return " … ".join([first, *others[-1:]])
