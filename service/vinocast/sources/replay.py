"""``vinocast replay``: a capture or a table of candles into a service, as fast as is asked, and what came of it."""

from __future__ import annotations

import asyncio
import itertools
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from vinocast import pictures
from vinocast.data.atomic import whole_file
from vinocast.data.tables.candles import read_candles
from vinocast.errors import SetupError, shown
from vinocast.market.lengths import BarLength
from vinocast.process.signals import on_end
from vinocast.progress import progress
from vinocast.sources import report
from vinocast.sources.buckets import fold
from vinocast.sources.capture import is_capture, read_capture, time_of
from vinocast.sources.coinbase import products_of
from vinocast.sources.inbox import MOST_BATCH_BYTES, MOST_BATCH_MESSAGES, Batch
from vinocast.sources.outcomes import Outcomes
from vinocast.sources.pairing import PUSH_SECONDS
from vinocast.sources.session import Session
from vinocast.sources.telling import Lines, logged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vinocast.client.faces import Service
    from vinocast.client.market import OnBarTerms
    from vinocast.data.tables.candles import CandleTable
    from vinocast.progress import Progress
    from vinocast.sources.pairing import Told

DEFAULT_BAR = BarLength("5m", 300)
# Candles that are handed in at once: a stream keeps 900 bars, and a forecast of the first takes 545 before it.
CANDLES_AT_ONCE = 100
# Lines of a capture that are looked through for the products that it has.
LOOKED_THROUGH = 2000
# A line of a capture that says of a new connection.
CONNECT = {"connect": True}


@dataclass(frozen=True)
class Asked:
    """The options of the command; see its help."""

    file: Path
    product: str | None
    bar: BarLength | None
    speed: float
    history: Path | None
    plot: Path | None
    json: bool


@dataclass(frozen=True)
class Source:
    """What is replayed.

    Attributes:
        asked: the options of the command.
        bar: the length of the bars.
        table: the candles, where the file has such and no messages.
        history: candles that come first.
        product: whose they are; None where there are none.
    """

    asked: Asked
    bar: BarLength
    table: CandleTable | None
    history: CandleTable | None
    product: str | None


def read_source(asked: Asked) -> Source:
    """Look at the files of a replay; raises SetupError where they cannot be read, or do not go together."""
    if asked.plot is not None:
        pictures.check(asked.plot)
    table = None if is_capture(asked.file) else read_candles(asked.file)
    history = None if asked.history is None else read_candles(asked.history)
    bar = asked.bar or (DEFAULT_BAR if table is None else _length(table))
    for each in (table, history):
        if each is not None and bar.seconds % each.seconds:
            raise SetupError(f"{each.source}: its candles of {each.seconds} s make no bars of {bar.text}: change --bar")
    product = asked.product
    if product is None and table is not None:
        product = asked.file.name.partition(".")[0].partition("_")[0]
    elif product is None and history is not None:
        found = _products(asked.file)
        if len(found) != 1:
            raise SetupError(f"--history: say whose it is by --product: {shown(asked.file)} has {sorted(found)}")
        (product,) = found
    elif product is not None and table is None and product != (upper := product.upper()):
        # One that is written otherwise may begin further on.
        found = _products(asked.file)
        if upper in found and product not in found:
            raise SetupError(f"--product {product}: {shown(asked.file)} has {upper}, in upper case")
    return Source(asked, bar, table, history, product)


def _products(capture: Path) -> set[str]:
    """Return the products that the beginning of a capture has."""
    lines = itertools.islice(read_capture(capture), LOOKED_THROUGH)
    return {name for line in lines if isinstance(line.message, dict) for name in products_of(line.message)}


def run(source: Source, service: Service, terms: OnBarTerms, *, reconnects: bool) -> None:
    """Replay a file, then tell what was met and write the picture.

    Raises SetupError for a file that cannot be read, or was not replayed to its end, or of which no bar could be
    forecast for another reason than too few bars before; RequestError where the service refuses what it is fed, and
    ServiceUnreachableError where it has gone.
    """
    with logged():
        asyncio.run(_run(source, service, terms, reconnects=reconnects))


async def _run(source: Source, service: Service, terms: OnBarTerms, *, reconnects: bool) -> None:
    asked, bar = source.asked, source.bar
    stop = asyncio.Event()
    for table in filter(None, (source.history, source.table)):
        for note in table.notes:
            click.echo(f"{table.source}: {note}", err=True)
    lines, outcomes = Lines(bar.seconds, as_json=asked.json), Outcomes(bar.seconds)

    def tell(told: Told) -> None:
        with _above():
            lines.tell(told)
        outcomes.take(told)

    async with Session(service, terms, tell, reconnects=reconnects) as session:
        loop = asyncio.get_running_loop()

        def end() -> None:
            stop.set()
            session.give_up()

        on_end(lambda *_: loop.call_soon_threadsafe(end))
        replay = _Replay(source, session, _Clock(asked.speed, stop))
        await replay.run()
        streams = [bar.stream(product) for product in replay.products]
        told = await report.report(session, lines, streams, bar.seconds, replay.counts)
    scores = outcomes.scores()
    if asked.json:
        click.echo(report.to_json(told, scores), nl=False)
    else:
        click.echo(report.to_text(told, scores), err=True)
    sys.stdout.flush()
    drawn = outcomes.panels() if asked.plot is not None else []
    if asked.plot is not None and drawn:
        with whole_file(asked.plot) as part:
            title = (
                f"{asked.file.name}: bars (grey), and each as it was forecast by the one before (blue, with its band)"
            )
            part.write_bytes(pictures.to_file(asked.plot, title, drawn))
    if (fault := replay.fault() or lines.fault()) is not None:
        raise SetupError(fault)
    if asked.plot is not None and not drawn:
        raise SetupError(f"--plot {asked.plot}: there is no forecast to draw")


