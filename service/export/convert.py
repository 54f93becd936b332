"""``vinocast convert``: from a checkpoint to a model folder that is complete and checked, or not there at all."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import openvino as ov
from tqdm import tqdm

from service import __version__
from service.errors import ModelRefusedError, SetupError
from service.export.folder import check_replaceable, files_below, replace_folder, workspace
from service.export.graph import build_graph
from service.export.parity import as_windows, check_parity, golden_series, torch_model
from service.export.source import CONFIG_FILE, WEIGHT_FILES, SourceFiles, read_source
from service.runtime.manifest import (
    GOLDEN_FILE,
    IR_FILE,
    WEIGHTS_FILE,
    ForecasterManifest,
    Metric,
    Source,
    open_forecaster,
    sha256_file,
    write_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

SOURCE_FOLDER = "source"
GOLDEN_SERIES = 10
# Kernels of other instruction sets differ by some 1e-6 of a series' deviation, bf16 by 1e-2.
GOLDEN_TOLERANCE = 1e-4
TOOLS = ("numpy", "openvino", "torch", "transformers")
PRECISIONS = ("f32", "f16")
OWN_FILES = {IR_FILE, WEIGHTS_FILE, GOLDEN_FILE, *(f"{SOURCE_FOLDER}/{name}" for name in (CONFIG_FILE, *WEIGHT_FILES))}


def convert_patchtst(
    source: str,
    output: Path,
    *,
    precision: str = "f32",
    channels: list[str] | None = None,
    keep_source: bool = False,
    metrics: Sequence[Metric] = (),
    command: str | None = None,
) -> Path:
    """Convert a PatchTSTForPrediction to the model folder ``output``, and return it.

    The folder appears, or replaces an older model, in one step once everything is written and compared with the source
    (see ``service.export.parity``). When the folder already holds what would be made, nothing is done.

    Args:
        source: a Hugging Face folder, or a hub id.
        output: the model's own folder; its name is the model's name.
        precision: of the stored weights, ``f32`` or ``f16``; the arithmetic is f32 in both.
        channels: their names in the order of a window's columns; default ``channel_0``, ``channel_1``, …
        keep_source: keep the checkpoint in ``output/source``, for a model that exists nowhere else.
        metrics: accuracy figures for the manifest.
        command: what made the weights, for the manifest.

    Raises:
        SetupError: the source cannot be read or converted, the result differs from it, or ``output`` holds other files
            than a model's. An older model is then left as it was.
    """
    output = output.resolve()
    with tqdm(total=6, bar_format="{n_fmt}/{total_fmt} {desc}") as progress:

        def step(what: str) -> None:
            progress.set_description_str(what)
            progress.update()

        step("read the source")
        files = read_source(source)
        plan = _plan(
            files,
            output.name,
            precision=precision,
            channels=channels,
            keep_source=keep_source,
            metrics=metrics,
            command=command,
        )
        check_replaceable(output, OWN_FILES)
        if _is_current(output, plan):
            progress.set_description_str(f"{output} is made from this source with these options already: nothing to do")
            return output
        step("rewrite the graph")
        weights = files.weights()
        graph = build_graph(files.architecture, weights)
        try:
            with workspace(output) as folder:
                step("store the model")
                _write_model(folder, files, graph, plan)
                compiled = ov.Core().compile_model(folder / IR_FILE, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
                step("compute golden vectors")
                _write_golden(folder, files, compiled)
                step("compare with the source model")
                parity = check_parity(compiled, files, torch_model(files, weights), plan.precision)
                hashes = {path.relative_to(folder).as_posix(): sha256_file(path) for path in files_below(folder)}
                write_manifest(folder, plan.model_copy(update={"files": hashes, "parity": parity}))
                step(f"put it in place: {output}")
                replace_folder(output, folder)
        except OSError as error:
            raise SetupError(f"{output} cannot be written: {error}") from error
    return output


def _plan(
    files: SourceFiles,
    name: str,
    *,
    precision: str,
    channels: list[str] | None,
    keep_source: bool,
    metrics: Sequence[Metric],
    command: str | None,
) -> ForecasterManifest:
    """Return the manifest but for what only a conversion can tell: files and parity."""
    architecture = files.architecture
    if precision not in PRECISIONS:
        raise SetupError(f"no precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    names = channels or [f"channel_{index}" for index in range(architecture.num_input_channels)]
    if len(names) != architecture.num_input_channels or len(set(names)) < len(names) or "" in names:
        raise SetupError(
            f"channels: the model has {architecture.num_input_channels}, each needs one name of its own; got {names}"
        )
    return ForecasterManifest(
        name=name,
        layout=architecture.layout,
        context=architecture.context_length,
        horizon=architecture.prediction_length,
        channels=names,
        precision=cast("Literal['f32', 'f16']", precision),
        golden_tolerance=GOLDEN_TOLERANCE,
        files={},
        source=Source(
            name=files.name,
            sha256=files.sha256,
            options={"precision": precision, "channels": ",".join(names), "keep_source": str(keep_source).lower()},
        ),
        tools={"vinocast": __version__} | {tool: version(tool) for tool in TOOLS},
        metrics=list(metrics),
        command=command,
    )


def _is_current(output: Path, plan: ForecasterManifest) -> bool:
    """Whether a whole model of this plan is there; under what name its source was found makes no difference."""
    try:
        existing = open_forecaster(output)
        existing.verify()
    except ModelRefusedError:
        return False
    return _decided(existing.manifest) == _decided(plan)


def _decided(manifest: ForecasterManifest) -> dict[str, Any]:
    return manifest.model_dump(exclude={"files": True, "parity": True, "source": {"name": True}})


def _write_model(folder: Path, files: SourceFiles, graph: ov.Model, plan: ForecasterManifest) -> None:
    ov.save_model(graph, folder / IR_FILE, compress_to_fp16=plan.precision == "f16")
    if plan.source.options["keep_source"] == "true":
        (folder / SOURCE_FOLDER).mkdir()
        for name, data in files.files.items():
            (folder / SOURCE_FOLDER / name).write_bytes(data)


def _write_golden(folder: Path, files: SourceFiles, compiled: ov.CompiledModel) -> None:
    """Store at least GOLDEN_SERIES generated series and what the stored IR answers, in the shapes of its layout."""
    architecture = files.architecture
    if architecture.layout == "series":
        inputs = golden_series(GOLDEN_SERIES, architecture.context_length)
    else:
        channels = architecture.num_input_channels
        count = channels * -(-GOLDEN_SERIES // channels)
        inputs = as_windows(golden_series(count, architecture.context_length), channels)
    np.savez(folder / GOLDEN_FILE, inputs=inputs, outputs=compiled(inputs)[0])
