"""Captures: plain or packed, with lines that are no messages, cut short."""

from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pytest
from vinocast.errors import SetupError
from vinocast.sources.capture import MOST_LINE_BYTES, is_capture, read_capture, time_of

MESSAGES = [{"type": "match", "trade_id": number} for number in range(3)]
TEXT = b"".join(orjson.dumps(message) + b"\r\n" for message in MESSAGES)


@pytest.mark.parametrize("packed", [False, True])
def test_each_line_that_is_not_blank_is_a_message(tmp_path: Path, packed: bool) -> None:
    long = b'{"x": "' + b"y" * 3 * MOST_LINE_BYTES + b'"}\n'
    text = b"\n" + TEXT + b"  \nnonsense\n\xff\n" + long + orjson.dumps(MESSAGES[0])
    path = tmp_path / "capture"
    path.write_bytes(gzip.compress(text) if packed else text)
    assert is_capture(path)
    lines = list(read_capture(path))
    assert [line.message for line in lines] == [*MESSAGES, None, None, None, MESSAGES[0]]
    assert lines[-2].size == len(long)
    assert lines[-1].read == path.stat().st_size


def test_what_is_cut_short_is_taken_to_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    many = TEXT * 5000
    path = tmp_path / "capture.gz"
    packed = gzip.compress(many, 1)
    path.write_bytes(packed[: len(packed) // 2])
    found = [line.message for line in read_capture(path)]
    assert 0 < len(found) < 15_000
    assert found[:3] == MESSAGES
    assert "cut short or damaged" in caplog.text


def test_one_that_is_cut_in_its_first_lines_is_still_one(tmp_path: Path) -> None:
    path = tmp_path / "capture.gz"
    path.write_bytes(gzip.compress(TEXT)[:-12])
    assert is_capture(path)
    found = [line.message for line in read_capture(path)]
    assert found
    assert found == MESSAGES[: len(found)]


@pytest.mark.parametrize(("behind", "says"), [(b"", "ended before"), (b"\xff" * 9, "while decompressing")])
def test_one_of_which_nothing_can_be_unpacked_is_refused(tmp_path: Path, behind: bytes, says: str) -> None:
    path = tmp_path / "capture.gz"
    path.write_bytes(gzip.compress(TEXT)[:10] + behind)
    with pytest.raises(SetupError, match=rf"capture\.gz: .*{says}"):
        is_capture(path)


def test_a_table_is_no_capture_and_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "candles.csv").write_text("time,open\n")
    assert not is_capture(tmp_path / "candles.csv")
    (tmp_path / "empty").write_bytes(b"")
    assert not is_capture(tmp_path / "empty")
    with pytest.raises(SetupError, match="No such file"):
        is_capture(tmp_path / "none")
    with pytest.raises(SetupError, match="directory"):
        list(read_capture(tmp_path))


def test_the_time_of_a_message_is_the_exchange_s() -> None:
    assert time_of({"type": "match", "time": "2026-03-04T05:00:00.77Z"}) == 1_772_600_400.77
    assert time_of({"channel": "ticker", "timestamp": "2026-03-04T05:00:00.123456789Z"}) == 1_772_600_400.123456
    message: object
    for message in ({}, [], None, {"time": 5}, {"time": "soon"}):
        assert time_of(message) is None
