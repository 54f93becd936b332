"""A long run of mixed requests over both transports, every reply checked: does memory grow, does anything slow down?

    python -m benchmarks.soak

Windows as JSON, as base64 and by the name of a stream, all targets and some, observed rows, pings, statistics, bad
input of every kind, over HTTP glyphs, and clients that leave halfway. Exits with 1 at the first reply
that is missing, is one too many, or is wrong: a forecast must be, bit for bit, that of the model compiled for as many
series.

Prints, before the first request and after 10,000, 50,000, 100,000 and so on, the resident memory, open files and
threads of the service, and the round trip since the row above of forecasts of a whole window that had the service to
themselves. Exits with 1 too where memory grows by 2 MB or more after the first 10,000, or files or threads are left
behind:

    python -m benchmarks.soak --requests 1000000
"""

from __future__ import annotations

import base64
import select
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import orjson
from vinocast.data.bundled import BUNDLED_FORECASTER, BUNDLED_GENERAL, bundled_models
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.manifest import ModelFolder
from vinocast.engine.tuned import find_profile
from vinocast.forecast.engine import ForecastEngine, series_counts
from vinocast.forecast.manifest import open_forecaster
from vinocast.glyphs.manifest import GlyphsManifest
from vinocast.glyphs.rasters import decode_raster
from vinocast.glyphs.recognizer import Recognizer
from vinocast.kinds import open_model
from vinocast.measure.bench.figures import quantiles
from vinocast.measure.bench.load import FIRST_ID, ID_KEY, Body
from vinocast.measure.bench.processes import HttpService, Service, StdioService
from vinocast.measure.bench.requests import forecasts, observations, random_windows, request
from vinocast.measure.children import PATIENCE
from vinocast.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from vinocast.measure.bench.load import Wire
    from vinocast.measure.bench.requests import Form, Transport

RASTERS = Path(__file__).resolve().parent.parent / "examples" / "rasters"
WARM = 10_000
MARKS = (0, WARM, 50_000, *range(100_000, 1_000_000, 100_000))
REQUESTS = 100_000
MOST_GROWTH_MB = 2.0
# Requests that wait at once, at most; half of the time there is one.
TOGETHER = 4
MAX_REQUEST_BYTES = 1 << 17
CLIENTS_THAT_LEAVE = 500
# HTTP connections are made anew after so long: the service closes those that were idle for 5 s.
RENEWAL_SECONDS = 2.0
# Of requests computed together, which go through a shape of more series: relative to the largest value of the window.
ACROSS_SHAPES = 2e-6
TURNS = 64
Reply = dict[str, Any]
SERVICES: dict[Transport, type[StdioService | HttpService]] = {"stdio": StdioService, "http": HttpService}


@dataclass(frozen=True)
class Case:
    """A request and what it must be answered with.

    Attributes:
        body: the request but for its number.
        fields: fields of the reply.
        code: of the refusal, or None for a success.
        forecast: [horizon, targets], for a forecast.
        scale: largest value of its window.
        echoed: whether the reply can carry the request's number.
        whole: whether all targets are asked for, so that no other request is computed with it.
    """

    body: Body
    fields: Reply
    code: str | None = None
    forecast: NDArray[np.float32] | None = None
    scale: float = 0.0
    echoed: bool = True
    whole: bool = False


class Wrong(click.ClickException):
    """A reply that is not as it must be."""


@click.command(context_settings={"show_default": True})
@click.option("--requests", "count", type=click.IntRange(1), default=REQUESTS, help="Over each transport.")
@click.option(
    "--transport",
    "transports",
    type=click.Choice(list(SERVICES)),
    multiple=True,
    default=tuple(SERVICES),
    help="One of them alone.",
)
def main(count: int, transports: tuple[Transport, ...]) -> None:
    """Send the requests to `vinocast stdio`, then to `vinocast serve`, and print what they took."""
    settings = Settings(max_request_bytes=MAX_REQUEST_BYTES)
    model = open_forecaster(bundled_models() / BUNDLED_FORECASTER)
    forecaster = ForecastEngine(model)
    compiler = Compiler(find_profile(settings.profile), cpu_budget())
    forecaster.load(compiler)
    forecaster.load_rest(compiler)
    # `stdio` loads the glyph model for the first request that asks for it, which a pipeline of forecasts never does.
    glyphs = _glyphs(compiler) if "http" in transports else []
    print(f"{'transport':10}{'requests':>9}{'MB':>8}{'files':>7}{'threads':>9}{'p50':>8}{'p99':>8}  ms")
    for transport in transports:
        with SERVICES[transport](settings) as service:
            _Soak(transport, service, forecaster, glyphs if transport == "http" else []).run(count)


