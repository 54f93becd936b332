"""What raw messages of an exchange cost, and how soon after a bar's close its forecast is there, over lines.

    python -m benchmarks.market

Prints how many messages a second one core takes, parsed and answered, one a line and many a line; the time from the
trade that closes a bar to its pushed forecast, less the inference; and the memory of 1,000 streams. Exits with 1 where
one of these does not hold: 50,000 messages a second of processor time, 0.3 ms, 64 MB.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import click
import numpy as np
import orjson

LEAST_MESSAGES, MOST_MS, MOST_MB = 50_000, 0.3, 64.0
START = 1_772_600_400
BAR = 300
BARS = 900
# Trades of three bars, as many a second as BTC-USD has.
TRADES_A_SECOND = 1.5
# The messages go in so many parts: other work of the machine slows some of them.
ROUNDS = 10
# Without any work of the service, after which it has loaded all that it will.
SETTLED_SECONDS = 1.0
TICKS = os.sysconf("SC_CLK_TCK")


class Lines:
    """``vinocast stdio``, asked over its pipes."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "vinocast", "stdio", *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin
        assert self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._in.close()
        self._process.wait()
        self._out.close()

    def send(self, request: dict[str, Any]) -> None:
        """Send a request."""
        self._in.write(orjson.dumps(request) + b"\n")
        self._in.flush()

    def read(self) -> bytes:
        """Return the next line."""
        return self._out.readline()

    def receive(self) -> dict[str, Any]:
        """Return the next line, parsed."""
        reply: dict[str, Any] = orjson.loads(self.read())
        return reply

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the next line."""
        self.send(request)
        return self.receive()

    def settle(self) -> None:
        """Wait until every model and shape has loaded."""
        assert self.ask({"op": "ping"})["ready"]
        before = -1.0
        while (now := self.cpu_seconds) != before:
            before = now
            time.sleep(SETTLED_SECONDS)

    def pour(self, lines: Sequence[bytes]) -> tuple[float, float]:
        """Send lines as fast as they are taken; return the seconds until all are answered, and the processor time."""
        cpu, start = self.cpu_seconds, time.perf_counter()
        writer = threading.Thread(target=self._write, args=(b"".join(lines),))
        writer.start()
        for _ in lines:
            assert b'"success":true' in self._out.readline()
        seconds = time.perf_counter() - start
        writer.join()
        return seconds, self.cpu_seconds - cpu

    def _write(self, text: bytes) -> None:
        self._in.write(text)
        self._in.flush()

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the service so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def resident_mb(self) -> float:
        """Memory of the service."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1e3


def trades(count: int) -> Iterator[dict[str, Any]]:
    """Trades as the Exchange feed tells of them, a walk of prices."""
    random = np.random.default_rng(1)
    prices = (65_000 * np.exp(random.normal(0, 1e-5, count).cumsum())).round(2).tolist()
    for number, price in enumerate(prices):
        seconds = number / TRADES_A_SECOND
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(START + seconds))
        yield {
            "type": "match",
            "trade_id": number + 1,
            "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
            "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1",
            "side": "sell",
            "size": "0.00217",
            "price": str(price),
            "product_id": "BTC-USD",
            "sequence": 3 * number,
            "time": f"{stamp}.{int(seconds % 1 * 1e6):06d}Z",
        }


def candles(count: int) -> list[list[float]]:
    """Candles that end where the trades of :func:`close_bars` begin."""
    closes = 65_000 + 50 * np.sin(np.arange(count) / 20)
    return [[START + BAR * (i - count), c - 5, c + 5, c, c, 2.0] for i, c in enumerate(closes.tolist())]


def throughput(messages: int) -> bool:
    """Print how many messages a second are taken; return whether they are as many as they are to be."""
    sent = list(trades(messages))
    good = True
    for name, size in (("one a line", 1), ("100 a line", 100), ("1,000 a line", 1000)):
        lines = [
            orjson.dumps(
                {"op": "feed", "request_id": at, "message": sent[at]}
                if size == 1
                else {"op": "feed", "request_id": at, "messages": sent[at : at + size]}
            )
            + b"\n"
            for at in range(0, messages, size)
        ]
        each = len(lines) // ROUNDS
        with Lines() as service:
            service.settle()
            taken = [service.pour(lines[at : at + each]) for at in range(0, each * ROUNDS, each)]
        clock, processor = ([each * size / seconds for seconds in column] for column in zip(*taken, strict=True))
        good &= max(processor) >= LEAST_MESSAGES
        for kind, rates in (("the clock", clock), ("processor time", processor)):
            print(f"{name:13} messages/s of {kind:15} median {np.median(rates):>9,.0f}  best {max(rates):>9,.0f}")
    return good


def latency(rounds: int) -> bool:
    """Print the time from a bar's close to its pushed forecast; return whether it is as short as it is to be."""
    beside = []
    with Lines() as service:
        service.settle()
        assert service.ask({"op": "history", "stream": "BTC-USD@5m", "candles": candles(BARS)})["success"]
        for number, message in enumerate(trades(rounds)):
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + BAR * number + 1))
            request = {"op": "feed", "message": {**message, "time": at}, "on_bar": True}
            start = time.perf_counter()
            service.send(request)
            lines = service.read(), service.read()
            seconds = time.perf_counter() - start  # until they are there: what a client parses with is its own
            reply, pushed = map(orjson.loads, lines)
            assert len(reply["closed"]) == 1
            assert pushed["success"], pushed
            beside.append(seconds * 1e3 - pushed["inference_time_ms"])
    best, p50, p99 = np.quantile(beside, (0.05, 0.5, 0.99))
    print(f"a bar's close to its pushed forecast, less inference: p5 {best:.3f} ms, p50 {p50:.3f}, p99 {p99:.3f}")
    return bool(p50 <= MOST_MS)


def memory(streams: int) -> bool:
    """Print what so many streams of 900 bars take; return whether it is as little as it is to be."""
    with Lines("--max-streams", str(streams)) as service:
        service.settle()
        rows = candles(BARS)
        service.ask({"op": "history", "stream": "FIRST-USD@5m", "candles": rows})
        service.ask({"stream": "FIRST-USD@5m"})
        before = service.resident_mb
        for number in range(streams - 1):
            assert service.ask({"op": "history", "stream": f"P{number}-USD@5m", "candles": rows})["success"]
            assert service.ask({"stream": f"P{number}-USD@5m", "targets": [0]})["success"]
        taken = service.resident_mb - before
    print(f"{streams:,} streams of {BARS} bars, each forecast once: {taken:.1f} MB")
    return taken <= MOST_MB


@click.command(context_settings={"show_default": True})
@click.option(
    "--messages", type=click.IntRange(10_000, 10**7), default=100_000, help="Messages of each way to send them."
)
@click.option("--rounds", type=click.IntRange(10, 10_000), default=300, help="Bars that close.")
@click.option("--streams", type=click.IntRange(2, 10_000), default=1000, help="Market streams.")
def main(messages: int, rounds: int, streams: int) -> None:
    """Measure market streams over lines."""
    held = [throughput(messages), latency(rounds), memory(streams)]
    if not all(held):
        sys.exit(1)


if __name__ == "__main__":
    main()
