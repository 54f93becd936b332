"""A few reloads under clients: no request is lost or answered wrong, and memory stays."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import PATIENCE, ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("layout", ["versions", "flat"])
def test_no_request_is_lost_or_answered_wrong_in_a_few_reloads(layout: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.reloads", "--reloads", "5", "--layout", layout],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=6 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split()[:5] == ["layout", "reloads", "requests", "lost", "wrong"]
    assert [row.split()[:2] for row in rows] == [[layout, count] for count in ("0", "2", "5")]
    for row in rows:
        assert int(row.split()[2]) >= 16
        assert row.split()[3:5] == ["0", "0"]
