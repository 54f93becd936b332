"""From the checkpoints of both phases to a glyph model's folder that is complete and checked, or not there at all."""

from __future__ import annotations

import codecs
import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
import orjson
import torch

from vinocast import __version__
from vinocast.data.regular import sha256_file
from vinocast.engine.manifest import GOLDEN_FILE, Source, write_manifest
from vinocast.errors import SetupError, shown
from vinocast.export.folder import check_output, files_below, is_current, replace_folder, workspace
from vinocast.export.glyphs.checkpoint import LAST_WEIGHT, phase1_net, phase2_net, read_checkpoint
from vinocast.export.glyphs.onnx import convert_onnx_to_openvino, export_phase1_to_onnx, export_phase2_to_onnx
from vinocast.glyphs.cells import CELL_SIDE, GRID_SIDE, PRIMITIVES
from vinocast.glyphs.labels import check_same_labels, read_labels
from vinocast.glyphs.manifest import CHARS_FILE, LABEL_MAP_FILE, PHASE1_IR_FILE, PHASE2_IR_FILE, GlyphsManifest

if TYPE_CHECKING:
    from pathlib import Path

    from vinocast.export.glyphs.nets import Phase1Net, Phase2Net

SOURCE_FOLDER = "source"
METRICS_FILE = "metrics.json"
CARD_FILE = "README.md"
CONFIG_FILE = "config.json"
CHECKPOINTS = ("phase1.safetensors", "phase1.pt", "phase1.pth"), ("phase2.safetensors", "phase2.pt", "phase2.pth")
TOOLS = ("numpy", "onnx", "openvino", "torch")
GOLDEN_CELLS, GOLDEN_GRIDS = 64, 8
# Kernels of other instruction sets move a logit by some 1e-5; other weights move it by whole numbers.
GOLDEN_TOLERANCE = 1e-3
# How much further the best primitive of a golden cell must be than the next, so that rounding cannot swap them.
GOLDEN_MARGIN = 1e-2


def is_glyph_source(folder: Path) -> bool:
    """Whether a folder holds checkpoints of a glyph chain."""
    return any((folder / name).is_file() for names in CHECKPOINTS for name in names)


def convert_glyphs(
    source: Path,
    output: Path,
    *,
    metrics: dict[str, float] | None = None,
    command: str | None = None,
    keep_source: bool = False,
) -> Path:
    """Convert a folder of glyph checkpoints to the model folder ``output``, and return it.

    Args:
        source: holds ``phase1`` and ``phase2`` as ``.safetensors``, ``.pt`` or ``.pth``, ``label_map.json``,
            ``chars.csv``, and optionally ``config.json`` (an architecture, as ``--config_yaml`` holds it),
            ``metrics.json`` and ``README.md``, which are taken along.
        output: the model's own folder.
        metrics: figures for the manifest.
        command: the command that made the weights.
        keep_source: store the checkpoints beside the IR.

    Raises:
        SetupError: a file is missing or does not fit the others, or ``output`` holds what is no model's.
    """
    checkpoints = [_find(source, names) for names in CHECKPOINTS]
    labels = read_labels(source / LABEL_MAP_FILE, source / CHARS_FILE)
    config = source / CONFIG_FILE
    overrides = _read_config(config) if config.is_file() else None
    weights1, weights2 = map(read_checkpoint, checkpoints)
    net1, net2 = phase1_net(weights1), phase2_net(weights2, overrides)
    outputs = len(weights2.state[LAST_WEIGHT])
    check_same_labels(weights2.labels, outputs, labels.names, checkpoints[1], source / LABEL_MAP_FILE)
    sources = [*checkpoints, config] if config.is_file() else checkpoints
    taken = [source / name for name in (LABEL_MAP_FILE, CHARS_FILE, METRICS_FILE)]
    taken = [path for path in taken if path.is_file()]
    card = source / CARD_FILE
    plan = GlyphsManifest(
        name=output.name,
        labels=len(labels),
        golden_tolerance=GOLDEN_TOLERANCE,
        files={},
        source=Source(
            name=shown(source.name),
            sha256={path.name: sha256_file(path) for path in (*sources, *taken)},
            options={"keep_source": str(keep_source).lower()},
        ),
        tools={"vinocast": __version__} | {tool: version(tool) for tool in TOOLS},
        metrics=metrics or {},
        command=command,
    )
    if is_current(output, plan):
        return output
    kept = {f"{SOURCE_FOLDER}/{name}" for names in CHECKPOINTS for name in names} | {f"{SOURCE_FOLDER}/{CONFIG_FILE}"}
    irs = {PHASE1_IR_FILE, PHASE2_IR_FILE}
    own = irs | {name.replace(".xml", ".bin") for name in irs} | {GOLDEN_FILE, METRICS_FILE, CARD_FILE} | kept
    size = sum(path.stat().st_size for path in (*sources, *taken))
    check_output(output, own | {LABEL_MAP_FILE, CHARS_FILE}, size)
    with workspace(output) as folder:
        for path in taken:
            shutil.copyfile(path, folder / path.name)
        if keep_source:
            (folder / SOURCE_FOLDER).mkdir()
            for path in sources:
                shutil.copyfile(path, folder / SOURCE_FOLDER / path.name)
        _write_irs(folder, net1, net2)
        _write_golden(folder, net1, net2)
        hashes = {path.relative_to(folder).as_posix(): sha256_file(path) for path in files_below(folder)}
        # The card is for readers, who may add to it.
        if card.is_file():
            shutil.copyfile(card, folder / card.name)
        write_manifest(folder, plan.model_copy(update={"files": hashes}))
        replace_folder(output, folder)
    return output


