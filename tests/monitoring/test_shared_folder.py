"""The folder in which workers count: one for each service that lives, and none of those that have ended."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import pytest
from support import HttpService
from vinocast.monitoring.shared_folder import PREFIX, shared_folder


def folders(root: Path) -> set[str]:
    return {folder.name for folder in root.glob(f"{PREFIX}*")}


def test_only_what_nobody_holds_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / f"{PREFIX}left").mkdir()
    (tmp_path / f"{PREFIX}left" / "counter_1.db").touch()
    with shared_folder() as one:
        assert folders(tmp_path) == {Path(one).name, f"{PREFIX}link", f"{PREFIX}file"}
        with shared_folder() as other:
            assert {Path(one).name, Path(other).name} < folders(tmp_path)
        assert Path(one).is_dir()
    assert folders(tmp_path) == {f"{PREFIX}link", f"{PREFIX}file"}
    assert elsewhere.is_dir()


@pytest.mark.slow
def test_the_next_start_removes_what_a_killed_service_has_left(tmp_path: Path) -> None:
    env = {"TMPDIR": str(tmp_path)}
    with HttpService("--workers", "2", env=env) as killed:
        (left,) = folders(tmp_path)
        with HttpService("--workers", "2", env=env) as beside:
            assert left in folders(tmp_path)
            killed.signal(signal.SIGKILL)
            killed.wait()
            with HttpService("--workers", "2", env=env):
                # Its workers, which held it too, have ended by themselves before one more could be ready.
                assert len(folders(tmp_path) - {left}) == 2
            beside.signal(signal.SIGTERM)
            beside.wait()
    with HttpService("--workers", "2", env=env) as last:
        assert left not in folders(tmp_path)
        last.signal(signal.SIGTERM)
        last.wait()
    assert folders(tmp_path) == set()
