"""A market stream against plain rules, through restarts and feeds that lose, double, delay and reorder."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from market.plain import KEPT, PlainStream
from market_support import START, Message, candle, candles, heartbeat, market_of, market_trades, match, restarted

LENGTHS = {"10s": 10, "1m": 60, "5m": 300}
# Seconds between two trades: busy, quiet, in bursts, and with nights longer than all that is kept.
PACES = ([0, 1, 3], [0, 0, 5, 40, 70], [1, 100, 400, 1000], [0, 1, 1, 3, 3, 3_000, 9_500])
CANDLES = ("10 11 9 10.5 5", "10 12 9 10 6", "10 10 10 10 0")


class Exchange:
    """Sends trades, heartbeats and candles as badly as it can, and tells a plain stream what it sends."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.length = self.random.choice(list(LENGTHS))
        self.plain = PlainStream(LENGTHS[self.length])
        self.pace, self.loss = self.random.choice(PACES), self.random.choice([0, 0.05, 0.3])
        self.second, self.number = 0, self.random.randint(0, 50)
        self.delayed: list[tuple[int, int, float, float]] = []
        self.sent: list[tuple[int, int, float, float]] = []

    def trades(self) -> list[Message]:
        choice, batch = self.random.choice, []
        for _ in range(choice([1, 1, 1, 2, 5])):
            self.second += choice(self.pace)
            back = choice([0] * 30 + [self.plain.seconds])  # a clock that was set back
            trade = (
                self.number,
                max(0, self.second - back),
                choice([10.0, 10.1, 0.3]),
                choice([1.0, 0.1, 3e-8, 123.456]),
            )
            self.number += 1
            if self.random.random() > self.loss:
                batch.append(trade)
            elif self.random.random() < 0.5:
                self.delayed.append(trade)
        if self.delayed and self.random.random() < 0.3:
            batch.append(self.delayed.pop(self.random.randrange(len(self.delayed))))
        if self.sent and self.random.random() < 0.1:
            batch.append(choice(self.sent[-30:]))
        self.sent += batch
        messages = [match(number, second, price, size) for number, second, price, size in batch]
        if batch and self.random.random() < 0.5:
            messages = [market_trades(self.random.sample(messages, len(messages)))]
            del messages[0]["sequence_num"]
            batch.sort()
        for number, second, price, size in batch:
            self.plain.trade(number, START + second, price, size)
        return messages

    def heartbeats(self) -> list[Message]:
        number = max(0, self.number - 1 + self.random.choice([0, 0, 0, 1, 3, -2, -self.number]))
        if number >= self.number and self.random.random() < 0.5:
            self.number = number + 1
        self.second += self.random.choice(self.pace)
        self.plain.heartbeat(number, START + self.second)
        return [heartbeat(number, self.second)]

    def candles(self) -> list[Message]:
        if self.length != "5m":
            return []
        newest = (START + self.second) // 300
        buckets = {
            newest - self.random.choice([0, 0, 1, 1, 2, 5, 50, 905]) for _ in range(self.random.choice([1, 1, 3]))
        }
        items = []
        for bucket in sorted(buckets):
            numbers = self.random.choice(CANDLES)
            items.append(candle(bucket * 300 - START, numbers))
            self.plain.candle(bucket, tuple(map(float, numbers.split())))
        message = candles(*self.random.sample(items, len(items)))
        del message["sequence_num"]
        return [message]


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_is_what_plain_rules_make_of_a_bad_feed(seed: int) -> None:
    exchange = Exchange(seed)
    random, plain, length = exchange.random, exchange.plain, exchange.length
    market, counts = market_of(length), Counter[str]()
    for step in range(steps := random.choice([20, 60])):
        what = random.choices(["trades", "heartbeats", "candles", "restart", "connect"], [75, 10, 8, 4, 3])[0]
        messages: list[Message] = []
        if what == "restart":
            market = restarted(market, market_of(length))
        elif what == "connect":
            market.connect()
            plain.connection += 1
        else:
            messages = getattr(exchange, what)()
        fed = market.feed(messages)
        assert fed.counts.get("seen", 0) == len(messages)
        counts.update(fed.counts)
        if plain.newest >= 0 and (step % 30 == 0 or step == steps - 1):
            assert [list(bar) for bar in market.find(f"AAA-USD@{length}").bars(901)] == plain.bars()
    names = ("used", "duplicates", "late", "re_sent_closed_bucket")
    assert counts["refused"] == counts["ignored"] == 0
    if plain.newest - plain.oldest < KEPT:
        assert {name: counts[name] for name in names} == {name: plain.counts[name] for name in names}
        assert counts["missed_trades"] == sum(missing for missing, _, _ in plain.holes())
    else:  # what was missed in bars that are no longer kept, and comes after all, is taken for a duplicate
        assert counts["used"] == plain.counts["used"]
        assert sum(counts[name] for name in names) == sum(plain.counts.values())
