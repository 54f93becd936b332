"""Snapshots of market streams: is a whole one left whenever the service is killed, and what do they cost?

    python -m benchmarks.state --streams 1000 --kills 50

Fills a service over lines with market streams of 900 bars each and has it end. The one after it is asked for forecasts
of a window while it writes a snapshot every second, and the times of those that one was written beside are told apart.
Then kills a service that often at a moment of chance in a snapshot, and looks whether the file has
every stream in it, whole, and the next service them too.

Exits with 1 when a stream is lost.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import click
import numpy as np
import orjson
from vinocast.data.sealed import read
from vinocast.state import HEAD

VINOCAST = Path(sys.executable).parent / "vinocast"
PATIENCE = 120.0
BARS = 900
# For the models that a service still loads behind its first answer.
SETTLING_SECONDS = 20


class Lines:
    """A service over lines, whose streams are kept in a folder."""

    def __init__(self, folder: Path, log: IO[bytes], *options: str) -> None:
        self._log = log
        command = [str(VINOCAST), "stdio", "--state", str(folder), "--max-streams", "100000", *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a request, which has to succeed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orjson.dumps(request) + b"\n")
        self._process.stdin.flush()
        reply: dict[str, Any] = orjson.loads(self._process.stdout.readline())
        if not reply["success"]:
            raise click.ClickException(str(reply["error"]))
        return reply

    @property
    def restored(self) -> int:
        """How many streams it says that it has begun with."""
        self._log.seek(0)
        found = re.findall(rb"streams: (\d+) streams are as they were", self._log.read())
        return int(found[-1]) if found else 0

    @property
    def resident_mb(self) -> float:
        """What it has of the memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1e3

    def end(self) -> float:
        """End its input; return after how many seconds it has ended."""
        began = time.monotonic()
        self._process.communicate()
        return time.monotonic() - began

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.communicate()


def candles(seed: int) -> list[list[float]]:
    """Return candles of an exchange, with the numbers of a walk."""
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, BARS + 1)))
    starts = 1_700_000_100 + 300 * np.arange(BARS + 1)
    columns = (starts, closes - 1, closes + 1, closes, closes, rng.random(BARS + 1))
    rows: list[list[float]] = np.column_stack(columns).round(4).tolist()
    return rows


def fill(service: Lines, number: int) -> None:
    """Give a stream its bars, and have it forecast."""
    name = f"P{number}@5m"
    service.ask({"op": "history", "stream": name, "candles": candles(number)})
    service.ask({"stream": name})


def latencies(service: Lines, part: Path, seconds: float) -> tuple[list[float], list[float]]:
    """Return the milliseconds that forecasts took which no snapshot was written beside, and of the others."""
    beside: tuple[list[float], list[float]] = ([], [])
    request = {"past_values": np.random.default_rng(0).random((512, 7)).tolist()}
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        writing, began = part.exists(), time.monotonic()
        service.ask(request)
        beside[writing or part.exists()].append((time.monotonic() - began) * 1e3)
    return beside


def told(name: str, times: list[float]) -> str:
    """Return a line about some times in milliseconds."""
    if not times:
        return f"{name}: none"
    median, late = np.quantile(times, [0.5, 0.99])
    return f"{name}: median {median:.2f} ms, 99 % {late:.2f} ms, longest {max(times):.2f} ms, of {len(times)}"


@click.command()
@click.option("--streams", default=1000, help="Market streams.", show_default=True)
@click.option("--kills", default=50, help="Services that are killed in a snapshot.", show_default=True)
@click.option("--seconds", default=20, help="How long forecasts are asked for.", show_default=True)
def main(streams: int, kills: int, seconds: int) -> None:
    """Measure snapshots, and kill services in them."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile() as log:
        folder = Path(name)
        kept, part = folder / "streams", folder / "streams.part"
        service = Lines(folder, log, "--state-seconds", "1000000")
        fill(service, 0)
        time.sleep(SETTLING_SECONDS)
        fill(service, 0)
        empty = service.resident_mb
        for number in range(1, streams):
            fill(service, number)
        click.echo(f"{streams} streams of {BARS} bars, each forecast: {service.resident_mb - empty:.0f} MB")
        click.echo(f"the end took {service.end():.2f} s, the file has {kept.stat().st_size / 1e6:.1f} MB")
        began = time.monotonic()
        service = Lines(folder, log, "--state-seconds", "1")
        service.ask({"op": "ping"})
        click.echo(
            f"the first reply of the next service, which begins with them, came after {time.monotonic() - began:.2f} s"
        )
        latencies(service, part, 2)
        alone, beside = latencies(service, part, seconds)
        click.echo(told("forecasts beside no snapshot", alone))
        click.echo(told("forecasts beside a snapshot", beside))
        service.kill()
        midst = 0
        for _ in range(kills):
            log.truncate(0)
            part.unlink(missing_ok=True)
            service = Lines(folder, log, "--state-seconds", "1")
            limit = time.monotonic() + PATIENCE
            while not part.exists() or part.stat().st_size == 0:
                if time.monotonic() > limit:
                    raise click.ClickException("no snapshot was begun")
                time.sleep(0.001)
            time.sleep(chance.random() * 0.1)
            restored = service.restored
            service.kill()
            midst += part.exists()
            records = sum("product" in record for record in read(kept, HEAD))
            if not restored == records == streams:
                click.echo(f"of {streams} streams {restored} were begun with, and {records} are in the file")
                raise SystemExit(1)
        click.echo(f"{kills} services killed, {midst} of them in a snapshot: every stream was there each time")


if __name__ == "__main__":
    main()
