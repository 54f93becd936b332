"""What a newcomer can send to this very service: examples for its documentation, commands for its welcome."""

from __future__ import annotations

import base64
import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from vinocast.engine.manifest import bundled_examples

if TYPE_CHECKING:
    from vinocast.dataplane import DataPlane
    from vinocast.engine.manifest import ForecasterManifest

STREAM = "demo"


def forecast_example(manifest: ForecasterManifest) -> dict[str, Any]:
    """Return a forecast request for a model: a daily wave in every channel, and the first channel asked for."""
    shape = [manifest.context, len(manifest.channels)]
    hours, channels = np.mgrid[: shape[0], : shape[1]]
    window = (10 * (channels + 1) + np.sin(2 * np.pi * hours / 24)).astype("<f4")
    encoded = base64.b64encode(window.tobytes()).decode()
    return {"request_id": 1, "past_values_b64": encoded, "shape": shape, "targets": manifest.channels[:1]}


def observe_example(manifest: ForecasterManifest) -> dict[str, Any]:
    """Return one row for a stream of a model."""
    return {"timestamp_ms": 1705678900000, "values": list(range(1, len(manifest.channels) + 1))}


def glyphs_example() -> dict[str, Any]:
    """Return a glyphs request: a raster of the bundled examples."""
    (raster, *_) = orjson.loads((bundled_examples() / "glyphs.json").read_bytes())["rasters"]
    return {"request_id": 1, "rasters": [raster], "topk": 3}


def commands(plane: DataPlane) -> str:
    """Return shell commands, a line each, that this service answers with success; ``{url}`` stands for its address."""
    lines = []
    window = bundled_examples() / "window.json"
    rows = orjson.loads(window.read_bytes())["past_values"]
    manifest = plane.default_model.manifest
    if (len(rows), len(rows[0])) == (manifest.context, len(manifest.channels)):
        lines.append(_post("forecast", _from_file(window)))
    elif plane.keeps_streams:
        lines.append(_post(f"streams/{STREAM}/observations", orjson.dumps(observe_example(manifest)).decode()))
    if plane.recognizes:
        lines.append(_post("glyphs", _from_file(bundled_examples() / "glyphs.json")))
    return "".join(f"  {line}\n" for line in lines)


def _post(path: str, data: str) -> str:
    return f"curl -s {{url}}/{path} -H 'Content-Type: application/json' -d {shlex.quote(data)}"


def _from_file(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):  # the folder we are in is gone, or another one
        path = path.relative_to(Path.cwd())
    return f"@{path}"
