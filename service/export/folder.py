"""A model's folder that is written whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from service.errors import SetupError
from service.runtime.manifest import MANIFEST_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_replaceable(output: Path, own: set[str]) -> None:
    """Refuse to delete what no conversion has written: of its folder, the files ``own``. Raises SetupError."""
    if not output.parent.is_dir():
        return
    # Not while another conversion is between taking the old folder away and putting the new one in its place.
    with _turn(output.parent):
        if not output.exists() or (output.is_dir() and not any(output.iterdir())):
            return
        if not (output / MANIFEST_FILE).is_file():
            raise SetupError(f"{output} is not empty and no model folder: name another --output, or empty it yourself")
        strangers = {path.relative_to(output).as_posix() for path in files_below(output)} - own - {MANIFEST_FILE}
    if strangers:
        raise SetupError(f"{output} holds files that are no model's, move them first: {', '.join(sorted(strangers))}")


@contextmanager
def workspace(output: Path) -> Iterator[Path]:
    """Yield an empty folder on the file system of ``output``; nothing of it is left behind.

    It lies one level deeper than a model does, so that no one who lists models finds it.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as parent:
        folder = Path(parent) / "new"
        folder.mkdir()
        yield folder


def replace_folder(output: Path, folder: Path) -> None:
    """Make ``folder`` the model at ``output``, on the disk and all at once."""
    for path in (*files_below(folder), folder):
        _sync(path)
    old = folder.with_name("old")
    with _turn(output.parent) as parent:
        if output.exists():
            output.rename(old)
        try:
            folder.rename(output)
        except OSError:
            if old.exists():
                old.rename(output)
            raise
        os.fsync(parent)


@contextmanager
def _turn(folder: Path) -> Iterator[int]:
    """Have conversions that run at the same time take turns, by a lock on a folder, which needs no lock file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if not path.is_dir())
