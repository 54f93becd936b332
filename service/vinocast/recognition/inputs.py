"""What is to be recognised: rasters of a folder or grids of a file; which of them, in which order, their labels."""

from __future__ import annotations

import codecs
import random
import tokenize
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from vinocast.data.regular import open_regular, read_input
from vinocast.errors import SetupError, quote
from vinocast.glyphs.cells import CELLS, GRID_SIDE
from vinocast.glyphs.labels import label_of_file

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.recognition.options import Options
    from vinocast.recognition.said import Counted

TEST_IDS = "phase2_test_ids.txt"
LABEL_KEYS = ("label", "glyph_label", "label_string")
MAGIC = b"\x93NUMPY"
# What numpy raises for a header that is damaged or made up, besides OSError and ValueError.
DAMAGE = (OSError, ValueError, EOFError, MemoryError, OverflowError, SyntaxError, TypeError, tokenize.TokenError)


@dataclass(frozen=True)
class Glyph:
    """One raster or one grid.

    Attributes:
        file: as the answer names it.
        label: its true label, which the model may lack; None where nobody says it.
        row: of the memmap; 0 for a raster.
        glyph_id: of the memmap; None for a raster.
    """

    file: str
    label: str | None
    row: int = 0
    glyph_id: int | None = None


def find_rasters(options: Options, known: Container[str], skipped: Counted) -> list[Glyph]:
    """Return the rasters to recognise, each with the label in its name; ``known`` are the labels of the model."""
    wanted = _test_ids(options)
    found: list[Glyph] = []
    rows: set[int] = set()
    for file in sorted(path.name for path in options.rasters_dir.iterdir() if path.suffix.lower() == ".png"):
        stem = file[:-4]
        label, _, end = stem.rpartition("_")
        row = int(end) if end.isascii() and end.isdecimal() and len(end) < 19 else None
        if wanted is not None:
            if row not in wanted:
                continue
            rows.add(row)
        # A label that has not the usual form, as gid_7 has not, is one where the model has it.
        found.append(Glyph(file, label if row is not None and label in known else label_of_file(stem)))
    _say_missing(wanted, rows, skipped)
    return _choose(found, options)


def find_grids(options: Options, known: Container[str], skipped: Counted) -> tuple[list[Glyph], NDArray[np.uint16]]:
    """Return the rows of the memmap to recognise, and all of its grids [n, 16, 16]; raises SetupError."""
    grids = read_grids(options.memmap_grids_file)
    ids = _read_row_ids(options.memmap_row_ids_file)
    if len(ids) != len(grids):
        raise SetupError(
            f"{options.memmap_row_ids_file} has {len(ids)} ids, {options.memmap_grids_file} has the bytes of "
            f"{len(grids)} grids of uint16: are they of one set, and is the type uint16?"
        )
    labels = {} if options.glyph_labels_file is None else _read_glyph_labels(options.glyph_labels_file, skipped)
    wanted = _test_ids(options)
    found = [
        Glyph(f"glyph_{glyph_id}.memmap", labels.get(glyph_id) or _synthetic(glyph_id, known), row, glyph_id)
        for row, glyph_id in enumerate(ids.tolist())
        if wanted is None or glyph_id in wanted
    ]
    _say_missing(wanted, set(ids.tolist()), skipped)
    return _choose(found, options), grids


def _synthetic(glyph_id: int, known: Container[str]) -> str | None:
    """Return the label of a glyph that was numbered, not named, where the model has such labels."""
    name = f"gid_{glyph_id}"
    return name if name in known else None


def read_grids(path: Path) -> NDArray[np.uint16]:
    """Map the grids [n, 16, 16] of a file: raw uint16 whatever its name, or a real ``.npy``. Raises SetupError."""
    try:
        with open_regular(path) as file:
            real = file.read(len(MAGIC)) == MAGIC
        values: NDArray[Any]
        if real:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        elif path.stat().st_size % 2:
            raise SetupError(f"{path}: {path.stat().st_size} bytes are no array of uint16")
        else:
            values = np.memmap(path, "<u2", "r") if path.stat().st_size else np.zeros(0, np.uint16)
    except DAMAGE as error:
        raise SetupError(f"{path}: {error}") from error
    if values.dtype != np.uint16 or values.size % CELLS:
        raise SetupError(f"{path}: expected uint16, {CELLS} a grid; got {values.size} values of {values.dtype}")
    if values.shape[1:] not in ((), (CELLS,), (GRID_SIDE, GRID_SIDE)):
        raise SetupError(f"{path}: expected [n, {GRID_SIDE}, {GRID_SIDE}], got {list(values.shape)}")
    grids: NDArray[np.uint16] = values.reshape(-1, GRID_SIDE, GRID_SIDE)
    return grids


def _read_row_ids(path: Path) -> NDArray[np.integer]:
    try:
        with open_regular(path) as file:
            # numpy takes what begins otherwise for an archive or a pickle.
            real = file.read(len(MAGIC)) == MAGIC
            file.seek(0)
            ids = np.load(file, allow_pickle=False) if real else None
    except DAMAGE as error:
        raise SetupError(f"{path}: {error}") from error
    if ids is None or ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise SetupError(f"{path}: expected a .npy of whole numbers in one axis")
    return np.asarray(ids)


def _read_glyph_labels(path: Path, skipped: Counted) -> dict[int, str]:
    labels: dict[int, str] = {}
    for number, line in enumerate(read_input(path).removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = orjson.loads(line)
            labels[int(entry["glyph_id"])] = next(str(entry[key]) for key in LABEL_KEYS if entry.get(key))
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration, OverflowError):
            skipped.add("lines of labels", f"{path}: line {number}: expected glyph_id and label, got {quote(line)}")
    return labels


def _test_ids(options: Options) -> set[int] | None:
    if not options.use_test_split:
        return None
    path = options.splits_dir / TEST_IDS
    try:
        return set(map(int, read_input(path).decode("utf-8-sig").split()))
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SetupError(f"{path}: expected an id per line: {error}") from error


def _say_missing(wanted: set[int] | None, found: set[int], skipped: Counted) -> None:
    for missing in sorted((wanted or set()) - found):
        skipped.add("of an unknown id", f"id {missing} of the test split is not there")


def _choose(glyphs: list[Glyph], options: Options) -> list[Glyph]:
    if options.shuffle:
        random.Random(options.seed).shuffle(glyphs)  # noqa: S311 - nothing secret
    if options.limit <= 0:
        return glyphs
    return list(_first_of_each(glyphs, options.limit)) if options.all_classes else glyphs[: options.limit]


def _first_of_each(glyphs: list[Glyph], limit: int) -> Iterable[Glyph]:
    seen: Counter[str | None] = Counter()
    for glyph in glyphs:
        seen[glyph.label] += 1
        if seen[glyph.label] <= limit:
            yield glyph
