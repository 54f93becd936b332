"""The bundled chain is what its card says, and reads the rasters that come with it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from PIL import Image
from support import ROOT
from vinocast.export.glyphs.nets import VARIANTS, Phase1Net, Phase2Net
from vinocast.glyphs.cells import pack_cells, split_cells
from vinocast.training.glyphs.bundle import to_config
from vinocast.training.glyphs.charset import CLASSES, COLUMNS, candidates
from vinocast.training.glyphs.classify import rank
from vinocast.training.glyphs.fonts import belongs
from vinocast.training.glyphs.primitives import identify

BUNDLE = ROOT / "models" / "glyphs"
RASTERS = sorted((ROOT / "examples" / "rasters").glob("*.png"))


@pytest.fixture(scope="module")
def labels() -> list[str]:
    label_map = json.loads((BUNDLE / "label_map.json").read_bytes())
    assert list(label_map.values()) == list(range(len(label_map)))
    return list(label_map)


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((BUNDLE / "metrics.json").read_bytes())
    return content


def test_there_are_a_thousand_labels_over_all_classes_as_unicode_describes_them(labels: list[str]) -> None:
    assert labels == sorted(labels)
    assert len(labels) >= 1000
    with (BUNDLE / "chars.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    described = {candidate.label: list(candidate.row) for candidate in candidates()}
    assert rows == [described[label] for label in labels]
    assert {row[3] for row in rows} == set(CLASSES)


def test_no_family_of_the_test_was_trained_on_and_nine_in_ten_shapes_are_read(metrics: dict[str, Any]) -> None:
    protocol, test = metrics["protocol"], metrics["test"]
    held_out = protocol["held_out"]["test"] + protocol["held_out"]["validation"]
    assert len(protocol["held_out"]["test"]) >= 6
    assert not [family for family in protocol["train_faces"] if belongs(family, held_out)]
    assert not protocol["test_faces"].keys() & protocol["validation_faces"].keys()
    assert test["by_class"].keys() == set(CLASSES)
    assert 0.9 <= test["top1_grouped"] <= test["top5_grouped"]
    assert test["rasters"] == sum(family["rasters"] for family in test["by_family"].values())
    grouped = sum(len(group) for group in metrics["groups"])
    assert protocol["groups"] == protocol["labels"] - grouped + len(metrics["groups"])


def test_the_card_states_the_figures_of_the_metrics(metrics: dict[str, Any]) -> None:
    card = (BUNDLE / "README.md").read_text(encoding="utf-8")
    names = ("top1_grouped", "top1", "top5", "macro_f1_grouped", "macro_f1")
    for split in ("test", "validation"):
        assert f"| {split} | " + " | ".join(f"{metrics[split][name]:.3f}" for name in names) + " |" in card
    for family, figures in metrics["test"]["by_family"].items():
        assert f"{family} |" in card
        assert " | ".join(f"{figures[name]:.3f}" for name in names[:3]) in card
    for family in metrics["protocol"]["held_out"]["validation"] + list(metrics["protocol"]["dropped_as_relatives"]):
        assert family in card


@pytest.mark.parametrize("path", RASTERS, ids=lambda path: path.stem)
def test_a_raster_is_binary_and_fills_its_box_from_the_top_left(path: Path, labels: list[str]) -> None:
    label, _, row = path.stem.rpartition("_")
    assert row.isdecimal()
    assert label in labels
    with Image.open(path) as image:
        assert (image.mode, image.size) == ("L", (128, 128))
        ink = np.asarray(image)
    assert set(np.unique(ink).tolist()) == {0, 255}
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    side = 64 if label.endswith("diacritic") else 128
    assert max(rows[-1], columns[-1]) == pytest.approx(side - 1, abs=1)
    assert rows[0] <= 1
    assert columns[0] <= 1


def test_the_bundled_weights_read_the_rasters(labels: list[str], metrics: dict[str, Any]) -> None:
    assert {path.stem.rpartition("_")[0].partition("_")[2] for path in RASTERS} == set(CLASSES)
    config = json.loads((BUNDLE / "source" / "config.json").read_bytes())
    architecture = VARIANTS[metrics["recipe"]["variant"]]
    assert config["input"] == to_config(architecture)["input"]
    assert config["model"]["cnn"]["stages"] == list(architecture.stages)
    phase1, phase2 = Phase1Net().eval(), Phase2Net(architecture, len(labels)).eval()
    phase1.load_state_dict(safetensors.torch.load_file(BUNDLE / "source" / "phase1.safetensors"))
    phase2.load_state_dict(safetensors.torch.load_file(BUNDLE / "source" / "phase2.safetensors"))

    pictures = []
    for path in RASTERS:
        with Image.open(path) as image:
            pictures.append(np.asarray(image))
    cells = pack_cells(split_cells(np.stack(pictures)))
    ranked = rank(phase2, identify(phase1, cells.reshape(-1)).reshape(cells.shape), 5)
    truth = np.array([labels.index(path.stem.rpartition("_")[0]) for path in RASTERS])
    hits = ranked == truth[:, None]
    assert hits[:, 0].mean() > 0.8
    assert hits.any(1).mean() > 0.95
