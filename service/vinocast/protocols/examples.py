"""Requests in JSON that a newcomer can send to this very service."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from vinocast.data.bundled import bundled_examples

if TYPE_CHECKING:
    from collections.abc import Sequence

STREAM = "demo"


def forecast(context: int, channels: Sequence[str]) -> dict[str, Any]:
    """Return a request for a window: a daily wave in every channel, the first of which is asked for, with its times."""
    shape = [context, len(channels)]
    hours, places = np.mgrid[: shape[0], : shape[1]]
    window = (10 * (places + 1) + np.sin(2 * np.pi * hours / 24)).astype("<f4")
    encoded = base64.b64encode(window.tobytes()).decode()
    window_fields = {"past_values_b64": encoded, "shape": shape, "targets": list(channels[:1])}
    return {"request_id": 1, **window_fields, "start": "2026-03-01 00:00", "freq": "h"}


def observe(_context: int, channels: Sequence[str]) -> dict[str, Any]:
    """Return one row for a stream."""
    return {"timestamp_ms": 1705678900000, "values": list(range(1, len(channels) + 1))}


def glyphs(_context: int, _channels: Sequence[str]) -> dict[str, Any]:
    """Return a request for a glyph: a raster of the bundled examples."""
    (raster, *_) = orjson.loads((bundled_examples() / "glyphs.json").read_bytes())["rasters"]
    return {"request_id": 1, "rasters": [raster], "topk": 3}
