"""Files of records: what is written is read, and what has changed is told."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vinocast.data.sealed import pack, read, write

HEAD = b"of a test 1\n"
RECORDS: list[dict[str, Any]] = [
    {"saved": 1.5, "none": None, "yes": True, "text": "ä", "ids": [1, 2**62]},
    {"rows": np.arange(12, dtype=np.float64).reshape(3, 4), "deep": [{"flags": np.array([1, 2], np.uint8)}]},
    {"empty": np.empty((0, 7), np.float32), "lost": np.array([np.nan, np.inf])},
]


def save(path: Path, records: list[dict[str, Any]] = RECORDS) -> int:
    return write(path, HEAD, map(pack, records))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    size = save(tmp_path / "file")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert size == (tmp_path / "file").stat().st_size
    first, second, third = read(tmp_path / "file", HEAD)
    assert first == RECORDS[0]
    np.testing.assert_array_equal(second["rows"], RECORDS[1]["rows"], strict=True)
    np.testing.assert_array_equal(second["deep"][0]["flags"], RECORDS[1]["deep"][0]["flags"], strict=True)
    np.testing.assert_array_equal(third["empty"], RECORDS[2]["empty"], strict=True)
    np.testing.assert_array_equal(third["lost"], RECORDS[2]["lost"], strict=True)
    second["rows"][:] = 0


def test_a_file_of_no_records_is_one(tmp_path: Path) -> None:
    save(tmp_path / "file", [])
    assert list(read(tmp_path / "file", HEAD)) == []


@given(st.data())
def test_any_byte_that_is_another_or_lacks_is_told(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("sealed") / "file"
    save(path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cut off|sha256|to begin with"):
        next(read(path, HEAD))


def test_another_version_is_told(tmp_path: Path) -> None:
    save(tmp_path / "file")
    with pytest.raises(ValueError, match=r"expected it to begin with b'of a test 2\\n', got b'of a test 1\\n'"):
        next(read(tmp_path / "file", b"of a test 2\n"))


@pytest.mark.parametrize("value", [object(), b"bytes", {1}, np.array(["text"]), np.array([1 + 1j]), 2**70])
def test_what_cannot_be_written_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        pack({"value": value})


def test_what_goes_wrong_leaves_what_was_there(tmp_path: Path) -> None:
    save(tmp_path / "file")
    before = (tmp_path / "file").read_bytes()
    with pytest.raises(TypeError):
        save(tmp_path / "file", [*RECORDS, {"value": object()}])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"file": before}


WRITER = f"""
import sys, numpy as np
from pathlib import Path
from vinocast.data.sealed import pack, write
number = 0
while True:
    records = [pack({{"number": number}})] + [pack({{"rows": np.full((900, 6), number, float)}}) for _ in range(50)]
    write(Path(sys.argv[1]), {HEAD!r}, iter(records))
    print(number, flush=True)
    number += 1
"""


def test_a_writer_that_is_killed_leaves_the_last_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for round_ in range(5):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            last = int(writer.stdout.readline())
            time.sleep(0.003 * round_)
            writer.send_signal(signal.SIGKILL)
            last = max([last, *map(int, writer.stdout.read().split())])
        first, *others = read(path, HEAD)
        assert first["number"] in {last, last + 1}  # which may be whole, and not said yet
        assert len(others) == 50
        assert all((record["rows"] == first["number"]).all() for record in others)
