"""A service that goes silent, or stops and begins again, under what feeds it: nothing is awaited for ever."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest
import vinocast
from markets import START, write_candles
from support import HttpService, RunVinocast
from vinocast.sources.pairing import Told
from vinocast.sources.session import Session

HOUR = 3600


class Deaf(BaseHTTPRequestHandler):
    """Stands before a service, and has its events come to nobody."""

    service: str

    def do_GET(self) -> None:
        if self.path != "/events":
            self._answer(httpx.get(self.service + self.path))
            return
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b": nothing\n\n")
                time.sleep(0.2)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(httpx.post(self.service + self.path, content=body, headers={"Content-Type": "application/json"}))

    def _answer(self, response: httpx.Response) -> None:
        self.send_response(response.status_code)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(response.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_it_ends_where_forecasts_are_lost_and_tells_what_is_left(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    candles = write_candles(tmp_path / "BTCUSD_1h.csv", 250)
    with HttpService("--bars", "1h") as service, ThreadingHTTPServer(("127.0.0.1", 0), Deaf) as proxy:
        Deaf.service = service.url
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        done = run_vinocast("replay", "--json", candles, "--url", f"http://127.0.0.1:{proxy.server_port}")
        proxy.shutdown()
    *lines, last = map(orjson.loads, done.stdout.splitlines())
    assert {line["success"] for line in lines} == {False}
    report = last["report"]
    assert (report["refused"], report["source"]) == ({"lost": 99}, {"candles": 100, "left": 150})
    assert done.returncode == 1
    assert f"99 forecasts have not come within 30 s, with 150 candles of {candles} left" in done.stderr


class Draining(Deaf):
    """Stands before a service: its events end, and whoever listens anew is refused once."""

    listened = 0

    def do_GET(self) -> None:
        Draining.listened += self.path == "/events"
        if self.path != "/events":
            super().do_GET()
        elif Draining.listened == 2:
            error = {"code": "shutting_down", "message": "the service is shutting down", "field": None}
            self._answer(httpx.Response(503, json={"success": False, "error": {**error, "retryable": True}}))
        else:
            with (
                httpx.stream("GET", self.service + self.path, timeout=None) as events,
                contextlib.suppress(OSError, httpx.HTTPError),
            ):
                self.send_response(200)
                self.end_headers()
                if Draining.listened == 1:
                    self.wfile.write(b'event: end\ndata: {"reason":"shutting_down","waiting":0}\n\n')
                    return
                for part in events.iter_raw():
                    self.wfile.write(part)


@pytest.mark.slow
def test_a_listener_that_is_refused_listens_anew() -> None:
    candles = np.array([[START + HOUR * place, 1, 3, 1 + place % 2, 2 - place % 2, 5] for place in range(550)], float)
    told: list[Told] = []

    async def feed(url: str) -> int:
        with vinocast.connect(url) as service:
            async with Session(service, {"on_bar": True}, told.append, reconnects=True) as session:
                while Draining.listened < 3:
                    await asyncio.sleep(0.05)
                await session.candles("AAA-USD@1h", candles, forecasts=True)
                return await session.settle()

    with HttpService("--bars", "1h") as service, ThreadingHTTPServer(("127.0.0.1", 0), Draining) as proxy:
        Draining.service = service.url
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        lost = asyncio.run(asyncio.wait_for(feed(f"http://127.0.0.1:{proxy.server_port}"), 30))
        proxy.shutdown()
    assert lost == 0
    assert len(told) == 549
    assert told[-1].forecast is not None
