"""A copy of the streams that is made while a service writes them is a whole one, from which another goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
from support import HttpService, random_windows, wait_until


def test_a_copy_made_while_the_service_runs_is_whole_and_restored_by_being_put_there(tmp_path: Path) -> None:
    state, backup, restored = (tmp_path / name for name in ("state", "backup", "restored"))
    backup.mkdir()
    restored.mkdir()
    written = state / "streams"
    with HttpService("--state", state, "--state-seconds", "1") as service:
        body = {"values": random_windows(1)[0].tolist()}
        assert httpx.post(f"{service.url}/streams/a/observations", json=body).json()["rows"] == 512
        expected = httpx.post(f"{service.url}/forecast", json={"stream": "a"}).json()["predictions"]
        wait_until(written.exists, "a snapshot")
        seen: set[int] = set()
        copies: list[Path] = []

        def copied() -> bool:  # as cp does: open, then read what was opened, whatever is put in its place meanwhile
            copies.append(backup / str(len(copies) % 20))
            shutil.copy(written, copies[-1])
            seen.add(written.stat().st_mtime_ns)
            return len(seen) > 2

        wait_until(copied, "copies over two snapshots")
    shutil.copy(copies[-1], restored / "streams")
    with HttpService("--state", restored) as service:
        assert httpx.post(f"{service.url}/forecast", json={"stream": "a"}).json()["predictions"] == expected
        assert "1 streams are as they were at 20" in service.log
