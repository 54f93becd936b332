"""What is to be recognised: rasters of a folder or grids of a file; which of them, in which order, their labels."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson

from service.errors import SetupError, quote
from service.glyphs.cells import GRID_SIDE
from service.glyphs.labels import RASTER_NAME

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from service.infer_chain.report import Skipped

TEST_IDS = "phase2_test_ids.txt"
LABEL_KEYS = ("label", "glyph_label", "label_string")


@dataclass(frozen=True)
class Glyph:
    """One raster or one grid.

    Attributes:
        file: as the answer names it.
        label: index of its true label.
        row: of the memmap; 0 for a raster.
        glyph_id: of the memmap; None for a raster.
    """

    file: str
    label: int
    row: int = 0
    glyph_id: int | None = None


def find_rasters(options: argparse.Namespace, index: dict[str, int], skipped: Skipped) -> list[Glyph]:
    """Return the rasters to recognise; those whose label the model has not are skipped."""
    wanted = _test_ids(options)
    found: list[Glyph] = []
    rows: set[int] = set()
    for file in sorted(path.name for path in options.rasters_dir.iterdir() if path.suffix.lower() == ".png"):
        match = RASTER_NAME.fullmatch(file[:-4])
        if match is None:
            skipped.add("without a label in the name", f"{file}: expected LABEL_ROW.png, such as 66_latin_637.png")
            continue
        row = int(match["row"])
        if wanted is not None:
            if row not in wanted:
                continue
            rows.add(row)
        if match["label"] in index:
            found.append(Glyph(file, index[match["label"]]))
        else:
            skipped.add("of a label that no class has", f"{file}: the label map has no {match['label']!r}")
    _say_missing(wanted, rows, skipped)
    return _choose(found, options)


def find_grids(
    options: argparse.Namespace, index: dict[str, int], skipped: Skipped
) -> tuple[list[Glyph], NDArray[np.uint16]]:
    """Return the rows of the memmap to recognise, and all of its grids [n, 16, 16]; raises SetupError."""
    grids = read_grids(options.memmap_grids_file)
    ids = _read_row_ids(options.memmap_row_ids_file)
    if len(ids) != len(grids):
        reason = f"{options.memmap_row_ids_file} has {len(ids)} ids for {len(grids)} grids; the ends do not match"
        skipped.add("without a grid or an id", reason, abs(len(ids) - len(grids)))
    labels = _read_glyph_labels(options.glyph_labels_file, skipped)
    wanted = _test_ids(options)
    found: list[Glyph] = []
    for row, glyph_id in enumerate(ids[: len(grids)].tolist()):
        if wanted is not None and glyph_id not in wanted:
            continue
        label = labels.get(glyph_id)
        if label is None:
            skipped.add("without a label", f"glyph {glyph_id}: no line in {options.glyph_labels_file}")
        elif label not in index:
            skipped.add("of a label that no class has", f"glyph {glyph_id}: the label map has no {label!r}")
        else:
            found.append(Glyph(f"glyph_{glyph_id}.memmap", index[label], row, glyph_id))
    _say_missing(wanted, set(ids.tolist()), skipped)
    return _choose(found, options), grids


def read_grids(path: Path) -> NDArray[np.uint16]:
    """Map the grids [n, 16, 16] of a file: raw uint16 whatever its name, or a real ``.npy``. Raises SetupError."""
    cells = GRID_SIDE * GRID_SIDE
    try:
        with path.open("rb") as file:
            real = file.read(6) == b"\x93NUMPY"
        if real:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        elif path.stat().st_size % 2:
            raise SetupError(f"{path}: {path.stat().st_size} bytes are no array of uint16")
        else:
            values = np.memmap(path, "<u2", "r") if path.stat().st_size else np.zeros(0, np.uint16)
    except (OSError, ValueError) as error:
        raise SetupError(f"{path}: {error}") from error
    if values.dtype != np.uint16 or values.size % cells:
        raise SetupError(f"{path}: expected uint16, {cells} a grid; got {values.size} values of {values.dtype}")
    grids: NDArray[np.uint16] = values.reshape(-1, GRID_SIDE, GRID_SIDE)
    return grids


def _read_row_ids(path: Path) -> NDArray[np.integer]:
    try:
        ids = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SetupError(f"{path}: {error}") from error
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise SetupError(f"{path}: expected a .npy of whole numbers in one axis")
    return ids


def _read_glyph_labels(path: Path, skipped: Skipped) -> dict[int, str]:
    labels: dict[int, str] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = orjson.loads(line)
            labels[int(entry["glyph_id"])] = next(str(entry[key]) for key in LABEL_KEYS if key in entry)
        except (ValueError, KeyError, TypeError, StopIteration):
            skipped.add("lines of labels", f"{path}: line {number}: expected glyph_id and label, got {quote(line)}")
    return labels


def _test_ids(options: argparse.Namespace) -> set[int] | None:
    if not options.use_test_split:
        return None
    path = options.splits_dir / TEST_IDS
    try:
        return set(map(int, path.read_text().split()))
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SetupError(f"{path}: expected an id a line: {error}") from error


def _say_missing(wanted: set[int] | None, found: set[int], skipped: Skipped) -> None:
    for missing in sorted((wanted or set()) - found):
        skipped.add("of an unknown id", f"id {missing} of the test split is not there")


def _choose(glyphs: list[Glyph], options: argparse.Namespace) -> list[Glyph]:
    if options.shuffle:
        random.Random(options.seed).shuffle(glyphs)  # noqa: S311 - nothing secret
    if not options.limit:
        return glyphs
    return list(_first_of_each(glyphs, options.limit)) if options.all_classes else glyphs[: options.limit]


def _first_of_each(glyphs: list[Glyph], limit: int) -> Iterable[Glyph]:
    seen: Counter[int] = Counter()
    for glyph in glyphs:
        seen[glyph.label] += 1
        if seen[glyph.label] <= limit:
            yield glyph
