"""Forecasts by the name of a market stream, over both transports: the window that they are of, and its terms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import talib
from market_wire import NOON, STREAM, Candle, candles, match
from support import HttpService, Reply, StdioService, Window, error_of, packed

CHANNELS = ["close", "high", "low", "volume", "rsi", "macd", "volatility"]
BARS = 600
ROWS = candles(BARS)
LAST = NOON + (BARS - 2) * 300  # the start of the newest bar that has closed


def window_of(rows: list[Candle], until: int = LAST) -> Window:
    """The window of the closed bars up to one, by TA-Lib's batch functions."""
    kept = np.array(sorted(row for row in rows if row[0] <= until))
    _, low, high, _, close, volume = kept.T
    deviations = talib.STDDEV(np.diff(np.log(close)), 20) * np.sqrt(20 / 19)
    volatility = np.concatenate(([np.nan], deviations))
    columns = (close, high, low, volume, talib.RSI(close, 14), talib.MACD(close, 12, 26, 9)[0], volatility)
    return np.stack(columns, axis=1).astype(np.float32)[-512:]


@pytest.fixture(scope="module")
def lines() -> Iterator[StdioService]:
    with StdioService() as service:
        assert service.ask({"op": "history", "stream": STREAM, "candles": ROWS})["success"]
        yield service


@pytest.mark.parametrize("model", ["vinocast-general", "btcusd"])
def test_a_forecast_by_name_is_that_of_the_same_window_sent_whole(lines: StdioService, model: str) -> None:
    market = model == "btcusd"
    whole = packed(window_of(ROWS), model=model, **({} if market else {"channels": CHANNELS}))
    asked: list[tuple[int, dict[str, Any]]] = [
        (96, {}),
        (96, {"targets": ["log_volume" if market else "volume", 0]}),
        (3, {"prediction_length": 3}),
        (96, {"quantile_levels": [0.1, 0.9], "targets": ["close"]}),
        *([] if market else [(100, {"prediction_length": 100, "rollout": True})]),
        (96, {"encoding_format": "base64"}),
    ]
    for steps, terms in asked:
        named, sent = lines.ask({"stream": STREAM, "model": model, **terms}), lines.ask({**whole, **terms})
        assert named["success"], named
        starts = [(LAST + 300 * step) * 1000 for step in range(1, steps + 1)]
        given = {"newest_timestamp_ms": LAST * 1000, "rows_since_newest": 0, "timestamps": starts}
        times = {"inference_time_ms", "queue_time_ms", "warnings"}
        assert {key: value for key, value in named.items() if key not in times} == {
            **{key: value for key, value in sent.items() if key not in times},
            **given,
        }


def test_a_forecast_by_name_over_http_is_that_of_the_lines(lines: StdioService) -> None:
    with HttpService() as service, httpx.Client(base_url=service.url) as client:
        assert client.post(f"/streams/{STREAM}/history", json={"candles": ROWS}).status_code == 200
        answer = client.post("/forecast", json={"stream": STREAM}).json()
        assert answer["predictions"] == lines.ask({"stream": STREAM})["predictions"]
        assert answer["model"] == "btcusd"


def test_a_market_model_answers_unless_another_is_named_and_warns_of_bars_of_another_length() -> None:
    hours = candles(BARS, seconds=3600)
    with StdioService("--bars", "5m,1h") as service:
        for stream, rows in ((STREAM, ROWS), ("AAA-USD@1h", hours)):
            assert service.ask({"op": "history", "stream": stream, "candles": rows})["success"]
        right, other = service.ask({"stream": "AAA-USD@1h"}), service.ask({"stream": STREAM})
        assert (right["model"], other["model"]) == ("btcusd", "btcusd")
        assert right["channels"] == ["close", "high", "low", "log_range", "log_volume", "log_volatility"]
        assert "warnings" not in right
        (warning,) = other["warnings"]
        assert "expected bars of 1h" in warning
        named = service.ask({"stream": STREAM, "model": "vinocast-general"})
        assert (named["model"], named["channels"], "warnings" in named) == ("vinocast-general", CHANNELS, False)
    with StdioService("--default-model", "vinocast-general") as service:
        service.ask({"op": "history", "stream": STREAM, "candles": ROWS})
        assert service.ask({"stream": STREAM})["model"] == "vinocast-general"


