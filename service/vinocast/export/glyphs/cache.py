"""A folder of converted nets that is never stale: found by content, checked by hash, safe for several processes.

    FOLDER/entries/KEY/phase2_model.onnx, openvino_ir/phase2_model.xml, .bin, entry.json
    FOLDER/phase2_model.onnx, FOLDER/openvino_ir/phase2_model.xml, .bin     links to the entry that was used last

KEY is a hash of what decides the net; the versions of the tools are in ``entry.json``. What is served are the bytes
that were checked, so nobody can change them in between.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from vinocast.data.atomic import folder_beside, put_in_place, whole_file
from vinocast.data.regular import read_regular, sha256_file
from vinocast.engine.bounds import MANIFEST_BYTES, most_bytes
from vinocast.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ENTRY_FILE = "entry.json"
IR_FOLDER = "openvino_ir"
# Enough for both phases of a few checkpoints in both precisions.
KEEP = 8
TOOLS = ("numpy", "onnx", "onnxscript", "openvino", "torch")


@dataclass(frozen=True)
class Entry:
    """A converted net: its IR, and what its maker noted of it.

    Attributes:
        folder: where its files are; they may be pruned once another net is asked for.
        graph: bytes of the ``.xml``.
        weights: bytes of the ``.bin``.
        notes: what ``build`` returned.
    """

    folder: Path
    graph: bytes
    weights: bytes
    notes: dict[str, Any]


class Cache:
    """Converted nets below one folder. Raises SetupError where a net is not there and the folder cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(
        self,
        name: str,
        content: Mapping[str, str],
        build: Callable[[Path], dict[str, Any]],
        tools: tuple[str, ...] = TOOLS,
    ) -> Entry:
        """Return the net ``name`` of this content, built if need be.

        Args:
            name: file name of the model, such as ``phase2_model``.
            content: everything that decides the result, but for the tools.
            build: writes ``name.onnx`` (if it has one) and the IR into a folder, and returns notes of JSON kind.
            tools: packages whose versions decide the result. One that is not installed is not compared: a net that was
                converted elsewhere serves where there is no torch.
        """
        key = hashlib.sha256(orjson.dumps({"name": name, **content}, option=orjson.OPT_SORT_KEYS))
        folder = self.folder / "entries" / key.hexdigest()[:32]
        versions = _versions(tools)
        try:
            with self._locked():
                entry = _read(folder, name, versions)
                if entry is None:
                    self._build(folder, build, versions)
                    entry = _read(folder, name, versions)
                    if entry is None:
                        raise SetupError(f"{folder}: written, and read back otherwise: is the disk sound?")
                # What is found is good, whatever has come into the folder beside it.
                with contextlib.suppress(OSError):
                    os.utime(folder / ENTRY_FILE)
                    self._link(folder)
                with contextlib.suppress(OSError):
                    self._prune()
        except OSError as error:
            # A folder that may only be read serves what is in it: an entry is whole or not there.
            entry = _read(folder, name, versions)
            if entry is None:
                raise SetupError(f"{self.folder} cannot be used as a cache: {error}; name another folder") from error
        return entry

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _build(self, folder: Path, build: Callable[[Path], dict[str, Any]], versions: dict[str, str]) -> None:
        with folder_beside(folder) as new:
            notes = build(new)
            hashes = {path.relative_to(new).as_posix(): sha256_file(path) for path in _files(new)}
            (new / ENTRY_FILE).write_bytes(orjson.dumps({"tools": versions, "files": hashes, "notes": notes}))
            put_in_place(new, folder)

    def _link(self, folder: Path) -> None:
        """Let the documented names lead to the files of an entry."""
        for path in _files(folder):
            if path.name == ENTRY_FILE:
                continue
            link = self.folder / path.relative_to(folder)
            target = os.path.relpath(path, link.parent)
            if link.is_symlink() and link.readlink() == Path(target):
                continue
            link.parent.mkdir(exist_ok=True)
            with whole_file(link) as new:
                new.symlink_to(target)

    def _prune(self) -> None:
        """Delete what a killed process left behind, and all but the entries used last. The lock is held."""
        entries = [path for path in (self.folder / "entries").iterdir() if not path.name.startswith(".")]
        used = {path: (path / ENTRY_FILE).stat().st_mtime for path in entries if (path / ENTRY_FILE).exists()}
        kept = sorted(used, key=lambda path: used[path], reverse=True)[:KEEP]
        for path in (self.folder / "entries").iterdir():
            if path.is_symlink() or not path.is_dir():
                path.unlink()
            elif path not in kept:
                shutil.rmtree(path, ignore_errors=True)


def _versions(tools: tuple[str, ...]) -> dict[str, str]:
    versions: dict[str, str] = {}
    for tool in tools:
        with contextlib.suppress(PackageNotFoundError):
            versions[tool] = version(tool)
    return versions


def _read(folder: Path, name: str, versions: dict[str, str]) -> Entry | None:
    """Return a whole and current entry, or None."""
    try:
        about = orjson.loads(read_regular(folder / ENTRY_FILE, MANIFEST_BYTES))
        tools, files, notes = about["tools"], about["files"], about["notes"]
        if any(tools.get(tool) != version for tool, version in versions.items()):
            return None
        data = {file: read_regular(folder / file, most_bytes(file)) for file in files}
        if any(hashlib.sha256(data[file]).hexdigest() != expected for file, expected in files.items()):
            return None
        return Entry(folder, data[f"{IR_FOLDER}/{name}.xml"], data[f"{IR_FOLDER}/{name}.bin"], notes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
