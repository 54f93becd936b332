"""One run of ``vinocast tune``: the variants of each model in turn, round by round, their accuracy, and the choice."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.bundled import bundled_models
from vinocast.data.series import bundled_series, read_series
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.folders import find_models
from vinocast.engine.tuned import (
    TunedFile,
    TunedModel,
    check_state,
    fingerprint,
    int8_folder,
    state_folder,
    write_tuned,
)
from vinocast.errors import ModelRefusedError, SetupError
from vinocast.extras import missing_extra
from vinocast.forecast.kind import FORECASTER
from vinocast.forecast.manifest import ForecasterFolder, check_columns, open_forecaster
from vinocast.kinds import open_model
from vinocast.measure.calls import MeasuringProcess
from vinocast.measure.tune.compiled import described
from vinocast.measure.tune.variants import (
    Cap,
    Figures,
    Row,
    Variant,
    choose,
    choose_cap,
    default_variant,
    plan,
    problem,
)
from vinocast.progress import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vinocast.data.series import Series
    from vinocast.engine.cpu import CpuBudget

# Inferences of a variant in one round.
COUNT = 20


@dataclass(frozen=True)
class Measured:
    """What was found of one model: its int8 form, or a note that says why there is none, and a row for each variant."""

    folder: ForecasterFolder
    series: Series
    int8: ForecasterFolder | None
    note: str | None
    rows: list[Row]


@dataclass(frozen=True)
class Tuned:
    """A model with its choice; ``chosen`` and ``default`` are two of its rows."""

    measured: Measured
    default: Row
    chosen: Row

    @property
    def name(self) -> str:
        """What the model goes by."""
        return self.measured.folder.label


@dataclass(frozen=True)
class TuningResults:
    """What a run found, and the file it wrote, or why it could not. ``left_out`` says why models were not tuned."""

    models: list[Tuned]
    left_out: list[str]
    isa_cap: Cap
    load_average: float
    path: Path | SetupError


def tune(root: Path | None, data: Path | None, cap: Cap, rounds: int) -> TuningResults:
    """Measure every forecaster of a folder, choose, and write the profile ``tuned``; progress on standard error.

    Args:
        root: folder of models; default the bundled ones.
        data: CSV to calibrate and to check with; default the recording that comes along.
        cap: the highest instruction set to try; ``None`` tries with a cap and without.
        rounds: turns in which all variants of a model are measured.

    The load average of the results is that of the minute before: beyond nothing, others were at work.

    Raises:
        SetupError: no model that can be tuned, data that do not fit a model, a state folder that cannot be written, a
            CPU that cannot be told from another.
    """
    # When this process is told to end, the ones it measures must end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    state, budget, load_average = state_folder(), cpu_budget(), os.getloadavg()[0]
    # What would be missed when all is measured is asked for before.
    machine = fingerprint(budget)
    check_state(state)
    caps: list[Cap] = [cap] if cap else ["AVX2", None]
    found: list[Measured] = []
    left_out: list[str] = []
    for place, path in find_models(root or bundled_models()).items():
        try:
            if open_model(path, place).manifest.kind != FORECASTER.name:
                continue
            folder = open_forecaster(path, place)
            check_columns(folder)
            folder.verify()
            manifest = folder.manifest
            series = read_series(data or bundled_series(), manifest.channels, independent=manifest.layout == "series")
            int8, note = int8_form(folder, series, int8_folder(state))
            found.append(Measured(folder, series, int8, note, _measure(folder, int8, series, caps, budget, rounds)))
        except SetupError as error:
            # One that cannot be tuned does not end the rest.
            left_out.append(str(error))
    if not found:
        raise SetupError("; ".join(left_out) or f"no forecaster in {root}: choose another --models")

    by_cap = [{cap: choose(row for row in one.rows if row.variant.isa_cap == cap) for cap in caps} for one in found]
    default = [_find(one.rows, default_variant(budget)) for one in found]
    best = choose_cap(by_cap, default)
    models = [Tuned(one, own, chosen[best]) for one, own, chosen in zip(found, default, by_cap, strict=True)]
    entries = {model.measured.folder.content: _entry(model) for model in models}
    try:
        path = write_tuned(state, TunedFile(fingerprint=machine, isa_cap=best, models=entries))
    except SetupError as error:
        return TuningResults(models, left_out, best, load_average, error)
    _forget_others(int8_folder(state), {one.int8.path.name for one in found if one.int8})
    return TuningResults(models, left_out, best, load_average, path)


def _entry(model: Tuned) -> TunedModel:
    variant, int8 = model.chosen.variant, model.measured.int8
    return TunedModel(
        precision=variant.precision,
        threads=variant.threads,
        pinned=variant.pinned,
        int8=int8.path.name if int8 and variant.int8 else None,
    )


def int8_form(folder: ForecasterFolder, series: Series, root: Path) -> tuple[ForecasterFolder | None, str | None]:
    """Return the int8 form of a model, made now unless it is there, or why there is none."""
    if folder.manifest.precision == "int8":
        return None, "it is int8 already: no other form of it is tried, and f32 means its own weights here"
    try:
        from vinocast.export.convert import quantize_folder  # noqa: PLC0415 - needs the convert extra

        return quantize_folder(folder, series, root), None
    except ModuleNotFoundError as error:
        return None, f"int8 is not tried, as {missing_extra('convert', error)}"


def _measure(
    folder: ForecasterFolder,
    int8: ForecasterFolder | None,
    series: Series,
    caps: list[Cap],
    budget: CpuBudget,
    rounds: int,
) -> list[Row]:
    """Measure all variants of a model in turns; every process stays for all rounds, as the caps need one each."""
    manifest = folder.manifest
    pasts, futures = series.held_back(manifest.context, manifest.horizon)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        np.save(scratch / "windows.npy", pasts)
        options = {
            "folder": str(folder.path),
            "int8": str(int8.path) if int8 else None,
            "windows": str(scratch / "windows.npy"),
        }
        processes = {
            cap: stack.enter_context(MeasuringProcess("vinocast.measure.tune.compiled", isa_cap=cap, **options))
            for cap in caps
        }
        variants = [
            variant
            for cap, process in processes.items()
            for variant in plan(budget, cap, bf16=process.describe()["bf16"], int8=int8 is not None)
        ]
        bar = stack.enter_context(progress(len(variants) * (1 + rounds), folder.label))
        refused: dict[Variant, str | None] = {}
        for variant in variants:
            refused[variant] = processes[variant.isa_cap].call("load", described(variant))
            bar.update(1)
        sound = [variant for variant in variants if refused[variant] is None]
        reference = default_variant(budget)
        if reference not in sound:
            raise ModelRefusedError(
                refused[reference] or f"{folder.path}: the default profile is not among the variants"
            )
        forecasts: dict[tuple[Cap, bool, str], NDArray[np.float32]] = {}
        for variant in sound:
            if variant.numerics not in forecasts:
                file = scratch / "forecasts.npy"
                processes[variant.isa_cap].call("forecast", described(variant), str(file))
                forecasts[variant.numerics] = np.load(file)
        times: dict[tuple[Variant, int], list[float]] = {}
        for _ in range(rounds):
            for variant in sound:
                for count in (len(manifest.channels), 1):
                    measured = processes[variant.isa_cap].call("measure", described(variant), count, COUNT)
                    times.setdefault((variant, count), []).extend(measured)
                bar.update(1)

    errors = {key: _mse(values, futures, series) for key, values in forecasts.items()}
    exact = errors[reference.numerics]
    rows = []
    for variant in sound:
        mse = errors[variant.numerics]
        difference = (forecasts[variant.numerics] - forecasts[reference.numerics]) / series.deviation
        rows.append(
            Row(
                variant,
                _figures(times[variant, len(manifest.channels)]),
                _figures(times[variant, 1]),
                mse,
                mse / exact - 1,
                float(np.abs(difference).max()),
                problem(mse, exact),
            )
        )
    unknown = Figures(float("nan"), float("nan"))
    nothing = float("nan")
    rows += [Row(variant, unknown, unknown, nothing, nothing, nothing, why) for variant, why in refused.items() if why]
    return rows


def _mse(forecasts: NDArray[np.float32], futures: NDArray[np.float32], series: Series) -> float:
    return float(np.square(((forecasts - futures) / series.deviation).astype(np.float64)).mean())


def _figures(times: list[float]) -> Figures:
    p50, p99 = np.quantile(times, (0.5, 0.99))
    return Figures(float(p50), float(p99))


def _find(rows: list[Row], variant: Variant) -> Row:
    return next(row for row in rows if row.variant == variant)


def _forget_others(root: Path, kept: set[str]) -> None:
    """Delete int8 models that no profile names any more."""
    for path in root.glob("*"):
        if path.is_dir() and path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)
