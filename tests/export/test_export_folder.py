"""Where a model can be written, and where not: said in a sentence, before the work where that can be known."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
from support import MODEL, MODELS, VINOCAST, copy_model
from vinocast.data.bundled import mend
from vinocast.engine.tuned import PROFILE_FILE
from vinocast.errors import SetupError
from vinocast.export.folder import check_output

SOURCE = MODELS / MODEL / "source"
PATIENCE = 150


def convert(source: Path, output: Path, *before: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [*before, VINOCAST, "convert", source, "--output", output]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, **options)


def small_files() -> None:
    """As on a disk that fills up in the middle: a write beyond 100 kB fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def tiny_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def test_a_disk_that_fills_up_is_said_in_a_sentence_and_the_older_model_stays(tmp_path: Path) -> None:
    output = copy_model(tmp_path, "mine")
    shutil.rmtree(output / "source")
    before = (output / "manifest.json").read_bytes()
    done = convert(SOURCE, output, preexec_fn=small_files)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.startswith(f"vinocast: {output} cannot be written: ")
    assert message.endswith("make room, or name another folder")
    assert (output / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_no_room_is_seen_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"takes 1000000000000\.0 MB, of which .* MB are free: make room"):
        check_output(tmp_path / "new" / "mine", set(), 10**18)
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="is no folder that this user can write to"):
        check_output(tmp_path / "file" / "mine", set(), 0)


def test_a_path_that_is_no_utf_8_holds_a_model_but_does_not_name_one(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    shutil.copytree(SOURCE, folder / SOURCE.name)
    done = convert(folder / SOURCE.name, folder / os.fsdecode(b"m\xe9"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        f"vinocast: {tmp_path}/caf\\xe9/m\\xe9: a model is named after its folder, in printable UTF-8: name another"
    ]
    shutil.move(folder / SOURCE.name, folder / os.fsdecode(b"s\xe9"))
    done = convert(folder / os.fsdecode(b"s\xe9"), folder / "mine")
    assert done.returncode == 0, done.stderr
    assert orjson.loads((folder / "mine" / "manifest.json").read_bytes())["source"]["name"] == "s\\xe9"
    # A step per line, in a log as well.
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == [f"{step}/6" for step in range(1, 7)]
    assert "\r" not in done.stderr


def test_a_user_without_a_home_converts(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    # A user id without a line in /etc/passwd, which may all the same read what the one that runs the tests may.
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    done = convert(SOURCE, tmp_path / "mine", "unshare", "--user", "--map-user=54321", env=environment)
    if done.stderr.startswith("unshare:"):
        pytest.skip("this user may not have a user namespace of its own")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "model.xml").is_file()


@pytest.mark.parametrize("limit", [tiny_files, None], ids=["a full disk", "no folder"])
def test_tune_measures_nothing_where_it_could_not_keep_the_result(limit: Any, tmp_path: Path) -> None:
    state = tmp_path if limit else tmp_path / "file"
    if limit is None:
        state.touch()
    done = subprocess.run(
        [VINOCAST, "tune", "--rounds", "1"],
        env=os.environ | {"XDG_STATE_HOME": str(state)},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    (message,) = done.stderr.splitlines()
    assert message.startswith(f"vinocast: {state}/vinocast cannot be written: ")
    assert message.endswith("name a folder with XDG_STATE_HOME")
    assert not list(tmp_path.glob(f"vinocast/{PROFILE_FILE}*"))


def test_what_to_do_about_a_damaged_model_depends_on_where_it_came_from(tmp_path: Path) -> None:
    assert mend(tmp_path / MODEL) == "convert the model again"
    assert mend(MODELS / "another") == "convert the model again"
    assert mend(MODELS / MODEL) == f"it came with Vinocast: restore it (git checkout models/{MODEL})"
