"""Forecasts that are pushed over lines when bars close: behind the reply, once each, also at the end."""

from __future__ import annotations

import signal
from typing import Any

from market_wire import NOON, STREAM, candles, match
from support import Reply, StdioService, error_of

BARS = 560
ROWS = candles(BARS)
NEXT = NOON + BARS * 300  # when the bar of the newest candle is over


def filled(*options: str) -> StdioService:
    service = StdioService(*options)
    assert service.ask({"op": "history", "stream": STREAM, "candles": ROWS})["success"]
    return service


def feed(*messages: Any, **fields: Any) -> Reply:
    return {"op": "feed", "messages": list(messages), "on_bar": True, **fields}


def without_times(reply: Reply) -> Reply:
    return {key: value for key, value in reply.items() if key not in {"inference_time_ms", "queue_time_ms"}}


def test_the_forecast_of_a_bar_is_pushed_behind_the_reply_to_what_has_closed_it() -> None:
    with filled() as service:
        terms = {"targets": ["close", "log_volume"], "quantile_levels": [0.1, 0.9], "prediction_length": 4}
        opened = service.ask(feed(match(1, NEXT + 1, 65_000), **terms))
        assert [each["bar"][0] for each in opened["closed"]] == [NEXT - 300]
        pushed = service.receive()
        asked = service.ask({"stream": STREAM, **terms})
        assert pushed["op"] == "forecast"
        assert "request_id" not in pushed
        assert "timestamp_ms" not in pushed
        named = {"op": "forecast", "stream": STREAM}
        echoed = {"request_id": None, "timestamp_ms": None}
        assert {**without_times(pushed), **echoed} == {**without_times(asked), **named}
        quiet = service.ask(feed(match(2, NEXT + 2, 65_001)))
        assert quiet["closed"] == []
        unasked = service.ask({"op": "feed", "message": match(3, NEXT + 301, 65_002)})
        assert len(unasked["closed"]) == 1
        stats = service.ask({"op": "stats"})
        assert stats["pushed"] == {"forecasts": 1}
        assert stats["answered"] == {"history": 1, "feed": 3, "forecast": 1}
        assert service.finish() == ([], 0)


def test_bars_that_close_together_are_each_forecast_from_the_bars_up_to_it() -> None:
    with filled() as service, StdioService() as other:
        others = [match(1, NEXT + 1, 64_990), match(2, NEXT + 301, 65_010), match(3, NEXT + 601, 65_020)]
        service.send(feed(*others, targets=["close"]))
        reply, *pushed = (service.receive() for _ in range(4))
        closed = [each["bar"] for each in reply["closed"]]
        assert [bar[0] for bar in closed] == [NEXT - 300, NEXT, NEXT + 300]
        later = [[start, low, high, opened, close, volume] for start, opened, high, low, close, volume, _ in closed]
        other.ask({"op": "history", "stream": STREAM, "candles": ROWS})
        for bar, push in zip(later, pushed, strict=True):
            open_bar = [bar[0] + 300, 1, 1, 1, 1, 1]
            other.ask({"op": "history", "stream": STREAM, "candles": [bar, open_bar]})
            asked = other.ask({"stream": STREAM, "targets": ["close"]})
            assert push["newest_timestamp_ms"] == bar[0] * 1000
            assert push["predictions"] == asked["predictions"]


def test_a_bar_that_cannot_be_forecast_is_pushed_as_an_error() -> None:
    with StdioService() as service:
        for number, at in enumerate((NOON, NOON + 301)):
            service.send(feed(match(number + 1, at, 5, 1, "NEW-USD")))
        first, second, pushed = (service.receive() for _ in range(3))
        assert (first["closed"], len(second["closed"])) == ([], 1)
        assert (pushed.pop("op"), pushed.pop("stream")) == ("forecast", "NEW-USD@5m")
        assert pushed.pop("newest_timestamp_ms") == 1000 * NOON
        assert error_of({"request_id": None, "timestamp_ms": None, **pushed}) == ("not_enough_history", "stream")
        service.send(feed(match(3, NOON + 601, 5, 1, "NEW-USD"), model="none"))
        assert [service.receive()["success"], service.receive()["error"]["code"]] == [True, "unknown_model"]
        assert service.ask({"op": "stats"})["pushed"] == {"errors": 2}


