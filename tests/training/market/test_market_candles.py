"""Candles that become what a market model is trained on: the channels that are served, divided by time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from candle_files import FIRST, make_candles, write_candles
from vinocast.errors import SetupError
from vinocast.market.channels import WARM_UP, Indicators, seven
from vinocast.training.market.candles import CONTEXT, FILLING, HORIZON, read_market

COUNT = 2600


def test_rows_are_the_channels_that_a_stream_has(tmp_path: Path) -> None:
    candles = make_candles(COUNT)
    data = read_market(write_candles(tmp_path / "c.csv", candles), 0.2, 0.2)
    _, _, high, low, close, volume = candles.T
    assert np.array_equal(data.rows, seven(np.stack((close, high, low, volume)), Indicators().values(close))[WARM_UP:])
    assert data.times[0] == FIRST + 3600 * WARM_UP
    assert (data.seconds, data.bar) == (3600, "1h")


@pytest.mark.parametrize(("seconds", "bar"), [(300, "5m"), (30, "30s"), (7200, "2h")])
def test_bars_of_another_length(tmp_path: Path, seconds: int, bar: str) -> None:
    assert read_market(write_candles(tmp_path / "c.csv", make_candles(COUNT, seconds)), 0.2, 0.2).bar == bar


def test_a_division_by_share_and_one_by_time(tmp_path: Path) -> None:
    path = write_candles(tmp_path / "c.csv", make_candles(COUNT))
    rows = COUNT - WARM_UP
    shared = read_market(path, 0.15, 0.25)
    test, validation = rows - round(0.25 * rows), rows - round(0.25 * rows) - round(0.15 * rows)
    assert shared.targets == {"train": (0, validation), "validation": (validation, test), "test": (test, rows)}
    assert shared.options[2:] == ["--validation-share", "0.15", "--test-share", "0.25"]
    moments = [str(np.datetime64(int(shared.times[row]), "s")) for row in (validation, test)]
    timed = read_market(path, validation_from=moments[0], test_from=moments[1])
    assert timed.targets == shared.targets
    assert timed.options[2:] == ["--validation-from", moments[0], "--test-from", moments[1]]
    assert [len(timed.begins(split)) for split in ("train", "validation", "test")] == [
        validation - CONTEXT - HORIZON + 1,
        test - validation - HORIZON + 1,
        rows - test - HORIZON + 1,
    ]


def test_filling_is_dropped_and_a_quiet_hour_is_not(tmp_path: Path) -> None:
    candles = make_candles(COUNT)
    for first, count in ((600, FILLING), (900, FILLING - 1)):
        candles[first : first + count, 1:5] = candles[first - 1, 4]
        candles[first : first + count, 5] = 0
    data = read_market(write_candles(tmp_path / "c.csv", candles), 0.2, 0.2)
    assert len(data.rows) == COUNT - WARM_UP - FILLING
    gaps = np.flatnonzero(np.diff(data.times) != 3600)
    assert data.times[gaps].tolist() == [FIRST + 3600 * 599]
    assert any("12 candles without a trade" in note for note in data.notes)


@pytest.mark.parametrize(
    ("validation", "test", "told"),
    [(0.45, 0.45, "train part has"), (0.1, 0.3, "validation part has"), (0.3, 0.1, "test part has")],
)
def test_too_few_candles_are_refused(tmp_path: Path, validation: float, test: float, told: str) -> None:
    path = write_candles(tmp_path / "c.csv", make_candles(2000))
    with pytest.raises(SetupError, match=f"the {told} .* fewer than 200: give it more candles"):
        read_market(path, validation, test)


def test_prices_that_cannot_be_are_refused(tmp_path: Path) -> None:
    candles = make_candles(COUNT)
    candles[50, 3] = 0
    with pytest.raises(SetupError, match="prices above 0"):
        read_market(write_candles(tmp_path / "c.csv", candles), 0.2, 0.2)


def test_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write_candles(tmp_path / "c.csv", make_candles(COUNT))
    with pytest.raises(SetupError, match="--test-from"):
        read_market(path, test_from="tomorrow")
