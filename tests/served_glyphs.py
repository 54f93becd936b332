"""Glyphs as requests have them, and what the bundled nets say of them through OpenVINO alone."""

from __future__ import annotations

import base64
import io
from functools import cache

import numpy as np
import openvino as ov
import orjson
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from support import MODELS, Reply

FOLDER = MODELS / "glyphs"


LABELS = sorted(orjson.loads((FOLDER / "label_map.json").read_bytes()), key=str)


def drawings(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Binary rasters of random strokes."""
    generator = np.random.default_rng(seed)
    rasters = []
    for _ in range(count):
        image = Image.new("L", (128, 128))
        for _ in range(4):
            points = [tuple(map(int, point)) for point in generator.integers(0, 128, (3, 2))]
            ImageDraw.Draw(image).line(points, fill=255, width=int(generator.integers(3, 14)))
        rasters.append(np.asarray(image))
    return np.stack(rasters)


def png(raster: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(raster).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def random_grids(count: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(1)
    return generator.integers(0, 1024, (count, 16, 16)) * (generator.random((count, 16, 16)) < 0.4)


@cache
def net(phase: int) -> ov.CompiledModel:
    return ov.Core().compile_model(FOLDER / f"phase{phase}.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def plain_grids(rasters: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Every cell through Phase 1, one raster after another."""
    grids = []
    for raster in rasters:
        cells = np.stack([raster[8 * (i // 16) :, 8 * (i % 16) :][:8, :8] for i in range(256)])
        ids = net(1)(cells[:, None].astype(np.float32) / 255)[0].argmax(axis=1)
        grids.append(np.where(cells.max(axis=(1, 2)) == 0, 0, ids).reshape(16, 16))
    return np.stack(grids)


def check(reply: Reply, grids: NDArray[np.int64], topk: int = 5) -> None:
    """Compare a reply with what the IR answers through OpenVINO alone."""
    logits = net(2)(grids)[0].astype(np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    assert reply["success"], reply
    assert len(reply["results"]) == len(grids)
    for result, expected in zip(reply["results"], probabilities, strict=True):
        best = result["topk"]
        assert [candidate["rank"] for candidate in best] == list(range(1, topk + 1))
        indices = [LABELS.index(candidate["label"]) for candidate in best]
        assert np.allclose([candidate["prob"] for candidate in best], expected[indices], atol=1e-5)
        assert np.allclose(expected[indices], np.sort(expected)[::-1][:topk], atol=1e-5)
        assert all(candidate["base"] for candidate in best)
