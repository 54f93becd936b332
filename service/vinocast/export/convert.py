"""``vinocast convert``: from a checkpoint to a model folder that is complete and checked, or not there at all."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import openvino as ov
from pydantic import ValidationError

from vinocast import __version__
from vinocast.data.regular import sha256_file
from vinocast.data.series import bundled_series, read_series
from vinocast.engine.manifest import (
    GOLDEN_FILE,
    IR_FILE,
    WEIGHTS_FILE,
    Source,
    first_fault,
    golden_vectors,
    write_manifest,
)
from vinocast.errors import ModelRefusedError, SetupError, shown
from vinocast.export.families.registry import read_source
from vinocast.export.files import CONFIG_FILE, WEIGHT_FILES
from vinocast.export.folder import check_output, files_below, is_current, replace_folder, save_ir, workspace
from vinocast.export.generated import as_windows, golden_series
from vinocast.export.parity import check_parity
from vinocast.export.quantize import quantize
from vinocast.forecast.manifest import ForecasterFolder, ForecasterManifest, Metric, open_forecaster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vinocast.data.series import Series
    from vinocast.export.families.checkpoint import Checkpoint
    from vinocast.forecast.manifest import Precision

SOURCE_FOLDER = "source"
GOLDEN_SERIES = 10
# Kernels of other instruction sets differ by some 1e-6 of a series' deviation. In int8 a value may fall on the other
# side of a step, which makes 1e-2; weights that are not the model's make 1.
GOLDEN_TOLERANCES: dict[Precision, float] = {"f32": 1e-4, "f16": 1e-4, "int8": 0.05}
TOOLS = ("numpy", "openvino", "torch")
OWN_FILES = {IR_FILE, WEIGHTS_FILE, GOLDEN_FILE, *(f"{SOURCE_FOLDER}/{name}" for name in (CONFIG_FILE, *WEIGHT_FILES))}


def convert_forecaster(
    source: str | Checkpoint,
    output: Path,
    *,
    precision: str = "f32",
    calibration: Path | None = None,
    channels: list[str] | None = None,
    keep_source: bool = False,
    metrics: Sequence[Metric] = (),
    command: str | None = None,
    kept: Sequence[str] = (),
) -> Path:
    """Convert a checkpoint of a known family to the model folder ``output``, and return it.

    The folder appears, or replaces an older model, in one step once everything is written and compared with the source
    (see ``vinocast.export.parity``). When the folder already holds what would be made, nothing is done.

    Args:
        source: a Hugging Face folder, a hub id, or a checkpoint that has been read.
        output: the model's own folder; its name is the model's name.
        precision: of the stored weights, ``f32``, ``f16`` or ``int8``; the arithmetic is f32 but for ``int8``.
        calibration: a CSV of values like those to be served, for ``int8`` (see ``vinocast.data.series``);
            default: the recording that comes along.
        channels: their names in the order of a window's columns; default ``channel_0``, ``channel_1``, …
        keep_source: keep the checkpoint in ``output/source``, for a model that exists nowhere else.
        metrics: accuracy figures for the manifest.
        command: what made the weights, for the manifest.
        kept: files of an older model in ``output`` that stay, such as a card.

    Raises:
        SetupError: the source cannot be read or converted, the result differs from it, or ``output`` holds other files
            than a model's. An older model is then left as it was.
    """
    output = output.resolve()
    steps = itertools.count(1)

    def step(what: str) -> None:
        click.echo(f"{next(steps)}/{6 + (precision == 'int8')} {what}", err=True)

    step("read the source")
    checkpoint = read_source(source) if isinstance(source, str) else source
    plan = _plan(
        checkpoint,
        output.name,
        precision=precision,
        channels=channels,
        keep_source=keep_source,
        metrics=metrics,
        command=command,
    )
    series = None
    if plan.precision == "int8":
        series = read_series(calibration or bundled_series(), plan.channels, independent=plan.layout == "series")
        plan.source.options["calibration"] = series.sha256
        plan.tools["nncf"] = version("nncf")
    if is_current(output, plan):
        click.echo(f"{shown(output)} is made from this source with these options already: nothing to do", err=True)
        return output
    check_output(output, OWN_FILES | _listed(output) | set(kept), sum(map(len, checkpoint.files.values())))
    step("rewrite the graph")
    weights = checkpoint.weights()
    graph = checkpoint.signature.served(checkpoint.build_graph(weights))
    if series is not None:
        step("quantize")
        graph = quantize(graph, series.calibration(plan.context), plan)
    with workspace(output) as folder:
        step("store the model")
        _write_model(folder, checkpoint, graph, plan)
        compiled = ov.Core().compile_model(folder / IR_FILE, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        step("compute golden vectors")
        _write_golden(folder, checkpoint, compiled)
        step("compare with the source model")
        parity = check_parity(compiled, checkpoint, checkpoint.torch_model(weights), plan.precision)
        hashes = {path.relative_to(folder).as_posix(): sha256_file(path) for path in files_below(folder)}
        for name in kept:
            if (output / name).is_file():
                shutil.copyfile(output / name, folder / name)
        write_manifest(folder, plan.model_copy(update={"files": hashes, "parity": parity}))
        step(f"put it in place: {shown(output)}")
        replace_folder(output, folder)
    return output


def quantize_folder(folder: ForecasterFolder, series: Series, root: Path) -> ForecasterFolder:
    """Return an int8 form of a model folder, made below ``root`` unless it is there; needs no source and no torch.

    The name of its folder is made of everything that decides it: the model's graph and weights, the values that
    calibrate, the versions of the tools. Raises SetupError when it cannot be written.
    """
    tools = {"vinocast": __version__} | {tool: version(tool) for tool in ("nncf", "numpy", "openvino")}
    options = {"precision": "int8", "calibration": series.sha256}
    decided = hashlib.sha256(f"{folder.content} {sorted({**tools, **options}.items())}".encode()).hexdigest()
    output = root.resolve() / f"{folder.label.replace('/', '-')}-{decided[:16]}"
    manifest = folder.manifest.model_copy(
        update={
            "name": output.name,
            "precision": "int8",
            "golden_tolerance": GOLDEN_TOLERANCES["int8"],
            "source": Source(
                name=folder.name,
                # Those that decide it: a model that is calibrated again keeps its int8 form.
                sha256={name: folder.manifest.files[name] for name in folder.manifest.required},
                options=options,
            ),
            "tools": tools,
            # Those of the model it was made from, which it does not keep to.
            "parity": {},
            "metrics": [],
            "calibration": {},
            "command": None,
        }
    )
    if is_current(output, manifest):
        return open_forecaster(output)
    check_output(output, OWN_FILES, sum(path.stat().st_size for path in files_below(folder.path)))
    with workspace(output) as made:
        core, files = ov.Core(), folder.read()
        graph = quantize(
            core.read_model(files[IR_FILE], files[WEIGHTS_FILE]), series.calibration(manifest.context), manifest
        )
        save_ir(graph, made / IR_FILE)
        inputs, _ = golden_vectors(folder, files, "inputs", "outputs")
        compiled = core.compile_model(made / IR_FILE, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        np.savez(made / GOLDEN_FILE, inputs=inputs, outputs=compiled(inputs)[0])
        hashes = {path.name: sha256_file(path) for path in files_below(made)}
        write_manifest(made, manifest.model_copy(update={"files": hashes}))
        replace_folder(output, made)
    return open_forecaster(output)


def _plan(
    checkpoint: Checkpoint,
    name: str,
    *,
    precision: str,
    channels: list[str] | None,
    keep_source: bool,
    metrics: Sequence[Metric],
    command: str | None,
) -> ForecasterManifest:
    """Return the manifest but for what only a conversion can tell: files and parity."""
    signature = checkpoint.signature
    if precision not in GOLDEN_TOLERANCES:
        raise SetupError(f"no precision {precision!r}: choose one of {', '.join(GOLDEN_TOLERANCES)}")
    names = channels or [f"channel_{index}" for index in range(signature.channels)]
    if len(names) != signature.channels or len(set(names)) < len(names) or "" in names:
        raise SetupError(f"channels: the model has {signature.channels}, each needs one name of its own; got {names}")
    if strange := [name for name in names if not name.isprintable()]:
        raise SetupError(f"channels: a name must be printable UTF-8, got {strange[0]!a}")
    try:
        return ForecasterManifest(
            name=name,
            layout=signature.layout,
            minimum_variance=signature.minimum_variance,
            context=signature.context,
            horizon=signature.horizon,
            channels=names,
            precision=precision,
            quantile_levels=list(signature.levels),
            golden_tolerance=GOLDEN_TOLERANCES[precision],
            files={},
            source=Source(
                name=shown(checkpoint.name),
                sha256=checkpoint.sha256,
                options={"precision": precision, "channels": ",".join(names), "keep_source": str(keep_source).lower()},
            ),
            tools={"vinocast": __version__} | {tool: version(tool) for tool in (*TOOLS, checkpoint.runner)},
            metrics=list(metrics),
            command=command,
        )
    except ValidationError as error:
        raise SetupError(f"{shown(checkpoint.name)} is beyond what is served: {first_fault(error)}") from error


def _listed(output: Path) -> set[str]:
    """Return the files that the manifest of an older model names."""
    try:
        return set(open_forecaster(output).manifest.files)
    except ModelRefusedError:
        return set()


def _write_model(folder: Path, checkpoint: Checkpoint, graph: ov.Model, plan: ForecasterManifest) -> None:
    save_ir(graph, folder / IR_FILE, f16=plan.precision == "f16")
    if plan.source.options["keep_source"] == "true":
        (folder / SOURCE_FOLDER).mkdir()
        for name, data in checkpoint.files.items():
            (folder / SOURCE_FOLDER / name).write_bytes(data)


def _write_golden(folder: Path, checkpoint: Checkpoint, compiled: ov.CompiledModel) -> None:
    """Store at least GOLDEN_SERIES generated series and what the stored IR answers, in the shapes of its layout."""
    signature = checkpoint.signature
    if signature.layout == "series":
        inputs = golden_series(GOLDEN_SERIES, signature.context, checkpoint.kinds)
    else:
        channels = signature.channels
        count = channels * -(-GOLDEN_SERIES // channels)
        inputs = as_windows(golden_series(count, signature.context, checkpoint.kinds), channels)
    np.savez(folder / GOLDEN_FILE, inputs=inputs, outputs=compiled(inputs)[0])
