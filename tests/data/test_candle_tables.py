"""Candles out of files of others: any order of rows and columns, times with a zone, the volume in coins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import SHARED_DATA
from vinocast.data.tables.candles import read_candles
from vinocast.errors import SetupError

START = 1_772_600_400  # 2026-03-04 05:00:00 UTC


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "times",
    [
        ("2026-03-04 05:00", "2026-03-04 06:00", "2026-03-04 08:00"),
        ("2026-03-04T06:00:00+01:00", "2026-03-04T07:00:00+01:00", "2026-03-04T09:00:00+01:00"),
        (str(START), str(START + 3600), str(START + 3 * 3600)),
        ("2026-03-04 05-AM", "2026-03-04 06-AM", "2026-03-04 08-AM"),
    ],
)
def test_candles_stand_by_their_times_in_utc_whatever_the_order_of_rows_and_columns(
    tmp_path: Path, times: tuple[str, ...]
) -> None:
    rows = [
        f"{moment},BTC-USD,{place + 3},{place + 9},{place + 1},{place + 4},5000.5,{place}.5"
        for place, moment in enumerate(times)
    ]
    text = "\n".join(["Date,Symbol,Open,HIGH,Low,close,Volume USD,Volume BTC", *reversed(rows)])
    table = read_candles(write(tmp_path / "candles.csv", text))
    assert table.seconds == 3600
    assert table.rows.tolist() == [
        [START, 1, 9, 3, 4, 0.5],
        [START + 3600, 2, 10, 4, 5, 1.5],
        [START + 3 * 3600, 3, 11, 5, 6, 2.5],
    ]
    assert "volume is column 'Volume BTC'" in table.notes


def test_candles_of_days_whose_zone_changes_stand_a_day_apart_by_the_newest_rows_zone(tmp_path: Path) -> None:
    days = [("2026-03-28", "+01:00"), ("2026-03-29", "+01:00"), ("2026-03-30", "+02:00"), ("2026-03-31", "+02:00")]
    rows = [f"{day}T00:00:00{zone},1,2,0.5,1.5,3" for day, zone in days]
    table = read_candles(
        write(tmp_path / "candles.csv", "\n".join(["time,open,high,low,close,volume", *reversed(rows)]))
    )
    assert table.seconds == 86_400
    newest = 1_774_908_000  # 2026-03-30 22:00:00 UTC
    assert table.rows[:, 0].tolist() == [newest - 3 * 86_400, newest - 2 * 86_400, newest - 86_400, newest]


def test_the_first_volume_is_taken_where_none_is_in_dollars(tmp_path: Path) -> None:
    text = "time,open,high,low,close,volume_btc,volume\n2026-03-04 05:00,3,4,1,2,7,9\n2026-03-04 05:05,3,4,1,2,8,9\n"
    table = read_candles(write(tmp_path / "candles.csv", text))
    assert (table.seconds, table.rows[:, 5].tolist()) == (300, [7, 8])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,open,high,low,volume\n2026-03-04 05:00,3,4,1,7\n2026-03-04 06:00,3,4,1,7\n", "there is no close"),
        ("time,open,high,low,close\n2026-03-04 05:00,3,4,1,7\n2026-03-04 06:00,3,4,1,7\n", "there is no volume"),
        ("open,high,low,close,volume\n3,4,1,2,7\n3,4,1,2,7\n", "expected a time for each candle"),
    ],
)
def test_what_are_no_candles_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SetupError, match=said):
        read_candles(write(tmp_path / "candles.csv", text))


@pytest.mark.shared_data
def test_the_hours_of_the_exchange_are_read_without_their_copies() -> None:
    table = read_candles(SHARED_DATA / "coinbase" / "BTCUSD_1h.csv")
    assert table.seconds == 3600
    assert len(table.rows) == 20_111 - 5
    assert (np.diff(table.rows[:, 0]) > 0).all()
    assert table.rows[-1].tolist() == [1_571_302_800, 8021.23, 8056.83, 8051, 8035.88, 61.25]