class _Soak:
    def __init__(self, transport: Transport, service: Service, forecaster: ForecastEngine, glyphs: list[Case]) -> None:
        self._transport, self._service = transport, service
        self._random = np.random.default_rng(0)
        self._windows = random_windows(forecaster.manifest.context, len(forecaster.manifest.channels))
        self._cases = _cases(transport, forecaster, self._windows) + glyphs
        self._rolling = _rolling(transport, forecaster, self._windows[0])
        self._shapes = {
            name: sorted(series_counts(len(open_forecaster(bundled_models() / name).manifest.channels)))
            for name in (BUNDLED_FORECASTER, BUNDLED_GENERAL)
        }
        self._wires: list[Wire] = []
        self._renewed = 0.0
        self._number = FIRST_ID
        self._sent = 0
        self._alone_ms: list[float] = []
        # By how many had been sent: MB, files, threads.
        self._taken: dict[int, tuple[float, int, int]] = {}

    def run(self, count: int) -> None:
        for body in observations(self._transport, self._windows):
            self._exchange([Case(body, {"rows": 512, "missing": 0})])
        while not self._loaded(self._exchange(_pings(self._transport)[:1])[0]["models"]):
            time.sleep(0.1)
        self._service.wait_until_quiet()
        self._sent, self._alone_ms = 0, []
        marks = [mark for mark in MARKS if mark < count] + [count]
        step = 0
        while marks:
            if self._sent >= marks[0]:
                self._print()
                marks.pop(0)
            if step % CLIENTS_THAT_LEAVE == 0 and isinstance(self._service, HttpService):
                _leave(self._service.port)
            if step % 50 == 0:
                self._exchange([self._rolling[step // 50 % len(self._rolling)][0]])
                self._exchange([self._rolling[step // 50 % len(self._rolling)][1]])
            together = 1 if step % 2 else int(self._random.integers(2, TOGETHER + 1))
            self._exchange(self._pick(together))
            step += 1
        self._check_taken()

    def _loaded(self, models: list[Reply]) -> bool:
        """Return whether all shapes are there: until one is, a larger one stands in for it, and memory grows."""
        found = {model["name"]: model["batch_sizes"] for model in models}
        return all(found[name] == shapes for name, shapes in self._shapes.items())

    def _check_taken(self) -> None:
        """Raise Wrong where the service has grown."""
        first, *_, last = self._taken.values()
        if first[1:] != last[1:]:
            raise Wrong(f"files and threads: {first[1:]} at first, {last[1:]} at last")
        warm = [mb for sent, (mb, _, _) in self._taken.items() if sent >= WARM]
        if len(warm) > 1 and warm[-1] - warm[0] >= MOST_GROWTH_MB:
            raise Wrong(f"memory: {warm[-1] - warm[0]:+.1f} MB after the first {WARM} requests")

    def _pick(self, count: int) -> list[Case]:
        """Draw some cases, one of them at most whose reply does not say which request it is for."""
        drawn = [self._cases[index] for index in self._random.integers(len(self._cases), size=count)]
        nameless = [case for case in drawn if not case.echoed]
        return [case for case in drawn if case.echoed] + nameless[:1]

    def _exchange(self, cases: list[Case]) -> list[Reply]:
        """Send some requests at once, each on a connection of its own where there are some; return checked replies."""
        if time.monotonic() > self._renewed + RENEWAL_SECONDS:
            self._wires, self._renewed = self._service.wires(), time.monotonic()
        replies = []
        waiting: dict[int, tuple[Case, Wire]] = {}
        start = time.perf_counter()
        for case in cases:
            self._number += 1
            wire = self._wires[self._number % len(self._wires)]
            waiting[self._number] = case, wire
            wire.send(case.body, self._number)
            while wire.unsent:
                select.select([], [wire.write_fd], [], PATIENCE)
                wire.flush()
        while waiting:
            readable, _, _ = select.select({wire.read_fd for _, wire in waiting.values()}, [], [], PATIENCE)
            if not readable:
                raise Wrong(f"no reply within {PATIENCE:.0f} s to {[case.body for case, _ in waiting.values()]}")
            for fd in readable:
                for body in next(wire for _, wire in waiting.values() if wire.read_fd == fd).receive():
                    reply = orjson.loads(body)
                    number = next((n for n, pair in waiting.items() if _answers(reply, n, pair, fd)), None)
                    if number is None:
                        raise Wrong(f"a reply to nothing: {body[:300]!r}")
                    _check(waiting.pop(number)[0], reply, alone=len(cases) == 1)
                    replies.append(reply)
        if len(cases) == 1 and cases[0].whole:
            self._alone_ms.append((time.perf_counter() - start) * 1e3)
        self._sent += len(cases)
        return replies

    def _print(self) -> None:
        process = Path("/proc", str(self._service.pid))
        files, threads = len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))
        megabytes = self._service.rss_mb
        self._taken[self._sent] = megabytes, files, threads
        times = quantiles(self._alone_ms)
        latencies = f"{times['p50']:8.2f}{times['p99']:8.2f}" if self._alone_ms else ""
        print(f"{self._transport:10}{self._sent:9}{megabytes:8.1f}{files:7}{threads:9}{latencies}", flush=True)
        self._alone_ms.clear()


def _answers(reply: Reply, number: int, waiting: tuple[Case, Wire], fd: int) -> bool:
    case, wire = waiting
    return wire.read_fd == fd and reply.get("request_id") == (number if case.echoed else None)


def _check(case: Case, reply: Reply, *, alone: bool) -> None:
    code = reply["error"]["code"] if "error" in reply else None
    right = code == case.code and case.fields.items() <= reply.items()
    if right and case.forecast is not None:
        answer = np.array(reply["predictions"], np.float32)
        if alone or case.whole:
            right = answer.tobytes() == case.forecast.tobytes()
        else:
            right = bool(np.abs(answer - case.forecast).max() <= ACROSS_SHAPES * case.scale)
    if not right:
        raise Wrong(f"{case.body.prefix + case.body.suffix!r:.500}\n  is answered with\n{orjson.dumps(reply)!r:.1000}")


def _cases(transport: Transport, forecaster: ForecastEngine, windows: list[NDArray[np.float32]]) -> list[Case]:
    """Return all but the rolling stream: three forecasts to one of the rest."""
    channels = range(len(forecaster.manifest.channels))
    good: list[Case] = []
    forms: tuple[Form, ...] = ("json", "base64", "stream")
    for form in forms:
        for targets in (None, [channels[-1]], [5, 0, 2]):
            bodies = forecasts(transport, form, windows, targets)
            for body, window in zip(bodies, windows, strict=True):
                answer, _ = forecaster.forecast(window, targets or channels)
                scale = float(np.abs(window).max())
                good.append(Case(body, {"success": True}, None, answer, scale, whole=targets is None))
    bad = _refused(transport, windows[0])
    other = _pings(transport)
    return good + bad * (len(good) // (4 * len(bad)) + 1) + other * 3


def _glyphs(compiler: Compiler) -> list[Case]:
    """Return requests over HTTP for one glyph each."""
    manifest = open_model(bundled_models() / "glyphs").manifest
    assert isinstance(manifest, GlyphsManifest)
    recognizer = Recognizer(ModelFolder(bundled_models() / "glyphs", manifest))
    recognizer.load(compiler)
    cases = []
    for path in sorted(RASTERS.glob("*.png"))[:20]:
        png = path.read_bytes()
        results, _ = recognizer.recognize_rasters(decode_raster(png)[None], 3)
        body = request("http", "/glyphs", {"rasters": [base64.b64encode(png).decode()], "topk": 3})
        expected = orjson.loads(orjson.dumps([{"topk": candidates} for candidates in results]))
        cases.append(Case(body, {"success": True, "results": expected}))
    return cases


def _rolling(transport: Transport, forecaster: ForecastEngine, window: NDArray[np.float32]) -> list[tuple[Case, Case]]:
    """Return rows to observe one at a time and, for each, the forecast that must follow, for a stream that turns."""
    channels = range(window.shape[1])
    path, name = "/streams/turning/observations", {"op": "observe", "stream": "turning"}
    pairs = []
    for step in range(TURNS):
        # The first brings the whole window; whenever the list starts over, the stream stands as it stood.
        values = window.tolist() if step == 0 else window[step - 1].tolist()
        turned = np.roll(window, -step, axis=0)
        answer, _ = forecaster.forecast(turned, channels)
        asked = request(transport, "/forecast", {"stream": "turning"})
        pairs.append(
            (
                Case(request(transport, path, {**name, "values": values}), {"rows": len(window), "missing": 0}),
                Case(asked, {"success": True}, None, answer, whole=True),
            )
        )
    return pairs


def _refused(transport: Transport, window: NDArray[np.float32]) -> list[Case]:
    rows = window.tolist()
    holed = [*rows[:-1], [*rows[-1][:-1], None]]
    good = {"past_values": [[1.5] * window.shape[1]] * len(window)}
    infinite = forecasts(transport, "base64", [np.full_like(window, np.inf)], None)[0]
    fields: list[tuple[str, Reply]] = [
        ("invalid_request", {}),
        ("invalid_request", good | {"stream": "bench-0"}),
        ("invalid_request", good | {"targets": []}),
        ("invalid_request", {"past_values": "text"}),
        ("invalid_shape", {"past_values": rows[1:]}),
        ("invalid_shape", {"past_values": [*rows[:-1], rows[-1][1:]]}),
        ("invalid_value", {"past_values": holed}),
        ("invalid_value", {"past_values_b64": "?", "shape": list(window.shape)}),
        ("unknown_target", good | {"targets": ["none of them"]}),
        ("unknown_model", good | {"model": "none of them"}),
        ("unknown_stream", {"stream": "none of them"}),
        ("deadline_exceeded", good | {"deadline_ms": 0}),
    ]
    cases = [Case(request(transport, "/forecast", wrong), {}, code) for code, wrong in fields]
    cases.append(Case(infinite, {}, "invalid_value"))
    too_long = Body(b"", b" " * (2 * MAX_REQUEST_BYTES) + b"\n")
    if transport == "stdio":
        cases += [
            Case(request(transport, "", {"op": "none of them"}), {}, "unknown_op"),
            Case(too_long, {}, "line_too_long", echoed=False),
        ]
        cases += [
            Case(Body(ID_KEY, end + b"\n"), {}, "invalid_json", echoed=False)
            for end in (b" garbage", b',"x":NaN}', b',"x":1e999}', b',"x":"\xff"}', b"}]", b"," + b"[" * 3000)
        ]
    else:
        cases += [
            Case(_http("POST /forecast", ID_KEY + b'1,"x":NaN}'), {}, "invalid_json", echoed=False),
            Case(_http("POST /forecast", b"\xff"), {}, "invalid_json", echoed=False),
            Case(_http("POST /forecast", too_long.suffix), {}, "payload_too_large", echoed=False),
            Case(_http("POST /forecast", b"{}", "text/plain"), {}, "unsupported_media_type", echoed=False),
            Case(_http("PUT /forecast", b"{}"), {}, "method_not_allowed", echoed=False),
            Case(_http("GET /nowhere"), {}, "not_found", echoed=False),
        ]
    return cases


def _pings(transport: Transport) -> list[Case]:
    if transport == "stdio":
        return [Case(request(transport, "", {"op": op}), {"success": True}) for op in ("ping", "stats")]
    return [
        Case(_http("GET /readyz"), {"ready": True}, echoed=False),
        Case(_http("GET /livez"), {"live": True}, echoed=False),
        Case(_http("GET /streams"), {}, echoed=False),
    ]


def _http(line: str, body: bytes = b"", media_type: str = "application/json") -> Body:
    """Return a request whose number goes into a header that nobody reads."""
    head = (
        f"{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\nX-Number: "
    )
    return Body(head.encode(), b"\r\n\r\n" + body)


def _leave(port: int) -> None:
    """Send what is no HTTP, and half a request, and go."""
    for data in (
        b"\x16\x03\x01 no HTTP\r\n\r\n",
        b"POST /forecast HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
    ):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(data)


if __name__ == "__main__":
    sys.exit(main())
