"""A day of a market through a feed that misbehaves, at speed: is memory flat, and is every bar forecast that can be?

    PYTHONPATH=tests python -m benchmarks.market_day
    PYTHONPATH=tests python -m benchmarks.market_day --capture capture.jsonl --hours 24

The trades of a capture are repeated, each time with new ids and times, until they fill the day; without a capture they
are made up. The server of the tests sends them as either feed does, with duplicates, swapped messages, garbage, errors,
messages of 5 MB, connections that end, fall silent and are refused, and messages that are lost for good; where these
were, candles repair the bars. It prints a table, and ends with code 1 where something is not as it must be: a bar that
was not told of once and in order, one that has no forecast, or memory that grows.
"""

from __future__ import annotations

import itertools
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import click
import orjson
from candles_endpoint import CandlesEndpoint
from hostile_feed import FeedServer, Step, Wait, trouble
from live_feed import Feeding, FeedThread
from markets import START, Message, Trade, advanced_messages, bars_of, exchange_messages, make_trades

PRODUCT = "BTC-USD"
BAR = 60
# A day before, in candles.
BEFORE = 1000 * BAR
WARM_SHARE = 0.3
# What waits in the command is bounded at 4 MiB as it came, and is several times that once it is parsed: that more of it
# waits than ever before is no leak.
MOST_GROWTH_MB = 16.0


@click.command(context_settings={"show_default": True})
@click.option("--hours", type=click.FloatRange(0.1, 24 * 7), default=24.0, help="Of the market.")
@click.option("--capture", type=click.Path(path_type=Path, exists=True), help="Whose trades are repeated.")
@click.option("--feed", "name", type=click.Choice(["exchange", "advanced-trade"]), default="advanced-trade")
@click.option("--each", type=click.IntRange(2), default=2000, help="Messages to a fault.")
def main(hours: float, capture: Path | None, name: str, each: int) -> None:
    """Replay a day and print what came of it."""
    seconds = int(hours * 3600)
    before = make_trades(PRODUCT, BEFORE, seed=5, start=START - BEFORE, first=1, rate=0.2)
    pattern = read_trades(capture) if capture else make_trades(PRODUCT, 600, rate=1.5)
    day = list(repeat(pattern, seconds, before[-1].number + 1))
    messages = exchange_messages(day) if name == "exchange" else advanced_messages(day)
    day_run = _Day(before + day, list(_script(messages, each)), name)
    taken = day_run.run(messages)
    print(f"{len(day)} trades, {len(messages)} messages and {day_run.faults} faults in {taken:.0f} s\n")
    print(f"{'share':>6}{'feed MB':>9}{'service MB':>12}")
    for share, (own, child) in day_run.memory.items():
        print(f"{share:6.0%}{own:9.1f}{child:12.1f}")
    sys.exit(_judge(day_run, day))


def read_trades(capture: Path) -> list[Trade]:
    """The trades of the product of a capture that trades most of those with prices of a dollar and more, oldest first.

    Prices are kept in cents.
    """
    found: dict[str, dict[int, Trade]] = {}
    for text in capture.read_bytes().splitlines():
        message = orjson.loads(text)
        events = message["events"] if message.get("channel") == "market_trades" else []
        rows = [row for event in events for row in event["trades"]]
        for row in rows or ([message] if message.get("type") == "match" else []):
            micros = int(datetime.fromisoformat(row["time"]).timestamp() * 1e6)
            cents, thousandths = round(float(row["price"]) * 100), max(1, round(float(row["size"]) * 1000))
            if cents >= 100:
                trade = Trade(PRODUCT, int(row["trade_id"]), micros, cents, thousandths)
                found.setdefault(row["product_id"], {})[trade.number] = trade
    if not found:
        raise click.ClickException(f"{capture}: no trades at prices of a dollar and more")
    most = max(found.values(), key=len)
    return [most[number] for number in sorted(most)]


def repeat(trades: Sequence[Trade], seconds: int, first: int) -> Iterator[Trade]:
    """The trades again and again from the start on for so many seconds, with contiguous ids."""
    origin = trades[0].micros
    length = trades[-1].micros - origin + 500_000
    numbers = itertools.count(first)
    for turn in itertools.count():
        for trade in trades:
            micros = START * 1_000_000 + turn * length + trade.micros - origin
            if micros >= (START + seconds) * 1_000_000:
                return
            yield replace(trade, number=next(numbers), micros=micros)


