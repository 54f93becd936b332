"""The folder in which several processes of a service count together, for as long as one of them lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where prometheus-client has processes share what they count.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "vinocast-metrics-"


@contextlib.contextmanager
def shared_folder() -> Iterator[str]:
    """Make a folder among the temporary ones, and remove it at the end, and those that killed services have left.

    Whose folder it is holds a lock on it, which the kernel keeps for the processes that are forked and lets go with the
    last of them. A number of a process would not do: another may have it by now, or in another container.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_left(left)
    while True:
        folder = tempfile.mkdtemp(prefix=PREFIX)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        if _lock(held) and Path(folder).is_dir():  # else another that starts took it for one that was left
            break
        os.close(held)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _remove_left(folder: Path) -> None:
    """Remove a folder of our own user's that nobody holds."""
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # another's, or gone
        return
    if os.fstat(held).st_uid == os.getuid() and _lock(held):
        shutil.rmtree(folder, ignore_errors=True)
    os.close(held)


def _lock(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
