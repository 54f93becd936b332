"""Candles of the past, from the endpoint of the Exchange."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

import httpx
import numpy as np
import orjson
import tenacity

from vinocast.errors import SetupError, VinocastError, in_one_line
from vinocast.sources.buckets import COLUMNS, fill, fold

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

# Seconds of the buckets that the endpoint has.
GRANULARITIES = (86400, 21600, 3600, 900, 300, 60)
MOST_CANDLES = 300
# Candles that a bar may be made of: 900 bars of them are 180 requests.
MOST_FOLDED = 60
# A candle has 90 bytes at most, and rows before the start come along.
MOST_BYTES = 1 << 20
ATTEMPTS = 5
# Seconds: between two requests; what the first pause after a failure is at most, doubled with each; the longest; of an
# answer.
SPACING, FIRST_PAUSE, LONGEST_PAUSE, TIMEOUT = 0.15, 0.5, 60.0, 10.0

log = logging.getLogger("vinocast.feed")


class CandlesError(VinocastError):
    """The endpoint does not answer, or not with candles; the message says why."""

    def __init__(self, message: str, *, again: bool, after: float = 0.0) -> None:
        super().__init__(message)
        self.again, self.after = again, after


class Candles:
    """Asks for candles: few at once, not too often, and again where it may help. For one event loop.

    Attributes:
        requests: how many were made.
    """

    def __init__(self, url: str) -> None:
        """Take the address of the endpoint; raises SetupError for one that is none."""
        try:
            base = httpx.URL(url)
        except (httpx.InvalidURL, TypeError) as error:
            raise SetupError(f"--candles-url: expected one such as https://example.com: {error}") from None
        if base.scheme not in ("http", "https") or not base.host:
            raise SetupError(f"--candles-url: expected one such as https://example.com, got {url}")
        self._base = str(base).rstrip("/")
        self._http = httpx.AsyncClient(timeout=TIMEOUT)
        self.requests = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def fetch(self, product: str, seconds: int, start: int, stop: int) -> NDArray[np.float64]:
        """Return candles [n, 6] that begin at ``start`` or later and before ``stop``, oldest first, each once.

        A row is time, low, high, open, close, volume. The endpoint has none of a bucket without a trade: where there
        are candles on both sides of it, it gets one of the close before and volume 0. The newest may be missing: the
        endpoint lags.

        Args:
            product: as the exchange calls it.
            seconds: of a bucket; see :func:`granularity`.
            start: unix seconds, a multiple of ``seconds``.
            stop: likewise.

        Raises CandlesError where there is no answer after some attempts, or a refusal.
        """
        fine = granularity(seconds)
        if fine is None:
            raise CandlesError(f"the exchange has no candles of {seconds} s", again=False)
        parts = []
        for first in range(start, stop, fine * MOST_CANDLES):
            last = min(first + fine * MOST_CANDLES, stop) - fine
            parts.append(await self._ask(product, fine, first, last))
        return fill(fold(np.concatenate(parts), fine, seconds), seconds) if parts else np.empty((0, COLUMNS))

    async def _ask(self, product: str, fine: int, first: int, last: int) -> NDArray[np.float64]:
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, CandlesError) and error.again),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=_pause,
            reraise=True,
        )
        rows: NDArray[np.float64] = await retrying(self._ask_once, product, fine, first, last)
        await asyncio.sleep(SPACING)
        return rows

    async def _ask_once(self, product: str, fine: int, first: int, last: int) -> NDArray[np.float64]:
        self.requests += 1
        url = f"{self._base}/products/{quote(product, safe='')}/candles"
        params = {"granularity": str(fine), "start": _moment(first), "end": _moment(last)}
        body = bytearray()
        try:
            async with self._http.stream("GET", url, params=params) as response:
                if response.status_code == 200:
                    async for part in response.aiter_bytes():
                        body += part
                        if len(body) > MOST_BYTES:
                            raise CandlesError(f"{url} answers with more than {MOST_BYTES} bytes", again=False)
        except httpx.HTTPError as error:
            raise CandlesError(f"{url} does not answer: {in_one_line(error)}", again=True) from None
        if response.status_code != 200:
            after = response.headers.get("Retry-After", "")
            again = response.status_code == 429 or response.status_code >= 500
            seconds = float(after) if after.isdecimal() else 0.0
            raise CandlesError(f"{url} answers with status {response.status_code}", again=again, after=seconds)
        rows = _read(bytes(body), url)
        rows = rows[np.unique(rows[:, 0], return_index=True)[1]]
        kept: NDArray[np.float64] = rows[(rows[:, 0] >= first) & (rows[:, 0] <= last) & (rows[:, 0] % fine == 0)]
        return kept


def granularity(seconds: int) -> int | None:
    """Return the seconds of the widest candles that bars of so many are made of; None where there are none."""
    widest = next((each for each in GRANULARITIES if seconds % each == 0), None)
    return widest if widest and seconds // widest <= MOST_FOLDED else None


def _read(body: bytes, url: str) -> NDArray[np.float64]:
    """Return the rows [n, 6] of an answer that are numbers; raises CandlesError where it is no list."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, list):
        raise CandlesError(f"{url} answers with no list of candles", again=True)
    rows = [row[:COLUMNS] for row in answer if _is_candle(row)]
    if len(rows) < len(answer):
        log.warning("%s: %d rows are no candles and left out", url, len(answer) - len(rows))
    return np.array(rows, np.float64).reshape(-1, COLUMNS)


def _is_candle(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) >= COLUMNS
        and all(type(each) in (int, float) and math.isfinite(each) for each in row[:COLUMNS])
    )


def _pause(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.after if isinstance(error, CandlesError) else 0.0
    jitter = random.uniform(0, FIRST_PAUSE * 2 ** (state.attempt_number - 1))  # noqa: S311 - no secret
    return min(LONGEST_PAUSE, asked + jitter)


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
