"""A named pipe in the place of a file is told, or read where somebody writes to it; nothing waits for a writer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import MODEL, PATIENCE, RunVinocast
from vinocast.data.regular import read_input, read_regular


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    return path


def test_what_is_no_regular_file_is_told_without_waiting(pipe: Path, tmp_path: Path) -> None:
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(path)
    with pytest.raises(OSError, match="a pipe that nobody writes to"):
        read_input(pipe)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_input(tmp_path / "absent")


def test_a_pipe_that_somebody_writes_to_is_read_to_its_end() -> None:
    late = "import time; time.sleep(0.2); print(end='one'); time.sleep(0.2); print(end='two' * 99999)"
    with subprocess.Popen([sys.executable, "-u", "-c", late], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        assert read_input(Path(f"/proc/self/fd/{writer.stdout.fileno()}")) == b"one" + b"two" * 99999
        assert writer.wait(PATIENCE) == 0


@pytest.mark.slow
def test_no_command_waits_for_a_pipe(run_vinocast: RunVinocast, pipe: Path, tmp_path: Path) -> None:
    (tmp_path / "splits").mkdir()
    os.mkfifo(tmp_path / "splits" / "phase2_test_ids.txt")
    for arguments in (
        ["raster", pipe, "--output", tmp_path / "out"],
        ["raster", "--font", pipe, "--text", "A", "--output", tmp_path / "out"],
        ["evaluate", MODEL, "--data", pipe],
        ["tune", "--data", pipe],
        ["infer-chain", "--use-memmap-grids", "--memmap-grids-file", pipe, "--memmap-row-ids-file", pipe],
        ["infer-chain", "--rasters_dir", tmp_path, "--use-test-split", "--splits-dir", tmp_path / "splits"],
        ["infer-chain", "--rasters_dir", "examples/rasters", "--output_json", pipe],
    ):
        done = run_vinocast(*arguments)
        assert done.returncode == 1, arguments
        assert "a pipe that nobody" in done.stderr or "not a regular file" in done.stderr
        assert "Traceback" not in done.stderr
