"""The folder in which streams outlast a service: what is in it, who has it, and what becomes of one that is broken."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_toys import MARKET
from vinocast import state
from vinocast.data.sealed import pack, read, write
from vinocast.engine.lane import Lane
from vinocast.errors import SetupError
from vinocast.forecast.market import Market
from vinocast.forecast.streams import Streams
from vinocast.state import HEAD, State


def new_streams(limit: int = 10, idle: float = 100) -> Streams:
    return Streams(limit, idle, max_steps_ahead=100)


def observe(streams: Streams, name: str, first: int, count: int, *, timed: bool = True) -> None:
    for at in range(first, first + count):
        row = np.array([[at, -at]], np.float32)
        streams.observe(name, 5, 2, row, 1000 * at if timed else None)


def run(folder: Path, streams: Streams, seconds: float = 0) -> State:
    return State(folder, seconds, {"streams": streams})


def snapshot(kept: State) -> None:
    """Have a snapshot written as a service does, by the lane."""
    job = kept.due(time.monotonic())
    assert job is not None
    lane = Lane(1)
    lane.submit_long(job)
    while lane.step():
        pass
    job.wait()
    assert not job.writing


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 12), st.booleans(), st.integers(1, 7))
def test_a_stream_goes_on_as_if_it_had_never_stopped(
    tmp_path_factory: pytest.TempPathFactory, before: int, timed: bool, after: int
) -> None:
    folder = tmp_path_factory.mktemp("state")
    whole, first, second = new_streams(), new_streams(), new_streams()
    observe(whole, "a", 0, 1 + before + after, timed=timed)
    observe(first, "a", 0, 1 + before, timed=timed)
    run(folder, first).close()
    kept = run(folder, second)
    observe(second, "a", 1 + before, after, timed=timed)
    assert second.describe() == whole.describe()
    assert {**second.find("a").dump(), "rows": 0} == {**whole.find("a").dump(), "rows": 0}
    np.testing.assert_array_equal(second.find("a").window(5, 2, fewer=True), whole.find("a").window(5, 2, fewer=True))
    kept.close()


def test_a_stream_that_a_market_model_has_forecast_is_kept_as_it_came(tmp_path: Path) -> None:
    first, second = (Streams(10, 100, max_steps_ahead=100, residuals=5) for _ in range(2))
    rows = np.random.default_rng(0).uniform(1, 2, (6, 7)).astype(np.float32)
    # It has other columns than the rows, and outcomes of these are what is waited for.
    assert first.observe("a", 5, 7, rows, None).expect("m", 2, Market.model_validate(MARKET)) is not None
    run(tmp_path, first).close()
    kept = run(tmp_path, second)
    np.testing.assert_array_equal(second.find("a").window(5, 7), rows[-5:])
    kept.close()


def test_a_snapshot_is_written_when_it_is_time_and_read_by_the_next(tmp_path: Path) -> None:
    streams = new_streams()
    later = run(tmp_path / "later", streams, seconds=1000)
    assert later.due(time.monotonic() + 990) is None
    assert later.due(time.monotonic() + 1000) is not None
    later.close()
    kept = run(tmp_path / "new" / "folder", streams)
    observe(streams, "a", 0, 3)
    snapshot(kept)
    observe(streams, "b", 0, 3)
    # As after kill -9: the lock goes with the process, and the file is as of the last snapshot.
    copied = tmp_path / "copied"
    copied.mkdir()
    (copied / "streams").write_bytes((tmp_path / "new" / "folder" / "streams").read_bytes())
    found = new_streams()
    run(copied, found).close()
    assert [each["stream"] for each in found.describe()] == ["a"]
    kept.close()
    run(tmp_path / "new" / "folder", found).close()
    assert [each["stream"] for each in found.describe()] == ["a", "b"]


def test_a_part_of_a_snapshot_takes_little_and_streams_may_come_and_go_between_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "PART_SECONDS", 0)
    streams = new_streams()
    for name in "abc":
        observe(streams, name, 0, 3)
    kept = run(tmp_path, streams)
    job = kept.due(time.monotonic())
    assert job is not None
    assert not job.run_part()  # what begins the file
    assert not job.run_part()  # a
    streams.forget("b")
    observe(streams, "d", 0, 3)
    observe(streams, "c", 3, 1)
    parts = 1
    while not job.run_part():
        parts += 1
    assert parts == 2
    job.wait()
    _, *records = read(tmp_path / "streams", HEAD)
    assert [(record["name"], record["position"]) for record in records] == [("a", 3), ("c", 4)]
    kept.close()


def test_time_as_idle_counts_on_and_the_time_between_does_not(tmp_path: Path) -> None:
    now = [0.0]
    first = Streams(10, 100, 100, lambda: now[0])
    observe(first, "old", 0, 1)
    now[0] = 60
    observe(first, "new", 0, 1)
    run(tmp_path, first).close()
    later = [10_000.0]
    second = Streams(10, 100, 100, lambda: later[0])
    run(tmp_path, second).close()
    later[0] += 39
    assert len(second.describe()) == 2
    later[0] += 2
    assert [each["stream"] for each in second.describe()] == ["new"]


def test_where_fewer_may_be_kept_the_newest_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = new_streams(), new_streams(limit=2)
    for name in "abcd":
        observe(first, name, 0, 1)
    run(tmp_path, first).close()
    run(tmp_path, second).close()
    assert [each["stream"] for each in second.describe()] == ["c", "d"]
    assert "2 streams of before are dropped: there are at most 2" in caplog.text


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut off": (lambda data: data[:-40], "cut off or changed"),
    "another byte": (lambda data: data[:-60] + b"?" + data[-59:], "cut off or changed"),
    "another version": (lambda data: b"vinocast state 999\n" + data[len(HEAD) :], "got b'vinocast state 99'"),
    "nothing": (lambda data: data[:0], "to begin with"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_is_put_aside_and_the_service_starts_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    streams = new_streams()
    observe(streams, "a", 0, 3)
    run(tmp_path, streams).close()
    change, reason = BROKEN[fault]
    broken = change((tmp_path / "streams").read_bytes())
    (tmp_path / "streams").write_bytes(broken)
    kept = run(tmp_path, streams)
    assert streams.describe() == []
    assert (tmp_path / "streams.refused").read_bytes() == broken
    assert f"{tmp_path}/streams.refused: the streams of before are refused" in caplog.text
    assert reason in caplog.text
    observe(streams, "b", 0, 1)
    kept.close()
    run(tmp_path, streams).close()
    assert [each["stream"] for each in streams.describe()] == ["b"]


@pytest.mark.parametrize(
    "record", [{"of": "streams"}, {"of": "others"}, {}, {"of": "streams", "name": "a", "shape": [1]}]
)
def test_a_file_of_something_else_is_put_aside_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, record: dict[str, object]
) -> None:
    streams = new_streams()
    observe(streams, "a", 0, 3)
    good = {**next(streams.dump()), "of": "streams"}
    write(tmp_path / "streams", HEAD, map(pack, [{"saved": 0.0}, good, record]))
    kept = run(tmp_path, streams)
    assert streams.describe() == []
    assert "are refused" in caplog.text
    kept.close()


def test_what_cannot_be_read_is_put_aside_and_not_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "a backup").touch()
    streams = new_streams()
    kept = run(tmp_path, streams)
    assert f"the user {os.geteuid()} cannot read them: Is a directory" in caplog.text
    observe(streams, "b", 0, 1)
    kept.close()
    assert (tmp_path / "streams.refused" / "a backup").exists()
    run(tmp_path, streams).close()
    assert [each["stream"] for each in streams.describe()] == ["b"]


def test_a_folder_is_one_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "HANDOVER_SECONDS", 0.2)
    kept = run(tmp_path, new_streams())
    with pytest.raises(SetupError, match="another service keeps its streams there"):
        run(tmp_path, new_streams())
    kept.close()
    run(tmp_path, new_streams()).close()


def test_a_folder_is_waited_for_while_the_service_before_ends(tmp_path: Path) -> None:
    holder = (
        "import fcntl, sys, time; fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX); print(flush=True); time.sleep(.5)"
    )
    with subprocess.Popen([sys.executable, "-c", holder, str(tmp_path / "lock")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        run(tmp_path, new_streams()).close()


def test_what_cannot_be_written_is_said_and_nothing_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/vinocast")):
        caplog.clear()
        kept = run(folder, new_streams())
        assert kept.due(time.monotonic() + 10_000) is None
        kept.close()
        (message,) = caplog.messages
        assert f"--state {folder}: no streams will be kept" in message
        assert ("it is a file, and no folder" in message) is folder.is_file()


def test_a_folder_that_is_gone_is_said_once_and_the_end_of_it_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, streams = tmp_path / "state", new_streams()
    observe(streams, "a", 0, 1)
    kept = run(folder, streams)
    folder.rename(tmp_path / "moved")
    snapshot(kept)
    snapshot(kept)
    assert caplog.text.count("the streams cannot be kept: No such file or directory") == 1
    (tmp_path / "moved").rename(folder)
    with caplog.at_level("INFO"):
        snapshot(kept)
    assert "bytes in" in caplog.text
    kept.close()


def test_a_stream_that_cannot_be_written_spoils_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    streams = new_streams()
    observe(streams, "a", 0, 1)
    kept = run(tmp_path, streams)
    snapshot(kept)
    before = (tmp_path / "streams").read_bytes()
    streams.find("a").newest_ms = 2**70
    snapshot(kept)
    assert (tmp_path / "streams").read_bytes() == before
    assert "the streams cannot be kept" in caplog.text
    kept.close()
    assert (tmp_path / "streams").read_bytes() == before