def _script(messages: Sequence[Message], each: int) -> Iterator[Step]:
    """Faults among the messages; first a pause, in which the candles of the day before come."""
    yield from messages[:60]
    yield Wait(6.0)
    yield from trouble(messages[60:], each=each, loss=True)


class _Day:
    """A run.

    Attributes:
        faults: of the script.
        memory: by the share of the script that was sent: MB of the command and of its child.
        lines: what the command has printed.
        report: its last line.
        lost: the messages that were never sent.
        server: what the feed has seen.
    """

    def __init__(self, trades: Sequence[Trade], script: Sequence[Step], name: str) -> None:
        self._trades, self._script, self._name = trades, script, name
        self.faults = sum(not isinstance(step, dict | Wait) for step in script)
        self.memory: dict[float, tuple[float, float]] = {}

    def run(self, messages: Sequence[Message]) -> float:
        """Return the seconds that it took from the first message to the last forecast."""
        with CandlesEndpoint(self._trades) as endpoint, FeedThread(self._script) as feed:
            endpoint.now = lambda: feed.server.now
            urls = ("--websocket-url", feed.url, "--candles-url", endpoint.url, "--longest-pause", "0.5")
            options = (
                "--feed",
                self._name,
                "--product",
                PRODUCT,
                "--bar",
                "1m",
                "--silence",
                "2",
                "--targets",
                "close",
            )
            with Feeding(*options, *urls) as process:
                begun = time.monotonic()
                for share in (WARM_SHARE, *(each / 10 for each in range(4, 11))):
                    while feed.server.seen.sent < share * len(messages) and not feed.server.finished.is_set():
                        if process.process.poll() is not None:
                            raise click.ClickException(process.log)
                        time.sleep(0.2)
                    self.memory[share] = process.resident_mb, _child_mb(process.process.pid)
                process.until(feed.server, 600)
                taken = time.monotonic() - begun
                # What waits in the command is still to be fed.
                before = -1
                while (now := process.printed) != before:
                    taken, before = time.monotonic() - begun, now
                    time.sleep(3.0)
                self.lines, self.report = process.end(signal.SIGTERM)
            self.server: FeedServer = feed.server
        return taken


def _judge(day: _Day, trades: Sequence[Trade]) -> int:
    """Print what is as it must be and what is not; return the exit code."""
    starts = [line["bar"][0] for line in day.lines]
    right = bars_of(trades, BAR)
    same = sum(line["bar"][1:5] == right.get(line["bar"][0], [None])[:4] for line in day.lines)
    warm, *_, last = day.memory.values()
    growth = max(last[0] - warm[0], last[1] - warm[1])
    source, counts = day.report["source"], day.report["counts"]
    attempts = day.server.seen.attempts
    quickest = min((b - a for a, b in zip(attempts, attempts[8:], strict=False)), default=1.0)
    lost = sum(_trades_in(message) for message in day.server.seen.lost)
    checks = {
        f"{len(starts)} bars told of, each once and in order": starts
        == list(range(START, START + BAR * len(starts), BAR)),
        f"{day.report['forecasts']} of them with a forecast": day.report["forecasts"] == len(starts) > 0,
        f"{same} equal to those of the trades when they closed": same >= len(starts) - day.faults,
        f"{lost} trades never sent, {counts.get('missed_trades', 0)} missed at the end": counts.get("missed_trades", 0)
        <= lost,
        f"memory {growth:+.1f} MB after the first {WARM_SHARE:.0%}": growth < MOST_GROWTH_MB,
        f"{len(attempts)} attempts to connect, nine of them in {quickest:.2f} s at the quickest": quickest > 0.9,
    }
    print()
    for said, holds in checks.items():
        print(f"{'ok' if holds else 'NO':4}{said}")
    print(f"\nsource {source}\ncounts {counts}\n{day.report['streams']}")
    return 0 if all(checks.values()) else 1


def _trades_in(message: Message) -> int:
    events = message.get("events", ())
    return 1 if message.get("type") == "match" else sum(len(event.get("trades", ())) for event in events)


def _child_mb(parent: int) -> float:
    (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    status = Path(f"/proc/{child}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1e3


if __name__ == "__main__":
    main()
