"""The ops of market streams, as both transports serve them: messages in, bars out, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from market_wire import NOON, candles, match, trades
from support import ROOT, HttpService, Reply, StdioService, error_of

Ask = Callable[..., Reply]
OPTIONS = ("--bars", "1m,5m")


def over_lines(service: StdioService) -> Ask:
    return lambda op, **fields: service.ask({"op": op, **fields})


def over_http(service: HttpService) -> Ask:
    def ask(op: str, **fields: Any) -> Reply:
        stream = quote(str(fields.pop("stream", "")), safe="")
        with httpx.Client(base_url=service.url) as client:
            match op:
                case "feed":
                    reply = client.post("/feed", json=fields)
                case "bars":
                    reply = client.get(f"/streams/{stream}/bars", params=fields)
                case "history":
                    reply = client.post(f"/streams/{stream}/history", json=fields)
                case "forget":
                    reply = client.delete(f"/streams/{stream}")
                case "observe":
                    reply = client.post(f"/streams/{stream}/observations", json=fields)
                case _:
                    reply = client.post("/forecast", json={"stream": stream, **fields})
        answer = reply.json()
        assert (reply.status_code == 200) is answer["success"]
        return dict(answer)

    return ask


@pytest.fixture(scope="module", params=["lines", "http"])
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    if request.param == "lines":
        with StdioService(*OPTIONS) as lines:
            yield over_lines(lines)
    else:
        with HttpService(*OPTIONS, ready=False) as http:
            yield over_http(http)


def test_trades_become_bars_of_every_length(ask: Ask) -> None:
    first = ask("feed", message=match(1, NOON + 10, 100, 2, "ONE-USD"), request_id="a")
    assert first == {
        "request_id": "a",
        "timestamp_ms": None,
        "closed": [],
        "counts": {"seen": 1, "used": 1},
        "success": True,
    }
    both = [match(2, NOON + 70, 101, 1, "ONE-USD"), match(3, NOON + 130, 99.5, 0.5, "ONE-USD")]
    reply = ask("feed", messages=both)
    first_minute = [NOON, 100, 100, 100, 100, 2, "incomplete"]
    second_minute = [NOON + 60, 101, 101, 101, 101, 1, "complete"]
    assert reply["closed"] == [{"stream": "ONE-USD@1m", "bar": bar} for bar in (first_minute, second_minute)]
    assert reply["counts"] == {"seen": 2, "used": 2}
    held = ask("bars", stream="ONE-USD@1m")
    assert held["bars"] == [first_minute, second_minute, [NOON + 120, 99.5, 99.5, 99.5, 99.5, 0.5, "open"]]
    assert held["stream"] == "ONE-USD@1m"
    assert held["counts"] == {"used": 3}
    assert ask("bars", stream="ONE-USD@1m", last=1)["bars"] == held["bars"][-1:]
    (whole,) = ask("bars", stream="ONE-USD@5m")["bars"]
    assert whole[1:6] == [100, 101, 99.5, 99.5, 3.5]


def test_a_broken_message_is_refused_by_its_path_and_the_feed_goes_on(ask: Ask) -> None:
    good = match(1, NOON, 10, 1, "TWO-USD")
    broken = trades((5, NOON, 1.0), (6, NOON + 1, 2.0), number=0, product="TWO-USD")
    broken["events"][0]["trades"][0]["price"] = "NaN"
    code, field = error_of(ask("feed", message=broken))
    assert (code, field) == ("invalid_value", "message.events[0].trades[0].price")
    for stranger in (7, "text", [1], True):
        assert error_of(ask("feed", message=stranger)) == ("invalid_request", "message")
    reply = ask("feed", messages=[good, broken, None, 7, {"type": "error", "message": "no"}, {"type": "unheard of"}])
    assert reply["counts"] == {"seen": 6, "used": 1, "refused": 3, "errors": 1, "ignored": 1}
    assert [warning.partition(":")[0] for warning in reply["warnings"]] == [
        "messages[1].events[0].trades[0].price",
        "messages[2]",
        "messages[3]",
    ]
    again = ask("feed", message=good)
    assert again["counts"] == {"seen": 1, "duplicates": 1}


def test_what_does_not_go_together_is_refused_by_its_field(ask: Ask) -> None:
    good = match(1, NOON, 10, 1, "THREE-USD")
    for fields, fault in (
        ({}, ("invalid_request", "message")),
        ({"message": good, "messages": [good]}, ("invalid_request", "message")),
        ({"messages": good}, ("invalid_request", "messages")),
        ({"message": good, "on_bar": 1}, ("invalid_request", "on_bar")),
        ({"message": good, "connected": "yes"}, ("invalid_request", "connected")),
        ({"message": good, "quantile_levels": [0.5]}, ("invalid_request", "quantile_levels")),
        ({"message": good, "on_bar": False, "missing": "interpolate"}, ("invalid_request", "missing")),
        ({"message": good, "on_bar": True, "quantile_levels": [0.5, 0.5]}, ("invalid_request", "quantile_levels[1]")),
        ({"message": good, "on_bars": True}, ("invalid_request", "on_bars")),
        ({"messages": [0] * 10_001}, ("payload_too_large", "messages")),
    ):
        assert error_of(ask("feed", **fields)) == fault
    row = candles(1)[0]
    for sent, fault in (
        ([], ("invalid_request", "candles")),
        ([row, row[:5]], ("invalid_shape", "candles[1]")),
        ([row, 3], ("invalid_shape", "candles[1]")),
        ([row, [*row[:5], "1"]], ("invalid_value", "candles[1][5]")),
        ([row, [*row[:5], None]], ("invalid_value", "candles[1][5]")),
        ([row] * 10_001, ("payload_too_large", "candles")),
    ):
        assert error_of(ask("history", stream="THREE-USD@5m", candles=sent)) == fault
    assert error_of(ask("bars", stream="THREE-USD@5m")) == ("unknown_stream", "stream")
    assert error_of(ask("bars", stream="THREE-USD")) == ("unknown_stream", "stream")
    assert error_of(ask("history", stream="THREE-USD@7m", candles=[row])) == ("unknown_stream", "stream")
    for last in (0, 902):
        assert error_of(ask("bars", stream="THREE-USD@5m", last=last)) == ("invalid_request", "last")


def test_all_bars_that_are_kept_are_read_unless_fewer_are_asked_for(ask: Ask) -> None:
    rows = [[NOON + 60 * at, 9, 11, 10, 10, 5] for at in range(1000)]
    ask("history", stream="LONG-USD@1m", candles=rows)
    held = ask("bars", stream="LONG-USD@1m")["bars"]
    assert [bar[0] for bar in held] == [row[0] for row in rows[-901:]]
    assert [bar[-1] for bar in held] == ["complete"] * 900 + ["open"]
    assert ask("bars", stream="LONG-USD@1m", last=901)["bars"] == held


def test_a_new_connection_is_told_of_in_either_way(ask: Ask) -> None:
    def feed(number: int, *before: Any, **fields: Any) -> Reply:
        message = trades((number, NOON + number, 5.0), number=number, product="FOUR-USD")
        return dict(ask("feed", messages=[*before, message], **fields)["counts"])

    assert feed(10, connected=True) == {"seen": 1, "used": 1}
    assert feed(12) == {"seen": 1, "used": 1, "missed_trades": 1, "missed_messages": 1}
    assert feed(14, connected=True) == {"seen": 1, "used": 1, "missed_trades": 1}
    assert feed(16, {"connect": True}) == {"seen": 1, "used": 1, "missed_trades": 1}


def test_candles_in_any_order_fill_what_is_missing(ask: Ask) -> None:
    stream, rows = "FIVE-USD@5m", candles(12)
    first = ask("history", stream=stream, candles=rows[3:6] + rows[9:])
    assert first["counts"] == {"used": 6}
    states = [bar[-1] for bar in ask("bars", stream=stream)["bars"]]
    assert states == ["complete"] * 3 + ["missing"] * 3 + ["complete"] * 2 + ["open"]
    missing = next(bar for bar in ask("bars", stream=stream)["bars"] if bar[-1] == "missing")
    assert missing[1:6] == [None] * 5
    ask("history", stream=stream, candles=rows)
    held = ask("bars", stream=stream, last=12)["bars"]
    assert [bar[-1] for bar in held] == ["complete"] * 11 + ["open"]
    as_candles = [[start, low, high, opened, close, volume] for start, opened, high, low, close, volume, _ in held]
    assert as_candles == rows[::-1]


def test_a_market_stream_is_forgotten_and_not_observed(ask: Ask) -> None:
    ask("feed", message=match(1, NOON, 10, 1, "SIX-USD"))
    assert error_of(ask("observe", stream="SIX-USD@5m", values=[1] * 7)) == ("invalid_request", "stream")
    dropped = ask("forget", stream="SIX-USD@5m")
    assert (dropped["rows"], dropped["newest_timestamp_ms"]) == (0, None)
    assert error_of(ask("forget", stream="SIX-USD@5m")) == ("unknown_stream", "stream")
    assert ask("bars", stream="SIX-USD@1m")["bars"]


def test_the_products_that_are_not_kept_are_counted_as_ignored() -> None:
    with StdioService("--products", "AAA-USD,BBB-USD") as service:
        ask = over_lines(service)
        assert ask("feed", message=match(1, NOON, 10))["counts"] == {"seen": 1, "used": 1}
        assert ask("feed", message=match(1, NOON, 10, 1, "CCC-USD"))["counts"] == {"seen": 1, "ignored": 1}
        row = candles(1)
        assert error_of(ask("history", stream="CCC-USD@5m", candles=row)) == ("unknown_stream", "stream")
        assert service.finish() == ([], 0)


def test_market_streams_are_bounded_and_listed() -> None:
    with HttpService("--max-streams", "1", ready=False) as service:
        ask = over_http(service)
        ask("observe", stream="mine", values=[1] * 7)
        ask("history", stream="AAA-USD@5m", candles=candles(3))
        with httpx.Client(base_url=service.url) as client:
            streams = client.get("/streams").json()["streams"]
            newest = {"rows": 2, "missing": 543, "timestamp_ms": 1000 * (NOON + 300)}
            assert streams[1] == {"stream": "AAA-USD@5m", **newest}
            assert client.get("/streams").status_code == 200
        full = ask("feed", message=match(1, NOON, 10, 1, "BBB-USD"))
        assert error_of(full)[0] == "overloaded"


def test_a_bar_or_a_product_that_is_none_is_refused_at_the_start(run_vinocast: Any) -> None:
    for option, value in (("--bars", "5"), ("--bars", "5m,1w"), ("--bars", "2000h"), ("--products", "A/B")):
        done = run_vinocast("stdio", option, value)
        assert done.returncode == 2
        assert re.search(rf"'{option}'.*expected", done.stderr, re.DOTALL)
    assert "`--bars`" in (ROOT / "docs" / "protocol.md").read_text()


@pytest.mark.parametrize(
    ("products", "told"),
    [
        (
            "btc-usd,ETH-USD,Sol-usd",
            "--products btc-usd,Sol-usd: Coinbase's own products are in upper case, so that messages of "
            "BTC-USD,SOL-USD will be ignored",
        ),
        ("BTC-USD,btc-usd", None),
    ],
)
def test_products_that_are_not_in_upper_case_are_kept_and_told_of_at_the_start(products: str, told: str | None) -> None:
    with StdioService("--products", products) as service:
        fed = service.ask({"op": "feed", "message": match(1, NOON, 10, product="btc-usd")})
        assert fed["counts"] == {"seen": 1, "used": 1}
        warned = [line for line in service.log.splitlines() if "upper case" in line]
    assert len(warned) == (told is not None)
    assert told is None or told in warned[0]