def test_terms_of_a_market_stream_are_honoured_or_refused(lines: StdioService) -> None:
    sent = {"stream": STREAM, "timestamp_ms": 5, "step_ms": 10, "prediction_length": 2, "targets": ["low"]}
    assert lines.ask(sent)["timestamps"] == [15, 25]
    for terms, fault in (
        ({"targets": ["open"]}, ("unknown_target", "targets[0]")),
        ({"channels": CHANNELS}, ("invalid_request", "channels")),
        ({"start": "2026-01-01", "freq": "h"}, ("invalid_request", "start")),
        ({"prediction_length": 97}, ("invalid_request", "prediction_length")),
        ({"model": "glyphs"}, ("unknown_model", "model")),
        ({"stream": "BBB-USD@5m"}, ("unknown_stream", "stream")),
        ({"stream": "AAA-USD@9m"}, ("unknown_stream", "stream")),
    ):
        assert error_of(lines.ask({"stream": STREAM, **terms})) == fault
    named = lines.ask({"stream": STREAM, "model": "patchtst-etth1", "targets": ["close"]})
    assert (named["model"], named["channels"]) == ("patchtst-etth1", ["close"])


def test_a_young_stream_says_how_many_bars_are_missing_and_can_be_padded(lines: StdioService) -> None:
    stream, rows = "YOUNG-USD@5m", sorted(ROWS)
    lines.ask({"op": "history", "stream": stream, "candles": rows[:21]})
    reply = lines.ask({"stream": stream})
    assert error_of(reply) == ("not_enough_history", "stream")
    assert "525 are missing" in reply["error"]["message"]
    lines.ask({"op": "history", "stream": stream, "candles": rows[:545]})
    assert "1 are missing" in lines.ask({"stream": stream})["error"]["message"]
    padded = lines.ask({"stream": stream, "short": "pad", "targets": ["close"]})
    assert padded["padded"] == 1
    lines.ask({"op": "history", "stream": stream, "candles": rows[:546]})
    assert lines.ask({"stream": stream, "targets": ["close"]})["success"]


def test_a_bar_that_is_missing_is_refused_interpolated_or_mended(lines: StdioService) -> None:
    one = {"model": "vinocast-general", "targets": ["close"]}

    def ask(**terms: Any) -> Reply:
        return lines.ask({"stream": "HOLE-USD@5m", **one, **terms})

    without = [row for row in ROWS if row[0] not in {LAST - 600, LAST - 300}]
    lines.ask({"op": "history", "stream": "HOLE-USD@5m", "candles": without})
    refused = ask()
    assert error_of(refused) == ("invalid_value", "stream")
    assert str(LAST - 600) in refused["error"]["message"]
    filled = ask(missing="interpolate")
    assert filled["filled"] == 2
    lines.ask({"op": "history", "stream": "HOLE-USD@5m", "candles": ROWS})
    assert ask()["predictions"] == lines.ask({"stream": STREAM, **one})["predictions"]


def test_bands_learn_from_the_bars_that_follow() -> None:
    most, bars = 20, 30
    with StdioService("--stream-residuals", str(most)) as service:
        service.ask({"op": "history", "stream": STREAM, "candles": ROWS})
        closes = (65_000 + np.random.default_rng(7).normal(0, 40, bars)).round(2).tolist()
        terms = {"model": "vinocast-general", "targets": ["close"], "quantile_levels": [0.5], "prediction_length": 1}
        pushes = []
        for number, close in enumerate(closes):
            message = match(number + 1, LAST + 300 * (number + 2) + 1, close)
            assert service.ask({"op": "feed", "message": message, "on_bar": True, **terms})["success"]
            pushes.append(service.receive())
        assert [push["quantiles_from"] for push in pushes] == ["model"] * most + ["stream"] * (bars - most)
        past = np.array([*(row[4] for row in sorted(ROWS)), *closes])
        points = np.array([push["predictions"][0][0] for push in pushes])
        scales = np.array([past[: BARS + number][-512:].std() for number in range(bars)])
        residuals = (closes - points) / scales
        for number in range(most, bars):
            median = np.median(residuals[number - most : number])
            expected = points[number] + median * scales[number]
            assert pushes[number]["quantiles"]["0.5"][0][0] == pytest.approx(expected, rel=1e-6)