def _find(source: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (source / name).is_file():
            return source / name
    raise SetupError(f"{source}: expected one of {', '.join(names)}")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = orjson.loads(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise SetupError(f"{path}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise SetupError(f"{path}: expected an object, as --config_yaml holds")
    return config


def _write_irs(folder: Path, net1: Phase1Net, net2: Phase2Net) -> None:
    onnx = folder / "model.onnx"
    convert_onnx_to_openvino(export_phase1_to_onnx(net1, onnx), folder / PHASE1_IR_FILE)
    convert_onnx_to_openvino(export_phase2_to_onnx(net2, onnx), folder / PHASE2_IR_FILE)
    onnx.unlink()


def _write_golden(folder: Path, net1: Phase1Net, net2: Phase2Net) -> None:
    """Store generated cells and grids with what PyTorch answers; raises SetupError where the IR answers otherwise."""
    generator = np.random.default_rng(0)
    cells = generator.integers(0, 2, (4 * GOLDEN_CELLS, 1, CELL_SIDE, CELL_SIDE)).astype(np.float32)
    grids = generator.integers(0, PRIMITIVES, (GOLDEN_GRIDS, GRID_SIDE, GRID_SIDE))
    # Glyphs are empty in most cells.
    grids *= generator.random(grids.shape) < 0.4
    with torch.inference_mode():
        best = net1(torch.from_numpy(cells)).topk(2)
        logits = net2(torch.from_numpy(grids)).numpy()
    clear = ((best.values[:, 0] - best.values[:, 1]) > GOLDEN_MARGIN).numpy()
    cells, ids = cells[clear][:GOLDEN_CELLS], best.indices[:, 0].numpy()[clear][:GOLDEN_CELLS]
    core = ov.Core()
    answers = [
        core.compile_model(folder / ir, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(inputs)[0]
        for ir, inputs in ((PHASE1_IR_FILE, cells), (PHASE2_IR_FILE, grids))
    ]
    difference = float(np.abs(answers[1] - logits).max())
    if not np.array_equal(answers[0].argmax(axis=1), ids) or not difference <= GOLDEN_TOLERANCE:
        raise SetupError(f"the IR answers other than PyTorch does: logits differ by up to {difference:.3g}")
    golden: dict[str, Any] = {"cells": cells, "ids": ids, "grids": grids, "logits": logits}
    np.savez(folder / GOLDEN_FILE, **golden)
