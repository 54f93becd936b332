"""Quantile tables of a model: residuals of its forecasts of past values, and where they are kept.

Residuals are of the model as it is served, and each is divided by the deviation of its own context, so that calm and
wild times share a table. What is newer counts for more. How well a table covers is measured on values held back from
one that is made for it; the table that is kept is of all values.
"""

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
from vinocast.engine.manifest import MANIFEST_FILE, ModelFolder, packed_manifest, write_manifest
from vinocast.errors import ModelRefusedError, SetupError, quote, shown
from vinocast.evaluation.scores import coverage, quantile_loss
from vinocast.export.folder import check_output, replace_folder, sync, turn, workspace
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import (
    QUANTILES_FILE,
    Calibration,
    ForecasterFolder,
    ForecasterManifest,
    open_forecaster,
)
from vinocast.forecast.quantiles import MINIMUM_VARIANCE, QuantileTable, deviations, read_table
from vinocast.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.engine.profiles import Profile

Part = Literal["channels", "others"]

# Of a table. At 0 and 1 stand the least and the largest residual.
GRID = np.array(
    [0, 0.005, *np.arange(1, 6) / 100, 0.075, *np.arange(2, 19) / 20, 0.925, *np.arange(95, 100) / 100, 0.995, 1]
)
# What a step of age leaves of a weight: half of it after 693 steps.
DECAY = 0.999
# Series that are forecast at most, at even distances: more take minutes and change the second digit of a coverage.
MOST_FORECASTS = 20_000
MOST_RESIDUALS = 1 << 26
# Below so many at each step the outer quantiles are noise.
LEAST_RESIDUALS = 100
# Of the windows, the newest, or every so many-th of many tables.
HELD_BACK = 5
# Bands that are measured, by what they should cover, and levels of the loss.
BANDS = (0.5, 0.8, 0.9)
LEVELS = tuple(level / 10 for level in range(1, 10))


@dataclass(frozen=True)
class Values:
    """What to calibrate with.

    Attributes:
        name: of the file, for the record.
        sha256: its hash.
        columns: names of the columns.
        tables: float32 [rows, columns] each, oldest row first, in any unit; NaN are gaps. One, or many of a long table.
    """

    name: str
    sha256: str
    columns: Sequence[str]
    tables: Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class Residuals:
    """Residuals of n forecasts; NaN where what came is not known.

    Attributes:
        scaled: float32 [n, horizon], in deviations of each forecast's context.
        columns: int [n], the column that each is of.
        tables: int [n], the table.
        starts: int [n], the row at which the context begins.
        ages: int [n], steps from the newest window of the same table.
    """

    scaled: NDArray[np.float32]
    columns: NDArray[np.int64]
    tables: NDArray[np.int64]
    starts: NDArray[np.int64]
    ages: NDArray[np.int64]

    def some(self, chosen: NDArray[np.bool_]) -> Residuals:
        """Return some of them."""
        return Residuals(*(array[chosen] for array in vars(self).values()))


