"""The endpoint of candles on the loopback, from trades of our own making: it lags, sends too much, and refuses."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
from markets import Trade, bars_of

Row = list[float]
MOST = 300


class CandlesEndpoint:
    """Candles of buckets that have trades, newest first. Use it with ``with``.

    Attributes:
        url: of the running server.
        asked: product, granularity, start and end of each request that was answered with candles.
        answers: statuses and bodies that come first, in place of candles; a float is seconds of Retry-After with 429.
        lag: how many of the newest candles are missing.
        gone: products that have none any more.
        now: what tells the time of the market, as its messages do; candles that have not ended by then are not there.
    """

    def __init__(self, trades: Sequence[Trade], *, lag: int = 0, early: int = 3, gone: Sequence[str] = ()) -> None:
        self._trades = trades
        self._early = early
        self.lag, self.gone = lag, set(gone)
        self.asked: list[tuple[str, int, int, int]] = []
        self.answers: deque[tuple[int, bytes] | float] = deque()
        self.now: Callable[[], str] = lambda: "9999-01-01T00:00Z"
        self._rows: dict[tuple[str, int], list[Row]] = {}
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, body, headers = endpoint.answer(self.path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its name
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def rows(self, product: str, seconds: int) -> list[Row]:
        """All candles so far, oldest first."""
        if (product, seconds) not in self._rows:
            trades = [trade for trade in self._trades if trade.product == product]
            self._rows[product, seconds] = [
                [start, low, high, first, last, volume]
                for start, (first, high, low, last, volume) in sorted(bars_of(trades, seconds).items())
            ]
        now = datetime.fromisoformat(self.now() or "1970-01-01T00:00Z").timestamp()
        return [row for row in self._rows[product, seconds] if row[0] + seconds <= now]

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        parts = urlsplit(path)
        product = unquote(parts.path.split("/")[2])
        with self._lock:
            if self.answers:
                answer = self.answers.popleft()
                return (
                    (429, b"slow down", {"Retry-After": f"{answer:g}"}) if isinstance(answer, float) else (*answer, {})
                )
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            seconds = int(query["granularity"])
            start, end = (int(datetime.fromisoformat(query[name]).timestamp()) for name in ("start", "end"))
            if (end - start) // seconds + 1 > MOST:
                return 400, b'{"message": "granularity too small for the requested time range"}', {}
            self.asked.append((product, seconds, start, end))
        rows = [] if product in self.gone else self.rows(product, seconds)
        rows = rows[: len(rows) - self.lag]
        found = [row for row in rows if start - self._early * seconds <= row[0] <= end]
        return 200, orjson.dumps(found[::-1]), {"Content-Type": "application/json"}
