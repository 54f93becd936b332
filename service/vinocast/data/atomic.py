"""Files and folders that are there whole or not at all, whoever looks meanwhile and however their writing ends."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a :func:`file_beside` to write, which takes the place of ``path`` unless the block raises.

    Raises OSError where it cannot.
    """
    with file_beside(path) as part:
        yield part
        part.replace(path)


@contextmanager
def file_beside(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` that no other writer has; what is there at the end is removed."""
    part = path.with_name(f"{path.name}.{os.urandom(4).hex()}.part")
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Yield an empty folder on the file system of ``path``, for :func:`put_in_place`; nothing else of it is left.

    It lies one level deeper than ``path``, in a hidden folder, so that no one finds it who lists what lies beside.
    Raises OSError where it cannot be made.
    """
    import tempfile  # noqa: PLC0415 - a service, which makes no folder, starts 8 ms sooner without

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as parent:
        folder = Path(parent) / "new"
        folder.mkdir()
        yield folder


def put_in_place(folder: Path, path: Path) -> None:
    """Have what :func:`folder_beside` gave take the place of ``path``; raises OSError and leaves the old one there.

    Two renames: whoever looks may find nothing for a moment, and writers of one folder must take turns.
    """
    old = folder.with_name("old")
    if path.exists():
        path.rename(old)
    try:
        folder.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
