"""``vinocast feed``: a feed into a service, and what it lacks from the endpoint of candles, until a signal comes."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from vinocast.errors import SetupError
from vinocast.process.memory import give_large_memory_back
from vinocast.process.signals import on_end
from vinocast.sources import report
from vinocast.sources.backfill import Backfill
from vinocast.sources.candles import Candles
from vinocast.sources.coinbase import FEEDS
from vinocast.sources.connections import Connections, Patience
from vinocast.sources.inbox import Inbox
from vinocast.sources.session import Session
from vinocast.sources.telling import Lines, live_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vinocast.client.faces import Service
    from vinocast.client.market import OnBarTerms
    from vinocast.sources.coinbase import FeedName

# That what has come may take to be fed at the end.
DRAIN_SECONDS = 10.0


@dataclass(frozen=True)
class Asked:
    """The options of the command; see its help."""

    feed: FeedName
    products: Sequence[str]
    bar: str
    seconds: int
    websocket_url: str
    candles_url: str
    silence: float
    longest_pause: float
    json: bool


def run(asked: Asked, service: Service, terms: OnBarTerms, *, reconnects: bool) -> None:
    """Feed a service until a signal ends it, then tell what was met.

    Raises SetupError for an address that is none, and at its end where bars have closed and none could be forecast for
    another reason than too few bars before; RequestError where the service refuses what it is fed, and
    ServiceUnreachableError where it has gone and is not to be waited for.
    """
    # Messages of 5 MB come and go, for days.
    give_large_memory_back()
    asyncio.run(_run(asked, service, terms, reconnects=reconnects))


async def _run(asked: Asked, service: Service, terms: OnBarTerms, *, reconnects: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    inbox = Inbox()
    subscriptions = FEEDS[asked.feed].subscriptions(asked.products, asked.seconds)
    connections = Connections(
        asked.websocket_url, subscriptions, inbox, Patience(silence=asked.silence, longest=asked.longest_pause)
    )
    lines = Lines(asked.seconds, as_json=asked.json)
    session = Session(service, terms, lines.tell, reconnects=reconnects)

    def end() -> None:
        stop.set()
        # Also where it has not been reached yet, and nothing else looks at `stop`.
        session.give_up()

    on_end(lambda *_: loop.call_soon_threadsafe(end))
    async with Candles(asked.candles_url) as candles, session:
        backfill = Backfill(session, candles, connections.products, asked.bar, asked.seconds)

        async def consume() -> None:
            while (batch := await inbox.take()) is not None:
                fed = await session.feed(batch)
                if fed.closed or batch.connected:
                    backfill.look()

        def line() -> str:
            counts = connections.counts
            return (
                f"{', '.join(asked.products)}: {session.counts['seen']} messages, connection {counts.connections}, "
                f"{lines.forecasts} forecasts, {lines.last}"
            )

        with live_line(line) as lines.echo:
            coming = [asyncio.ensure_future(each) for each in (stop.wait(), connections.keep(), backfill.run())]
            consuming = asyncio.ensure_future(consume())
            try:
                await first_of(*coming, consuming)
            finally:
                await cancel(*coming)
                session.give_up()
                inbox.end()
                await asyncio.wait({consuming}, timeout=DRAIN_SECONDS)
                await cancel(consuming)
            await session.settle(DRAIN_SECONDS)
        streams = [f"{product}@{asked.bar}" for product in connections.products]
        source = {
            **asdict(connections.counts),
            "left": inbox.received - session.messages,
            "candles": backfill.filled,
            "requests": candles.requests,
        }
        told = await report.report(session, lines, streams, asked.seconds, source)
    if asked.json:
        click.echo(report.to_json(told), nl=False)
    else:
        click.echo(report.to_text(told), err=True)
    sys.stdout.flush()
    if (fault := lines.fault()) is not None:
        raise SetupError(fault)


async def first_of(*tasks: asyncio.Future[Any]) -> None:
    """Wait until one of some tasks has ended; raises what that one has raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """End tasks."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
