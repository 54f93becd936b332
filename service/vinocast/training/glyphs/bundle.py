"""The files of a trained chain: what the export makes the service's model from, and what says how good it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import safetensors.torch

from vinocast.data.atomic import whole_file
from vinocast.training.glyphs.charset import Character, write_chars_csv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from vinocast.export.glyphs.nets import Phase2Architecture

METRICS_FILE = "metrics.json"


def write_bundle(
    folder: Path,
    phase1: Mapping[str, Tensor],
    phase2: Mapping[str, Tensor],
    architecture: Phase2Architecture,
    labels: Sequence[Character],
    metrics: Mapping[str, Any],
) -> None:
    """Write both nets' weights and architecture, label_map.json, chars.csv and, as the last, metrics.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in (("phase1", phase1), ("phase2", phase2)):
        dense = {key: tensor.contiguous() for key, tensor in tensors.items()}
        with whole_file(folder / f"{name}.safetensors") as part:
            part.write_bytes(safetensors.torch.save(dense, {"format": "pt"}))
    _write_json(folder / "config.json", to_config(architecture))
    _write_json(folder / "label_map.json", {label.label: index for index, label in enumerate(labels)})
    with whole_file(folder / "chars.csv") as part:
        write_chars_csv(part, labels)
    _write_json(folder / METRICS_FILE, metrics)


def to_config(architecture: Phase2Architecture) -> dict[str, Any]:
    """Return an architecture under the keys that checkpoints of the chain use."""
    return {
        "input": {
            "primitive_vocab_size": architecture.primitives,
            "embedding_dim": architecture.embedding,
            "normalize_embeddings": False,
        },
        "model": {
            "architecture": "cnn",
            "cnn": {
                "stages": list(architecture.stages),
                "blocks_per_stage": list(architecture.blocks),
                "kernel_size": 3,
                "stem_kernel_size": 3,
                "stem_stride": 1,
                "downsample": "stride",
                "activation": "gelu",
                "dropout": architecture.dropout,
                "classifier_hidden_dim": architecture.hidden,
                "classifier_dropout": architecture.classifier_dropout,
            },
        },
    }


def _write_json(path: Path, value: Any) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
