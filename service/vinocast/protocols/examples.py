"""Requests in JSON that a newcomer can send to this very service."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from vinocast.data.bundled import bundled_examples

if TYPE_CHECKING:
    from collections.abc import Sequence

STREAM, MARKET_STREAM = "demo", "BTC-USD@5m"


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


def feed(_context: int, _channels: Sequence[str]) -> dict[str, Any]:
    """Return a message of Coinbase's Exchange feed: a trade."""
    trade = {"type": "match", "trade_id": 1068572090, "side": "sell", "size": "0.002186", "price": "65083.67"}
    message = {**trade, "product_id": "BTC-USD", "sequence": 74784049, "time": "2026-08-09T21:05:42.514318Z"}
    return {"request_id": 1, "message": message}


def history(_context: int, _channels: Sequence[str]) -> dict[str, Any]:
    """Return two candles, newest first, as the exchange's endpoint has them."""
    newest = [1786309200, 65010.5, 65090, 65030.25, 65083.67, 4.25]
    return {"request_id": 1, "candles": [newest, [1786308900, 64990, 65060, 65000, 65030.25, 3.5]]}
