"""The two nets behind a run: on torch, or on OpenVINO. Each is imported only where it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.engine.cpu import cpu_budget, processor
from vinocast.export.glyphs.cache import Cache
from vinocast.extras import missing_extra
from vinocast.glyphs.manifest import PHASE1_IR_FILE, PHASE1_WEIGHTS_FILE, PHASE2_IR_FILE, PHASE2_WEIGHTS_FILE
from vinocast.kinds import open_model
from vinocast.recognition.said import tell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.export.glyphs.cache import Entry
    from vinocast.export.glyphs.engine import OpenVINOInferenceEngine
    from vinocast.glyphs.chain import Phase1, Phase2
    from vinocast.recognition.options import Options

    # Grids uint16 [n, 16, 16] of the first rasters, by the Phase 1 that is given.
    Calibration = Callable[[Phase1], NDArray[np.uint16]]


@dataclass(frozen=True)
class Nets:
    """Phase 1 and Phase 2, and what is known of them.

    Attributes:
        phase1, phase2: see ``vinocast.glyphs.chain``.
        parameters: of Phase 1 and Phase 2.
        primitives: ids that Phase 2 knows.
        labels: outputs of Phase 2.
        label_map: the labels inside the checkpoint of Phase 2; None where there are none.
        device: for a reader.
    """

    phase1: Phase1
    phase2: Phase2
    parameters: tuple[int, int]
    primitives: int
    labels: int
    label_map: list[str] | None
    device: str


def load_nets(options: Options, calibration: Calibration) -> Nets:
    """Load what the options name; raises SetupError that names the checkpoint and its fault."""
    try:
        config, checkpoints = _config(options), options.checkpoints
        if options.use_openvino or checkpoints is None:
            return _openvino(options, checkpoints, config, calibration)
        return _torch(options, checkpoints, config)
    except ModuleNotFoundError as error:
        raise missing_extra("convert", error) from error


def _config(options: Options) -> dict[str, Any]:
    """Return what the options say of the architecture of Phase 2, which may be nothing."""
    if options.config_yaml is None and not options.baseline_phase2:
        return {}
    from vinocast.export.glyphs.architecture import read_config_yaml, variant_config  # noqa: PLC0415 - torch

    if options.config_yaml is None or options.baseline_phase2:
        return variant_config("light")
    return read_config_yaml(options.config_yaml)


def _torch(options: Options, checkpoints: tuple[Path, Path], config: dict[str, Any]) -> Nets:
    import torch  # noqa: PLC0415 - only where it computes

    from vinocast.export.glyphs.checkpoint import (  # noqa: PLC0415 - torch
        LAST_WEIGHT,
        phase1_net,
        phase2_net,
        read_checkpoint,
    )

    torch.set_num_threads(cpu_budget().cores)
    weights = read_checkpoint(checkpoints[1])
    first, second = phase1_net(read_checkpoint(checkpoints[0])), phase2_net(weights, config)

    def batched(net: torch.nn.Module, size: int) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
        def infer(rows: NDArray[Any]) -> NDArray[np.float32]:
            with torch.inference_mode():
                parts = [net(part) for part in torch.split(torch.from_numpy(rows), size)]
                return np.asarray(torch.cat(parts).numpy())

        return infer

    return Nets(
        batched(first, options.phase1_batch_size),
        batched(second, options.batch_size),
        (_parameters(first), _parameters(second)),
        second.architecture.primitives,
        len(weights.state[LAST_WEIGHT]),
        weights.labels,
        "cpu",
    )


def _parameters(net: Any) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def _openvino(
    options: Options, checkpoints: tuple[Path, Path] | None, config: dict[str, Any], calibration: Calibration
) -> Nets:
    from vinocast.export.glyphs import engine  # noqa: PLC0415 - openvino

    device, int8 = options.openvino_device, options.openvino_precision == "int8"
    compiler = engine.open_device(device)
    if int8 and device == "CPU" and not processor().vnni:
        tell("[WARN] this processor has no VNNI: int8 will be slower than f32, and less accurate")

    def compiled(entry: Entry, phase: int) -> OpenVINOInferenceEngine:
        return engine.OpenVINOInferenceEngine(entry, device, engine.BATCHES[phase], compiler)

    cache = options.openvino_cache_dir
    if checkpoints is None:
        folder = open_model(options.label_map.parent)
        files = folder.read()
        first = compiled(engine.read_entry(folder.path, files[PHASE1_IR_FILE], files[PHASE1_WEIGHTS_FILE]), 1)
        entry = engine.read_entry(folder.path, files[PHASE2_IR_FILE], files[PHASE2_WEIGHTS_FILE])
        if int8:
            content = {"model": folder.manifest.files[PHASE2_WEIGHTS_FILE]}
            entry = engine.quantize_entry(entry, "phase2_model", content, Cache(cache), calibration(first))
    else:
        first = compiled(engine.convert_checkpoint(checkpoints[0], cache, phase=1), 1)
        grids = calibration(first) if int8 else None
        entry = engine.convert_checkpoint(checkpoints[1], cache, config=config, calibration=grids)
    second = compiled(entry, 2)
    return Nets(
        first,
        second,
        (first.notes["parameters"], second.notes["parameters"]),
        second.notes["primitives"],
        second.notes["labels"],
        second.notes["label_map"],
        f"openvino:{device} {options.openvino_precision}",
    )
