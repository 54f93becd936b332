"""A server of a run, ours or a peer: what it is asked, how its replies are read, and what it has given."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from vinocast.errors import SetupError
from vinocast.measure.bench import requests
from vinocast.measure.bench.load import Body, Client, ClosedLoop
from vinocast.measure.bench.processes import HttpService, Service, StdioService
from vinocast.measure.children import Process
from vinocast.settings import Settings

from benchmarks.peers.catalogue import Peer, read_predictions
from benchmarks.peers.figures import CLIENTS, Row, Samples, load
from benchmarks.peers.processes import PeerProcess

# Before each stretch of load: the one before it has filled the caches, and a frozen server has to catch up.
SETTLE_SECONDS = 0.25
TOLERANCE = 1e-3
Windows = Sequence[NDArray[np.float32]]


@dataclass
class Server:
    """A running server.

    Attributes:
        title: in the table.
        transport: that it is asked over.
        shape: of a forecast, [horizon, targets].
        process: that serves.
        connect: returns as many clients as asked for.
        bodies: a request for each window.
        read: finds the forecast in a parsed reply.
        awake: the time in which it runs; a peer is frozen at all others.
        start_up: seconds from spawn to first answer.
        difference: largest from our forecasts, in deviations of the channel's window.
        samples: by the number of clients.
    """

    title: str
    transport: requests.Transport
    shape: tuple[int, int]
    process: Process
    connect: Callable[[int], Client]
    bodies: Sequence[Body]
    read: Callable[[Any], Any] = read_predictions
    awake: Callable[[], AbstractContextManager[object]] = nullcontext
    start_up: float = 0.0
    difference: float = 0.0
    samples: dict[int, Samples] = field(default_factory=lambda: {clients: Samples() for clients in CLIENTS})

    @property
    def peer(self) -> bool:
        """Whether it is one of the peers."""
        return isinstance(self.process, PeerProcess)

    def forecasts(self) -> NDArray[np.float64]:
        """Return the forecasts [windows, horizon, targets] of all windows, asked one by one."""
        return np.array([self._forecast(reply) for reply in self.connect(1).ask(self.bodies)])

    def compare(self, expected: NDArray[np.float64], windows: Windows) -> None:
        """Note how far its forecasts are from those expected; raises SetupError when that is too far."""
        targets = slice(-self.shape[1], None)
        scale = np.std(windows, axis=1, keepdims=True)[..., targets]
        self.difference = float((np.abs(self.forecasts() - expected[..., targets]) / scale).max())
        if not self.difference <= TOLERANCE:
            raise SetupError(f"its forecasts differ from ours by {self.difference:.1e} of the deviation")

    def load(self, clients: int, seconds: float) -> None:
        """Load it for some seconds, after a while that does not count, and keep what it gave."""
        client, bodies, samples = self.connect(clients), itertools.cycle(self.bodies), self.samples[clients]
        client.drive(ClosedLoop(SETTLE_SECONDS), bodies, clients)
        used = self.process.cpu_seconds
        part = client.drive(ClosedLoop(seconds), bodies, clients)
        samples.cpu_seconds += self.process.cpu_seconds - used
        samples.seconds += part.seconds
        for latency, reply in zip(part.latencies, part.replies, strict=True):
            try:
                self._forecast(reply)
            except SetupError:
                samples.failed += 1
            else:
                samples.latency_ms.append(latency * 1e3)

    def row(self) -> Row:
        """Return its figures."""
        return Row(
            title=self.title,
            transport=self.transport,
            targets=self.shape[1],
            peer=self.peer,
            loads={clients: load(samples) for clients, samples in self.samples.items()},
            rss_mb=round(self.process.rss_mb, 1),
            start_up_seconds=round(self.start_up, 2),
            difference=self.difference,
        )

    def _forecast(self, reply: bytes) -> NDArray[np.float64]:
        try:
            forecast = np.asarray(self.read(orjson.loads(reply)), np.float64)
        except (ValueError, TypeError, LookupError):
            raise SetupError(f"no forecast in its reply: {reply[:200].decode(errors='replace')}") from None
        if forecast.shape != self.shape or not np.isfinite(forecast).all():
            raise SetupError(f"expected a finite forecast {list(self.shape)}, got {list(forecast.shape)}")
        return forecast


def start_ours(stack: ExitStack, settings: Settings, windows: Windows, horizon: int) -> Iterator[Server]:
    """Start ours over HTTP and over lines, until ``stack`` is closed; each stands for all targets and for one."""
    channels = windows[0].shape[1]
    services: dict[requests.Transport, type[HttpService | StdioService]] = {"http": HttpService, "stdio": StdioService}
    for transport, start in services.items():
        service: Service = stack.enter_context(start(settings))
        start_up = 0.0
        for targets in (None, [channels - 1]):
            bodies = requests.forecasts(transport, "json", list(windows), targets)
            if not start_up:
                service.client().ask(bodies[:1])
                start_up = time.perf_counter() - service.spawned
                service.wait_until_quiet()
            title = "vinocast serve" if transport == "http" else "vinocast stdio"
            shape = (horizon, 1 if targets else channels)
            yield Server(title, transport, shape, service, _client_of(service), bodies, start_up=start_up)


def start_peer(peer: Peer, process: PeerProcess, windows: Windows, horizon: int) -> Server:
    """Return a started peer once it answers; raises SetupError when it does not."""
    bodies = [peer.write(window) for window in windows]
    start_up = process.first_answer(bodies[0])
    return Server(
        peer.title,
        "http",
        (horizon, windows[0].shape[1]),
        process,
        process.client,
        [_request(peer.path, body) for body in bodies],
        peer.read,
        process.awake,
        start_up,
    )


def _client_of(service: Service) -> Callable[[int], Client]:
    return lambda _clients: service.client()


def _request(path: str, body: bytes) -> Body:
    """Return a POST whose id, which no peer asks for, is in a header."""
    fields = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return Body(f"POST {path} HTTP/1.1\r\n{fields}\r\nX-Id: ".encode(), b"\r\n\r\n" + body)
