"""Progress where no terminal is: lines, each of its own."""

from __future__ import annotations

import pytest
from vinocast.progress import Lines, progress


def test_a_line_now_and_then_and_none_for_what_is_quick(capfd: pytest.CaptureFixture[str]) -> None:
    lines = Lines(4, "measuring", seconds=0)
    for _ in range(2):
        lines.update(2)
    unknown = Lines(0, "ETTh1.csv", seconds=0)
    unknown.update(7)
    assert capfd.readouterr().err == "measuring: 2 of 4, 50%\nmeasuring: 4 of 4, 100%\nETTh1.csv: 7\n"
    with progress(1000, "measuring") as quick:
        for _ in range(1000):
            quick.update(1)
    assert capfd.readouterr().err == ""
