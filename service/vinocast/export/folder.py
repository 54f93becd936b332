"""A model's folder that is written whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openvino as ov

from vinocast.data.atomic import folder_beside, put_in_place
from vinocast.engine.folders import MANIFEST_FILE
from vinocast.errors import ModelRefusedError, SetupError, shown
from vinocast.kinds import open_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vinocast.engine.manifest import Manifest

MAKE_ROOM = "make room, or name another folder"


def check_output(output: Path, own: set[str], size: int) -> None:
    """Refuse what could not be written after all the work, or would delete what no conversion has written.

    Args:
        output: the model's own folder.
        own: the files of such a folder.
        size: bytes that are going to be written, roughly.

    Raises:
        SetupError: the name is no text, the folder holds other files or cannot be written, the disk has no room.
    """
    if not output.name.isprintable():
        raise SetupError(f"{shown(output)}: a model is named after its folder, in printable UTF-8: name another")
    parent = next(folder for folder in output.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise SetupError(f"{shown(parent)} is no folder that this user can write to: name another")
    if (free := shutil.disk_usage(parent).free) < size:
        raise SetupError(f"{shown(output)} takes {_mb(size)}, of which {_mb(free)} are free: {MAKE_ROOM}")
    _check_replaceable(output, own)


def is_current(output: Path, plan: Manifest) -> bool:
    """Whether a whole model of this plan is there; under what name its source was found makes no difference."""
    try:
        existing = open_model(output)
        existing.verify()
    except ModelRefusedError:
        return False
    return _decided(existing.manifest) == _decided(plan)


def _decided(manifest: Manifest) -> dict[str, Any]:
    return manifest.model_dump(exclude={"files": True, "parity": True, "source": {"name": True}, "calibration": True})


def _check_replaceable(output: Path, own: set[str]) -> None:
    try:
        _check_files(output, own)
    except (SetupError, OSError):
        # Another conversion may be putting its model there at this moment: what counts is what its turn leaves.
        with turn(output.parent):
            _check_files(output, own)


def _check_files(output: Path, own: set[str]) -> None:
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

    No one who lists models finds it. Raises SetupError for what cannot be written in it.
    """
    try:
        with folder_beside(output) as folder:
            yield folder
    except OSError as error:
        raise SetupError(f"{shown(output)} cannot be written: {error}; {MAKE_ROOM}") from error


def save_ir(graph: ov.Model, path: Path, *, f16: bool = False) -> None:
    """Write an IR; raises OSError where it cannot be written, of which OpenVINO does not say why."""
    try:
        ov.save_model(graph, path, compress_to_fp16=f16)
    except RuntimeError as error:
        free = _mb(shutil.disk_usage(path.parent).free)
        raise OSError(f"OpenVINO could not write {path.name}, with {free} free") from error


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def replace_folder(output: Path, folder: Path) -> None:
    """Make ``folder`` the model at ``output``, on the disk and all at once."""
    for path in (*files_below(folder), folder):
        sync(path)
    with turn(output.parent) as parent:
        put_in_place(folder, output)
        os.fsync(parent)


@contextmanager
def turn(folder: Path) -> Iterator[int]:
    """Have commands that run at the same time take turns, by a lock on a folder, which needs no lock file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Have a file or a folder be on the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if not path.is_dir())
