"""What the tests of the program of the glyph chain share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from glyph_support import LABELS, GlyphFolder, logits, phase1, phase2
from numpy.typing import NDArray
from PIL import Image
from support import ROOT
from vinocast.glyphs.chain import plain_cells, rank

SCRIPT = ROOT / "scripts" / "infer_chain.py"
Answers = dict[str, list[dict[str, Any]]]
# Runs the program in this process: exit code, standard output, standard error.
Run = Callable[..., tuple[int, str, str]]


def run_script(*options: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, options)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=170, env=os.environ | (env or {})
    )


def read(path: Path) -> Answers:
    return {line["file"]: line["topk"] for line in map(orjson.loads, path.read_bytes().splitlines())}


def faults(err: str) -> list[str]:
    """What was said but for how the rasters look, which are no glyphs and not where one would be."""
    return [line for line in err.splitlines() if " looks " not in line and "it looks wrong" not in line]


def assert_alike(one: Answers, other: Answers, tolerance: float) -> None:
    assert list(one) == list(other)
    for file, topk in one.items():
        assert [entry["label"] for entry in topk] == [entry["label"] for entry in other[file]], file
        for a, b in zip(topk, other[file], strict=True):
            assert a["prob"] == pytest.approx(b["prob"], abs=tolerance)


def expected_answers(glyphs: GlyphFolder, k: int = 5) -> tuple[dict[str, list[str]], NDArray[np.int64]]:
    """Labels of each raster, and the grids, by the nets themselves."""
    rasters = np.stack([np.asarray(Image.open(glyphs.rasters / file)) for file in glyphs.files])
    cells, empty = plain_cells(rasters)
    ids: NDArray[np.int64] = logits(phase1(), cells).argmax(1)
    ids[empty] = 0
    grids = ids.reshape(-1, 16, 16)
    best = rank(logits(phase2(), grids), k).indices
    return {file: [LABELS[i] for i in row] for file, row in zip(glyphs.files, best.tolist(), strict=True)}, grids
