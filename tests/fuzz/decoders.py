"""What reads bytes of strangers, each as a function of any bytes, which raises only what is meant to be raised."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from fuzz.oracle import ONLY_HTTP, NotJsonError, strict
from vinocast.engine.folders import MANIFEST_FILE
from vinocast.engine.manifest import Manifest, read_manifest
from vinocast.errors import LineTooLongError, ModelRefusedError, RasterError, RequestError
from vinocast.forecast.manifest import ForecasterManifest
from vinocast.glyphs.manifest import GlyphsManifest
from vinocast.glyphs.normalize import raster_of_png
from vinocast.glyphs.rasters import decode_raster
from vinocast.protocols.glyphs import grid_from_rows, png_from_base64
from vinocast.protocols.json import Message, failure, validate
from vinocast.protocols.schemas import ForecastRequest, GlyphsRequest, ObserveRequest
from vinocast.protocols.windows import may_hold_booleans, rows_to_array, window_from_base64, window_from_rows
from vinocast.transports.http.messages import Chunks, MalformedError, end_of_head, parse_head
from vinocast.transports.lines import LineSplitter

CONTEXT, CHANNELS, LIMIT = 3, 2, 64
MANIFESTS: dict[str, type[Manifest]] = {"forecaster": ForecasterManifest, "glyphs": GlyphsManifest}
FOLDER = tempfile.TemporaryDirectory()


def lines(data: bytes) -> None:
    """Cut bytes into lines, in two pieces and in one: the same lines, none over the limit."""
    whole, halves = LineSplitter(LIMIT), LineSplitter(LIMIT)
    half = len(data) // 2
    found = [whole.feed(data) + whole.finish(), halves.feed(data[:half]) + halves.feed(data[half:]) + halves.finish()]
    one, two = ([None if isinstance(line, LineTooLongError) else line for line in each] for each in found)
    assert one == two
    assert all(line is None or (len(line) <= LIMIT and b"\n" not in line) for line in one)


def message(data: bytes) -> None:
    """Read a request: JSON where it is JSON, and its refusal can be written."""
    try:
        fields = Message(data).fields
    except RequestError as error:
        refused = orjson.loads(failure({}, error))["error"]["code"]
        if refused not in {"invalid_json", "invalid_request"}:
            raise
        return
    assert isinstance(strict(data), dict)
    for schema in (ForecastRequest, ObserveRequest, GlyphsRequest):
        try:
            validate(schema, fields).ask(data, 0.0)
        except RequestError as error:
            orjson.loads(failure({}, error))


def window(data: bytes) -> None:
    """Read rows: finite, of the right shape, and equal to what numpy makes of them."""
    rows = _parsed(data)
    if not isinstance(rows, list):
        return
    booleans = may_hold_booleans(data)
    for whole in (True, False):
        try:
            if whole:
                values = window_from_rows(rows, CONTEXT, CHANNELS, may_hold_booleans=booleans)
            else:
                values = rows_to_array(rows, CHANNELS, may_hold_booleans=booleans, field="values")
        except RequestError as error:
            orjson.loads(failure({}, error))
            continue
        assert values.shape[1:] == (CHANNELS,)
        assert np.isfinite(values).all()
        assert not any(isinstance(number, bool) for row in rows for number in row)
        np.testing.assert_array_equal(values, np.array(rows, np.float64).reshape(values.shape).astype(np.float32))


def grid(data: bytes) -> None:
    """Read a grid of ids."""
    rows = _parsed(data)
    try:
        ids = grid_from_rows(rows, "grids[0]", 2, 1024, may_hold_booleans=may_hold_booleans(data))
    except RequestError as error:
        orjson.loads(failure({}, error))
        return
    assert ids.tolist() == rows
    assert ids.max() < 1024


def window_base64(data: bytes) -> None:
    """Read base64 of float32."""
    text = data.decode("utf-8", "replace")
    try:
        values = window_from_base64(text, (CONTEXT, CHANNELS), CONTEXT, CHANNELS)
    except RequestError as error:
        orjson.loads(failure({}, error))
        return
    assert np.isfinite(values).all()
    assert base64.b64encode(values.tobytes()).decode() == text


def raster_base64(data: bytes) -> None:
    """Read the base64 of a raster."""
    text = data.decode("utf-8", "replace")
    try:
        png = png_from_base64(text, "rasters[0]")
    except RequestError as error:
        orjson.loads(failure({}, error))
        return
    assert base64.b64decode(text, validate=True) == png


def png(data: bytes) -> None:
    """Read a raster, as it is and fitted: 128x128 pixels of a byte."""
    for read in (decode_raster, raster_of_png):
        try:
            pixels = read(data)
        except RasterError as error:
            str(error).encode()
            continue
        assert pixels.shape == (128, 128)
        assert pixels.dtype == np.uint8


def manifest(data: bytes) -> None:
    """Read a manifest; the folder is our own."""
    folder = Path(FOLDER.name)
    (folder / MANIFEST_FILE).write_bytes(data)
    try:
        found = read_manifest(folder, MANIFESTS)
    except ModelRefusedError as error:
        if MANIFEST_FILE not in str(error).encode().decode():
            raise
        return
    assert found.manifest.described()
    try:
        found.verify()
    except ModelRefusedError as error:
        str(error).encode()


def head(data: bytes) -> None:
    """Read the head of a request."""
    if not data:
        return
    try:
        end = end_of_head(data)
        if end is None:
            return
        found = parse_head(data[:end])
    except MalformedError as error:
        if error.status not in ONLY_HTTP:
            raise
        return
    assert 0 <= found.length < 10**18
    assert not (found.chunked and found.length)


def chunks(data: bytes) -> None:
    """Read a chunked body, in one piece and byte by byte: the same body."""
    bodies: list[tuple[bytes, bool] | None] = []
    for pieces in ([data], [data[place : place + 1] for place in range(len(data))]):
        reader, body = Chunks(), b""
        try:
            for piece in pieces:
                body += reader.take(piece)[0]
                if reader.complete:
                    break
        except MalformedError:
            bodies.append(None)
        else:
            bodies.append((body, reader.complete))
    assert bodies[0] == bodies[1]


def _parsed(data: bytes) -> Any:
    try:
        strict(data)
        return orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except (NotJsonError, orjson.JSONDecodeError):
        return None


DECODERS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (lines, message, window, grid, window_base64, raster_base64, png, manifest, head, chunks)
}