def test_an_error_waits_for_the_forecasts_of_the_bars_before_it() -> None:
    # Room in the queue for a whole window alone: what comes behind it with the same request is refused at once.
    with filled("--queue-rows", "6") as service:
        told = []
        for number in range(20):
            others = [
                match(3 * number + each, NEXT + 300 * (3 * number + each) - 299, 65_000 + each) for each in (1, 2, 3)
            ]
            service.send(feed(*others))
            told += [service.receive() for _ in range(4)]
        pushed = [each for each in told if each.get("op") == "forecast"]
        assert [each["newest_timestamp_ms"] for each in pushed] == [1000 * (NEXT + 300 * at - 300) for at in range(60)]
        codes = [each["error"]["code"] for each in pushed if not each["success"]]
        assert set(codes) == {"overloaded"}
        assert 0 < len(codes) < 60


def test_candles_push_as_trades_do_and_what_is_too_much_is_told() -> None:
    with StdioService() as service:
        many = candles(1200)
        service.send({"op": "history", "stream": STREAM, "candles": many, "on_bar": True, "targets": [0]})
        reply = service.receive()
        pushed = [service.receive() for _ in reply["closed"]]
        assert len(pushed) == 900
        assert [push["success"] for push in pushed].count(True) >= 300
        assert service.finish() == ([], 0)


def test_more_bars_than_a_reply_holds_are_counted_and_those_of_followed_streams_forecast() -> None:
    def of_each(trade_id: int, seconds: float) -> list[Any]:
        return [match(trade_id, seconds, 5, product=f"P{number}-USD") for number in range(200)]

    with StdioService() as service:
        assert service.ask(feed(*of_each(1, NOON)))["closed"] == []
        reply = service.ask(feed(*of_each(2, NOON + 899 * 300), targets=["close"], prediction_length=1))
        assert len(reply["closed"]) == 100_000
        assert reply["warnings"] == ['closed: 79800 more bars have closed than are listed here; op "bars" has them']
        replies, code = service.finish()
        assert code == 0
        starts: dict[str, list[int]] = {}
        lost = {}
        for push in replies:
            if push["newest_timestamp_ms"] is None:
                lost[push["stream"]] = int(push["error"]["message"].split()[1])
            else:
                starts.setdefault(push["stream"], []).append(push["newest_timestamp_ms"] // 1000)
        every = range(NOON, NOON + 899 * 300, 300)
        assert starts == {"P0-USD@5m": list(every), "P1-USD@5m": list(every[:101])}
        assert lost == {"P1-USD@5m": 798, **{f"P{number}-USD@5m": 899 for number in range(2, 200)}}


def test_pushes_that_nobody_reads_pause_the_service_and_none_is_lost() -> None:
    with filled("--max-unread-reply-bytes", "100000") as service:
        for number in range(200):
            service.send(feed(match(number + 1, NEXT + 300 * number + 1, 65_000 + number)))
        replies, code = service.finish()
        assert code == 0
        pushed = [reply["newest_timestamp_ms"] for reply in replies if reply.get("op") == "forecast"]
        assert pushed == [1000 * (NEXT + 300 * (number - 1)) for number in range(200)]


def test_what_was_accepted_is_pushed_before_the_end() -> None:
    with filled() as service:
        for number in range(50):
            service.send(feed(match(number + 1, NEXT + 300 * number + 1, 65_000 + number)))
        service.signal(signal.SIGTERM)
        replies = service.rest()
        assert service.wait() == 0
        closed = sum(len(reply["closed"]) for reply in replies if "closed" in reply)
        assert closed == sum(reply.get("op") == "forecast" and reply["success"] for reply in replies) > 0