class _Clock:
    """Waits until it is time for what happened at some moment, where it is asked for."""

    def __init__(self, speed: float, stop: asyncio.Event) -> None:
        self._speed, self._stop = speed, stop
        self._began: tuple[float, float] | None = None

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def wait_for(self, moment: float | None) -> float:
        """Return the seconds until it is time."""
        if not self._speed or moment is None:
            return 0.0
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began = now, moment
        return (moment - self._began[1]) / self._speed - (now - self._began[0])

    async def sleep(self, seconds: float) -> None:
        """Wait so long, or until a signal has come."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return


class _Replay:
    """Hands a file in, part by part; each part waits for the forecasts of the one before.

    It ends early where a signal has come, and where forecasts do not: what is left would be lost as well.
    """

    def __init__(self, source: Source, session: Session, clock: _Clock) -> None:
        self._source, self._session, self._clock = source, session, clock
        self._lost = 0
        self.products: set[str] = set() if source.product is None else {source.product}
        self.counts = {"lines": 0, "no_json": 0, "candles": 0, "left": 0, "left_bytes": 0}

    @property
    def _ended(self) -> bool:
        return bool(self._clock.stopped or self._lost)

    def fault(self) -> str | None:
        """Say why the file was not replayed to its end; None where it was, and nothing was lost."""
        name, left = shown(self._source.asked.file), self.counts["left"]
        rest = f"{left} candles" if self._source.table is not None else f"{self.counts['left_bytes']} bytes"
        if self._lost:
            return (
                f"{self._lost} forecasts have not come within {PUSH_SECONDS:g} s, with {rest} of {name} left: "
                "look at the log of the service, and replay again"
            )
        return f"interrupted, with {rest} of {name} left" if self._clock.stopped else None

    async def run(self) -> None:
        source = self._source
        if source.history is not None:
            await self._candles(source.history, forecasts=False)
        if source.table is not None:
            self.counts["left"] = await self._candles(source.table, forecasts=True)
        else:
            size = source.asked.file.stat().st_size
            with progress(size, source.asked.file.name) as bar:
                self.counts["left_bytes"] = await self._messages(bar, size)

    async def _candles(self, table: CandleTable, *, forecasts: bool) -> int:
        """Hand in candles; return how many are left."""
        source = self._source
        rows = fold(table.rows, table.seconds, source.bar.seconds)
        stream = source.bar.stream(source.product or "")
        at_once = 1 if forecasts and source.asked.speed else CANDLES_AT_ONCE
        with progress(len(rows), table.source) as bar:
            for place in range(0, len(rows), at_once):
                part = rows[place : place + at_once]
                if forecasts and (pause := self._clock.wait_for(part[0, 0])) > 0:
                    await self._clock.sleep(pause)
                if self._ended:
                    return len(rows) - place
                await self._session.candles(stream, np.ascontiguousarray(part), forecasts=forecasts)
                self._lost += await self._session.settle()
                self.counts["candles"] += len(part)
                bar.update(len(part))
        return 0

    async def _messages(self, bar: Progress, size: int) -> int:
        """Hand in messages; return how many bytes of the file are left."""
        batch, told, taken = Batch(connected=True), 0, 0
        for line in read_capture(self._source.asked.file):
            begins = line.message == CONNECT
            pause = self._clock.wait_for(time_of(line.message)) if self._source.asked.speed else 0.0
            if begins or pause > 0 or len(batch.messages) >= MOST_BATCH_MESSAGES or batch.size >= MOST_BATCH_BYTES:
                await self._feed(batch)
                batch = Batch(connected=begins or (batch.connected and not batch.messages))
                bar.update(taken - told)
                told = taken
            if pause > 0:
                await self._clock.sleep(pause)
            if self._ended:
                await self._feed(batch)
                return size - taken
            taken = line.read
            if begins:
                continue
            self._count(line.message)
            batch.messages.append(line.message)
            batch.size += line.size if line.message is not None else 0
        await self._feed(batch)
        bar.update(size - told)
        return 0

    async def _feed(self, batch: Batch) -> None:
        if batch.messages:
            await self._session.feed(batch)
            self._lost += await self._session.settle()

    def _count(self, message: Any) -> None:
        self.counts["lines"] += 1
        if message is None:
            self.counts["no_json"] += 1
        elif isinstance(message, dict):
            self.products.update(products_of(message))


def _length(table: CandleTable) -> BarLength:
    unit, seconds = next((unit, each) for unit, each in (("h", 3600), ("m", 60), ("s", 1)) if table.seconds % each == 0)
    try:
        return BarLength.read(f"{table.seconds // seconds}{unit}")
    except ValueError:
        raise SetupError(f"{table.source}: candles of {table.seconds} s are longer than a bar can be") from None


@contextmanager
def _above() -> Iterator[None]:
    """Have what is printed stand above a progress bar, where both are on a terminal."""
    if sys.stdout.isatty() and sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    yield
