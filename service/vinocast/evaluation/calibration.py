"""Quantile tables of a model: which are made, of whose residuals, and where they are kept."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from vinocast.data.atomic import whole_file
from vinocast.engine.bounds import GOLDEN_BYTES
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.folders import MANIFEST_FILE
from vinocast.engine.manifest import ModelFolder, packed_manifest, write_manifest
from vinocast.errors import ModelRefusedError, SetupError, quote, shown
from vinocast.evaluation.residuals import DECAY, GRID, LEAST_RESIDUALS, Values, find_residuals, make_table
from vinocast.export.folder import check_output, replace_folder, sync, turn, workspace
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import (
    QUANTILES_FILE,
    Calibration,
    ForecasterFolder,
    ForecasterManifest,
    check_columns,
    open_forecaster,
)
from vinocast.forecast.quantiles import QuantileTable, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.engine.profiles import Profile

Part = Literal["channels", "others"]


@dataclass(frozen=True)
class Calibrated:
    """What came of a calibration.

    Attributes:
        path: the model's folder.
        made: the tables, and how well each covers; all of them where nothing was to do.
        changed: whether anything was.
    """

    path: Path
    made: Mapping[Part, Calibration]
    changed: bool


def calibrate(
    folder: ForecasterFolder,
    values: Values,
    profile: Profile,
    *,
    decay: float = DECAY,
    only: Part | None = None,
    output: Path | None = None,
) -> Calibrated:
    """Make the quantile tables of a model: by channel, where the columns have their names, and for any other series.

    They are written into the model's folder, or into a copy of it. What is there already stays as it is: a table of
    the other kind, and the same one of the same values and options, which is not made again.

    Args:
        folder: the model.
        values: what to forecast. The table for other series is of all columns together.
        profile: what it is served by.
        decay: of the weight of a residual, for each step that it is older than the newest; 1 for none.
        only: the table to make; the one for other series is made as well where there is none yet.
        output: the folder of the copy, which is named after it.

    Raises:
        SetupError: too few values, columns that cannot be, a decay that is none, a folder that cannot be written.
    """
    if not 0 < decay <= 1:
        raise SetupError(f"the decay of a weight: expected a share above 0 and at most 1, got {decay}")
    check_columns(folder)
    manifest, path = folder.manifest, output.resolve() if output else folder.path
    there = _calibrated(path, folder)
    parts = _parts(folder, values, only, existing=bool(there))
    options = {"decay": repr(decay)}
    wanted = dict.fromkeys(parts, (values.sha256, options))
    if there and wanted == {
        part: (made.sha256, made.options) for part, made in there.manifest.calibration.items() if part in parts
    }:
        return Calibrated(path, {part: there.manifest.calibration[part] for part in parts}, changed=False)
    # Without the table that it may have, which may be damaged.
    bare = {name: sha256 for name, sha256 in manifest.files.items() if name != QUANTILES_FILE}
    engine = ForecastEngine(replace(folder, manifest=manifest.model_copy(update={"files": bare})))
    engine.load(Compiler(profile, cpu_budget()))
    every = [values.columns.index(name) for name in manifest.channels] if "channels" in parts else []
    named = every if only == "channels" or manifest.layout == "window" else range(len(values.columns))
    found = find_residuals(engine, values, named)
    before = None if there is None else read_table(there, there.read())
    tables: dict[Part, NDArray[np.float32]] = {}
    if before is not None:
        # On the grid of today.
        count = len(before.channels)
        tables["channels"] = before.entries(tuple(GRID), range(count)).transpose(2, 1, 0)[:count]
        tables["others"] = before.entries(tuple(GRID), None)[..., 0].T
    made = {}
    for part in parts:
        try:
            tables[part], figures = make_table(found, manifest.horizon, every if part == "channels" else None, decay)
        except SetupError as error:
            rows = manifest.context + manifest.horizon + LEAST_RESIDUALS - 1
            raise SetupError(f"{shown(values.name)}: {error}; {rows} rows without a gap have as many") from None
        made[part] = Calibration(data=shown(values.name), sha256=values.sha256, options=options, held_back=figures)
    empty = np.zeros((0, manifest.horizon, len(GRID)), np.float32)
    packed = QuantileTable(GRID, tables.get("channels", empty), tables["others"]).packed(len(manifest.quantile_levels))
    kept = there.manifest.calibration if there else {}
    changed = manifest.model_copy(
        update={
            "name": path.name,
            "files": bare | {QUANTILES_FILE: hashlib.sha256(packed).hexdigest()},
            "calibration": {**kept, **made},
        }
    )
    try:
        if output is None:
            _write_table(folder, bare, changed, packed)
        else:
            _write_copy(folder, path, changed, packed)
    except OSError as error:
        raise SetupError(f"{shown(path)} cannot be written ({error.strerror}): name a copy with --output") from error
    return Calibrated(path, made, changed=True)


def _parts(folder: ForecasterFolder, values: Values, only: Part | None, *, existing: bool) -> list[Part]:
    """Return the tables to make; raises SetupError where the columns do not allow it."""
    manifest = folder.manifest
    missing = [name for name in manifest.channels if name not in values.columns]
    if missing and (only == "channels" or manifest.layout == "window"):
        raise SetupError(
            f"{shown(values.name)}: expected columns of the model's channels, lacks {quote(missing[0])}; "
            f"it has {', '.join(map(quote, values.columns[:20]))}"
        )
    fits = len(manifest.channels) * manifest.horizon * len(GRID) * 4 <= GOLDEN_BYTES
    if only == "channels" and not fits:
        raise SetupError(f"{len(manifest.channels)} channels of {manifest.horizon} steps are too many for a table")
    parts: list[Part] = []
    if fits and not missing and only != "others":
        parts.append("channels")
    if only != "channels" or not existing:
        parts.append("others")
    return parts


def _calibrated(path: Path, folder: ForecasterFolder) -> ForecasterFolder | None:
    """Return what is at ``path`` where that is the model itself, whole and with a table; else None."""
    try:
        there = open_forecaster(path)
        there.verify()
    except ModelRefusedError:
        return None
    return there if there.content == folder.content and QUANTILES_FILE in there.manifest.files else None


def _write_table(folder: ForecasterFolder, bare: dict[str, str], manifest: ForecasterManifest, packed: bytes) -> None:
    """Put a table into a model's folder, which is a whole model at each moment; raises OSError."""
    with turn(folder.path):
        if QUANTILES_FILE in folder.manifest.files:
            # For as long as the file is another than the manifest will say.
            _write_manifest(folder.path, folder.manifest.model_copy(update={"files": bare, "calibration": {}}))
        with whole_file(folder.path / QUANTILES_FILE) as part:
            part.write_bytes(packed)
            sync(part)
        _write_manifest(folder.path, manifest)
        sync(folder.path)


def _write_manifest(folder: Path, manifest: ForecasterManifest) -> None:
    with whole_file(folder / MANIFEST_FILE) as part:
        part.write_bytes(packed_manifest(manifest))
        sync(part)


def _write_copy(folder: ForecasterFolder, output: Path, manifest: ForecasterManifest, packed: bytes) -> None:
    """Write a copy of the model with a table, whole or not at all; raises OSError and SetupError."""
    try:
        listed = set(open_forecaster(output).manifest.files)
    except ModelRefusedError:
        listed = set()
    files = [folder.path / name for name in manifest.files if name != QUANTILES_FILE]
    check_output(output, listed | set(manifest.files), sum(path.stat().st_size for path in files) + len(packed))
    with workspace(output) as made:
        for path in files:
            copy = made / path.relative_to(folder.path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        (made / QUANTILES_FILE).write_bytes(packed)
        write_manifest(made, manifest)
        ModelFolder(made, manifest).verify()
        replace_folder(output, made)