def find_residuals(engine: ForecastEngine, values: Values, places: Sequence[int]) -> Residuals:
    """Forecast windows of some columns and return the residuals; shows its progress on standard error.

    A context that has a gap, or never moves, is left out: the deviation that residuals are divided by would be
    nobody's. Where there are more than MOST_FORECASTS, some are taken at even distances, the newest among them.

    Args:
        engine: loaded.
        values: to forecast.
        places: of the columns; those of all channels in their order, where the layout of the model is ``window``.
    """
    context, horizon = engine.manifest.context, engine.manifest.horizon
    length, whole = context + horizon, engine.manifest.layout == "window"
    counts = np.array([max(0, len(table) - length + 1) for table in values.tables], np.int64)
    tables = np.repeat(np.arange(len(counts)), counts)
    starts = np.concatenate([np.arange(0), *map(np.arange, counts)])
    most = max(1, min(MOST_FORECASTS, MOST_RESIDUALS // horizon) // len(places))
    kept = np.arange(len(starts))[::-1][:: max(1, -(-len(starts) // most))][::-1]
    tables, starts = np.repeat(tables[kept], len(places)), np.repeat(starts[kept], len(places))
    columns = np.tile(np.asarray(places), len(kept))
    scaled = np.full((len(starts), horizon), np.nan, np.float32)
    together = len(places) if whole else engine.most_series
    with progress(len(starts), "forecasts") as bar:
        for first in range(0, len(starts), together):
            part = slice(first, first + together)
            cut = np.stack(
                [
                    values.tables[table][start : start + length, column]
                    for table, start, column in zip(tables[part], starts[part], columns[part], strict=True)
                ]
            )
            bar.update(len(cut))
            scales = deviations(cut[:, :context])
            moving = np.isfinite(scales) & (np.square(scales.astype(np.float64)) > 2 * MINIMUM_VARIANCE)
            if not (moving.all() if whole else moving.any()):
                continue
            past = np.ascontiguousarray(cut[moving, :context].T)
            (points,), _ = engine.forecast_together([(past, range(past.shape[1]))])
            errors = cut[moving, context:].astype(np.float64) - points.T
            scaled[first + np.flatnonzero(moving)] = errors / scales[moving, None]
    scaled[~np.isfinite(scaled)] = np.nan
    ages = np.array([len(table) for table in values.tables], np.int64)[tables] - length - starts
    known = np.asarray(np.isfinite(scaled).any(axis=1))
    return Residuals(scaled, columns, tables, starts, ages).some(known)


def quantiles_of(residuals: Residuals, decay: float) -> NDArray[np.float32]:
    """Return weighted quantiles of residuals, all columns together, float32 [horizon, GRID]."""
    order = np.argsort(residuals.scaled, axis=0)
    ascending = np.take_along_axis(residuals.scaled, order, axis=0)
    # What is not known stands last.
    weights = np.where(np.isfinite(ascending), (decay ** residuals.ages.astype(np.float64))[order], 0)
    sums = np.cumsum(weights, axis=0)
    places = (sums - weights / 2) / sums[-1]
    return np.stack(
        [
            np.interp(GRID, place[known], values[known])
            for place, values, known in zip(places.T, ascending.T, weights.T > 0, strict=True)
        ]
    ).astype(np.float32)


def measure(table: NDArray[np.float32], residuals: Residuals) -> dict[str, float]:
    """Return how well a table [horizon, GRID] fits residuals: the coverage of each band, and the quantile loss.

    The loss is twice the mean of LEVELS, in deviations of the context; beside it that of the point alone.
    """

    def at(level: float) -> NDArray[np.float64]:
        return np.array([np.interp(level, GRID, row) for row in table])

    actual = residuals.scaled.astype(np.float64)
    quantiles = np.stack([np.broadcast_to(at(level), actual.shape) for level in LEVELS])
    return {
        "forecasts": len(actual),
        **{f"coverage_{100 * band:.0f}": coverage(actual, at((1 - band) / 2), at((1 + band) / 2)) for band in BANDS},
        "quantile_loss": float(2 * quantile_loss(actual, quantiles, LEVELS).mean()),
        "point_loss": float(2 * quantile_loss(actual, np.zeros((1, *actual.shape)), (0.5,))[0]),
    }


def hold_back(residuals: Residuals, horizon: int) -> tuple[Residuals, Residuals]:
    """Return residuals to make a table of, and others to measure it by, of which the first have seen nothing.

    Of one table the newest windows are held back, and none is kept whose target they share; of many, every so
    many-th table.
    """
    if residuals.tables.size and residuals.tables.max() > 0:
        held = residuals.tables % HELD_BACK == 0
        return residuals.some(~held), residuals.some(held)
    first = np.quantile(residuals.starts, 1 - 1 / HELD_BACK) if residuals.starts.size else 0
    return residuals.some(residuals.starts + horizon <= first), residuals.some(residuals.starts >= first)


def make_table(
    residuals: Residuals, horizon: int, columns: Sequence[int] | None, decay: float
) -> tuple[NDArray[np.float32], dict[str, float]]:
    """Return quantiles [columns, horizon, GRID], or [horizon, GRID] of all together, and how well they cover.

    The figures are those of :func:`measure`, the mean of all columns; none, where too little could be held back.

    Raises:
        SetupError: fewer than LEAST_RESIDUALS at some step.
    """
    groups = [residuals] if columns is None else [residuals.some(residuals.columns == column) for column in columns]
    if not all(map(_enough, groups)):
        raise SetupError(
            f"fewer than {LEAST_RESIDUALS} residuals: expected as many windows of a context that moves and of what "
            f"followed it, {'all columns together' if columns is None else 'of each channel'}"
        )
    table = np.stack([quantiles_of(group, decay) for group in groups])
    figures = []
    for group in groups:
        kept, held = hold_back(group, horizon)
        if _enough(kept) and _enough(held):
            figures.append(measure(quantiles_of(kept, decay), held))
    every = {name: float(np.mean([each[name] for each in figures])) for name in figures[0]} if figures else {}
    if every:
        every["forecasts"] = float(sum(each["forecasts"] for each in figures))
    return (table[0] if columns is None else table), every


def _enough(residuals: Residuals) -> bool:
    """Whether there are LEAST_RESIDUALS at each step."""
    return bool((~np.isnan(residuals.scaled)).sum(axis=0).min() >= LEAST_RESIDUALS)


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
        tables["channels"] = before.residuals(tuple(GRID), range(count)).transpose(2, 1, 0)[:count]
        tables["others"] = before.residuals(tuple(GRID), None)[..., 0].T
    made = {}
    for part in parts:
        try:
            tables[part], figures = make_table(found, manifest.horizon, every if part == "channels" else None, decay)
        except SetupError as error:
            raise SetupError(f"{shown(values.name)}: {error}") from None
        made[part] = Calibration(data=shown(values.name), sha256=values.sha256, options=options, held_back=figures)
    empty = np.zeros((0, manifest.horizon, len(GRID)), np.float32)
    packed = QuantileTable(GRID, tables.get("channels", empty), tables["others"]).packed()
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
