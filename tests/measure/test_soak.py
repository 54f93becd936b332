"""A short soak: every reply of the service is right, and no file or thread is left behind."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import PATIENCE, ROOT

pytestmark = pytest.mark.slow


def test_every_reply_of_a_short_run_is_right_over_both_transports() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--requests", "400"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split()[:5] == ["transport", "requests", "MB", "files", "threads"]
    assert [row.split()[0] for row in rows] == ["stdio", "stdio", "http", "http"]
    for before, after in (rows[:2], rows[2:]):
        assert int(after.split()[1]) >= 400
        assert before.split()[3:5] == after.split()[3:5], "files and threads are neither opened nor left behind"
