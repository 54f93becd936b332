"""A feed is kept up against a server that misbehaves: everything sent arrives, all that befalls it is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest
from hostile_feed import BIG, GARBAGE, Act, FeedServer, Lose, Refuse, Step, Wait, trouble
from markets import Message, advanced_messages, exchange_messages, make_trades
from vinocast.errors import SetupError
from vinocast.sources.coinbase import FEEDS, FeedName
from vinocast.sources.connections import Connections, Patience
from vinocast.sources.inbox import MOST_BATCH_MESSAGES, MOST_BYTES, Batch, Inbox

MESSAGES: dict[FeedName, Callable[..., list[Message]]] = {
    "exchange": exchange_messages,
    "advanced-trade": advanced_messages,
}
QUICK = Patience(silence=0.5, stable=1000.0, longest=0.05)
names = pytest.mark.parametrize("name", MESSAGES)


class Listened:
    """What came of a script."""

    def __init__(self, server: FeedServer, connections: Connections, batches: list[Batch]) -> None:
        self.server, self.connections, self.batches = server, connections, batches

    @property
    def messages(self) -> list[Any]:
        return [message for batch in self.batches for message in batch.messages]

    @property
    def numbers(self) -> list[tuple[str, int]]:
        """Product and id of each trade, in the order of arrival."""
        rows = []
        for message in self.messages:
            if isinstance(message, dict) and message.get("type") in ("match", "last_match"):
                rows.append(message)
            elif isinstance(message, dict) and isinstance(message.get("events"), list):
                rows += [trade for event in message["events"] for trade in reversed(event.get("trades", ()))]
        return [(row["product_id"], int(row["trade_id"])) for row in rows]


def listen(
    name: FeedName,
    script: Iterable[Step],
    *,
    products: tuple[str, ...] = ("AAA-USD",),
    patience: Patience = QUICK,
    **of_server: Any,
) -> Listened:
    """Keep the feed up until the script is at its end and the last heartbeat has come."""

    async def go() -> Listened:
        async with FeedServer(script, **of_server) as server:
            inbox = Inbox()
            connections = Connections(server.url, FEEDS[name].subscriptions(products, 60), inbox, patience)
            keeping = asyncio.create_task(connections.keep())
            batches: list[Batch] = []

            async def take() -> None:
                while (batch := await inbox.take()) is not None:
                    batches.append(batch)

            taking = asyncio.create_task(take())
            finished = asyncio.create_task(server.finished.wait())
            await asyncio.wait({keeping, finished}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
            assert server.finished.is_set(), f"{connections.counts} {server.seen.attempts}"
            await asyncio.sleep(0.3)
            for task in (keeping, taking):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            return Listened(server, connections, batches)

    return asyncio.run(go())


@names
def test_all_messages_of_a_feed_arrive_in_their_order(name: FeedName) -> None:
    trades = make_trades("AAA-USD", 60) + make_trades("BBB-USD", 60, seed=1)
    messages = MESSAGES[name](trades)
    listened = listen(name, messages, products=("AAA-USD", "BBB-USD"))
    ordered = [number for product, number in listened.numbers if product == "AAA-USD"]
    assert ordered == sorted(ordered)
    assert set(listened.numbers) == {(trade.product, trade.number) for trade in trades}
    assert [batch.connected for batch in listened.batches] == [True] + [False] * (len(listened.batches) - 1)
    counts = listened.connections.counts
    assert (counts.connections, counts.closed, counts.silent, counts.no_json) == (1, 0, 0, 0)
    assert listened.connections.products == {"AAA-USD", "BBB-USD"}


def test_what_is_not_read_fills_an_inbox_as_well() -> None:
    async def fill() -> int:
        inbox = Inbox()
        while inbox.room.is_set() and inbox.received < 10**6:
            inbox.put(None, 0)
        return inbox.received

    assert asyncio.run(fill()) < 10**5


def test_the_exchange_is_subscribed_to_by_one_message_and_the_other_feed_by_one_a_channel() -> None:
    trades = make_trades("AAA-USD", 2)
    exchange = listen("exchange", exchange_messages(trades))
    assert exchange.server.seen.subscriptions == [
        {"type": "subscribe", "product_ids": ["AAA-USD"], "channels": ["heartbeat", "matches"]}
    ]
    other = listen("advanced-trade", advanced_messages(trades))
    assert other.server.seen.subscriptions == [
        {"type": "subscribe", "product_ids": ["AAA-USD"], "channel": channel}
        for channel in ("heartbeats", "market_trades")
    ]
    five = FEEDS["advanced-trade"].subscriptions(["AAA-USD"], 300)
    assert [text.partition('"channel":')[2] for text in five] == ['"heartbeats"}', '"market_trades"}', '"candles"}']


@names
@pytest.mark.slow
def test_through_every_trouble_all_that_is_sent_arrives(name: FeedName) -> None:
    trades = make_trades("AAA-USD", 600, rate=2)
    # A connection that is reset takes with it what was on the way.
    script = [step for step in trouble(MESSAGES[name](trades), seed=3, each=40) if step is not Act.ABORT]
    listened = listen(name, script, patience=Patience(silence=3.0, stable=1000.0, longest=0.05))
    assert set(listened.numbers) == {("AAA-USD", trade.number) for trade in trades}
    counts, attempts = listened.connections.counts, len(listened.server.seen.attempts)
    assert counts.connections + counts.unreachable == attempts
    assert counts.connections == 1 + counts.closed + counts.silent
    assert sum(batch.connected for batch in listened.batches) == counts.connections
    assert counts.closed == sum(step is Act.CLOSE or isinstance(step, Refuse) for step in script)
    assert counts.silent == script.count(Act.SILENCE)
    assert counts.unreachable == sum(step.count for step in script if isinstance(step, Refuse))
    assert counts.too_long == script.count(BIG)
    assert counts.no_json == sum(isinstance(step, str | bytes) and step in GARBAGE for step in script)
    assert min(counts.closed, counts.silent, counts.unreachable, counts.too_long, counts.no_json, counts.errors) > 0


def test_a_connection_that_is_reset_is_made_anew() -> None:
    trades = make_trades("AAA-USD", 60)
    messages = advanced_messages(trades)
    listened = listen("advanced-trade", [*messages[:50], Wait(0.2), Act.ABORT, *messages[50:]])
    assert set(listened.numbers) == {("AAA-USD", trade.number) for trade in trades}
    assert (listened.connections.counts.connections, listened.connections.counts.closed) == (2, 1)


def test_what_was_lost_on_the_way_comes_with_the_snapshot_of_the_next_connection() -> None:
    trades = make_trades("AAA-USD", 60)
    messages = advanced_messages(trades)
    listened = listen("advanced-trade", [*messages[:40], *map(Lose, messages[40:60]), Act.CLOSE, *messages[60:]])
    assert set(listened.numbers) == {("AAA-USD", trade.number) for trade in trades}
    assert len(listened.server.seen.lost) == 20


@pytest.mark.slow
def test_no_address_is_asked_more_often_than_it_allows() -> None:
    messages = exchange_messages(make_trades("AAA-USD", 30))
    # Accepted and closed at once, and refused.
    script: list[Step] = [step for message in messages[:30] for step in (message, Act.CLOSE)]
    listened = listen("exchange", [*script, Refuse(30), *messages[30:]])
    attempts = listened.server.seen.attempts
    assert len(attempts) == 62
    # Of nine, the first and the last are a second apart: what the server was late to notice is a tenth at most.
    assert min(last - first for first, last in zip(attempts, attempts[8:], strict=False)) > 0.9


def test_a_connection_that_had_lasted_is_followed_at_once() -> None:
    messages = exchange_messages(make_trades("AAA-USD", 20))
    lasting = Patience(silence=1.0, stable=0.0, longest=1000.0)
    begun = time.monotonic()
    script: list[Step] = [step for message in messages[:8] for step in (message, Act.CLOSE)]
    assert listen("exchange", [*script, *messages[8:]], patience=lasting).connections.counts.closed == 8
    # Doubled eight times, the pauses would be more than a minute on average.
    assert time.monotonic() - begun < 30


def test_a_name_that_the_feed_changes_is_told() -> None:
    trades = make_trades("BTC-USD", 20)
    listened = listen(
        "advanced-trade", advanced_messages(trades), products=("BTC-USDC",), rename={"BTC-USDC": "BTC-USD"}
    )
    assert listened.server.seen.subscriptions[0]["product_ids"] == ["BTC-USDC"]
    assert listened.connections.products == {"BTC-USD"}


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(SetupError, match="--websocket-url"):
        Connections("http://example.com", [], Inbox(), QUICK)


@pytest.mark.slow
def test_what_waits_is_bounded_and_a_connection_is_not_given_up_for_a_reader_that_is_slow() -> None:
    patient = Patience(silence=3.0, stable=1000.0, longest=0.05)
    trades = make_trades("AAA-USD", 400)
    wide = [{**message, "more": "x" * 100_000} for message in exchange_messages(trades)]

    async def go() -> None:
        async with FeedServer(wide) as server:
            inbox = Inbox()
            connections = Connections(server.url, FEEDS["exchange"].subscriptions(["AAA-USD"], 60), inbox, patient)
            keeping = asyncio.create_task(connections.keep())
            while inbox.room.is_set():
                await asyncio.sleep(0.01)
            await asyncio.sleep(2 * patient.silence)
            sizes: list[int] = []
            while sum(sizes) < 100_000 * len(wide):
                batch = await asyncio.wait_for(inbox.take(), 30)
                assert batch is not None
                sizes.append(batch.size)
                assert len(batch.messages) <= MOST_BATCH_MESSAGES
            assert sum(sizes) > 2 * MOST_BYTES
            assert max(sizes) < 1 << 22
            assert connections.counts.silent == 0
            assert connections.counts.connections == 1
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping

    asyncio.run(go())
