"""Glyphs over both transports: the answer of the two nets, faults by their path, and forecasts that are not held up."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from png_support import chunk
from served_glyphs import LABELS, check, drawings, plain_grids, png, random_grids
from support import PATIENCE, HttpService, Reply, StdioService, error_of, packed
from vinocast.data.bundled import BUNDLED_GENERAL, BUNDLED_MARKET


@pytest.fixture(scope="module")
def client(http: HttpService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=http.url, timeout=PATIENCE) as connected:
        yield connected


@pytest.mark.parametrize("count", [1, 3, 8, 21])
@pytest.mark.slow
def test_grids_are_answered_over_both_transports_as_the_net_answers(
    client: httpx.Client, stdio: StdioService, count: int
) -> None:
    grids = random_grids(count)
    request: Reply = {"request_id": "g", "timestamp_ms": 5, "grids": grids.tolist(), "topk": 3}
    reply, line = client.post("/glyphs", json=request).json(), stdio.ask({"op": "glyphs"} | request)
    check(reply, grids, 3)
    assert reply.keys() == line.keys()
    measured = {"inference_time_ms", "queue_time_ms"}
    assert all(reply[key] > 0 for key in measured)
    assert {key: reply[key] for key in reply.keys() - measured} == {key: line[key] for key in line.keys() - measured}
    assert (reply["request_id"], reply["timestamp_ms"], reply["model"]) == ("g", 5, "glyphs")


def test_rasters_are_answered_as_both_nets_answer(client: httpx.Client) -> None:
    rasters = drawings(64)
    check(client.post("/glyphs", json={"rasters": [png(raster) for raster in rasters]}).json(), plain_grids(rasters))


def test_a_gray_raster_and_an_empty_one_are_glyphs_too(client: httpx.Client) -> None:
    rasters = np.stack([drawings(1)[0] // 2, np.zeros((128, 128), np.uint8)])
    check(client.post("/glyphs", json={"rasters": [png(raster) for raster in rasters]}).json(), plain_grids(rasters))


def test_more_labels_than_there_are_cannot_be_ranked(client: httpx.Client) -> None:
    reply = client.post("/glyphs", json={"grids": random_grids(1).tolist(), "topk": 10**9}).json()
    assert len(reply["results"][0]["topk"]) == len(LABELS)


def grid_with(row: int, column: int, value: Any) -> list[Any]:
    grid = random_grids(1)[0].tolist()
    grid[row][column] = value
    return [grid]


def headed(width: int, height: int) -> str:
    """A PNG that says it is of this size, and holds a few bytes."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")).decode()


GOOD = png(drawings(1)[0])
SMALL = png(np.zeros((64, 128), np.uint8))
LARGE, BOMB, NOTHING = png(np.eye(1025, dtype=np.uint8)), headed(60000, 60000), headed(0, 128)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({}, "invalid_request", "grids"),
        ({"grids": [], "rasters": [GOOD]}, "invalid_request", "grids"),
        ({"grids": grid_with(0, 0, 1), "rasters": [GOOD]}, "invalid_request", "grids"),
        ({"grids": 7}, "invalid_request", "grids"),
        ({"rasters": GOOD}, "invalid_request", "rasters"),
        ({"rasters": [GOOD], "topk": 0}, "invalid_request", "topk"),
        ({"rasters": [GOOD], "topk": 2.5}, "invalid_request", "topk"),
        ({"rasters": [GOOD], "model": "nowhere"}, "unknown_model", "model"),
        ({"rasters": [GOOD], "model": "patchtst-etth1"}, "unknown_model", "model"),
        ({"grids": [[1] * 16] * 16}, "invalid_value", "grids[0][0]"),
        ({"grids": [None]}, "invalid_value", "grids[0]"),
        ({"grids": [[[1] * 16] * 15]}, "invalid_shape", "grids[0]"),
        ({"grids": [[[1] * 16] * 15 + [[1] * 17]]}, "invalid_shape", "grids[0][15]"),
        ({"grids": grid_with(3, 7, 1024)}, "invalid_value", "grids[0][3][7]"),
        ({"grids": grid_with(3, 7, -1)}, "invalid_value", "grids[0][3][7]"),
        ({"grids": grid_with(3, 7, 10**30)}, "invalid_value", "grids[0][3][7]"),
        ({"grids": grid_with(3, 7, 2.0)}, "invalid_value", "grids[0][3][7]"),
        ({"grids": grid_with(3, 7, True)}, "invalid_value", "grids[0][3][7]"),
        ({"grids": grid_with(3, 7, "1")}, "invalid_value", "grids[0][3][7]"),
        ({"rasters": [GOOD] * 17 + ["?"] + [GOOD] * 46}, "invalid_value", "rasters[17]"),
        ({"rasters": [GOOD, None]}, "invalid_value", "rasters[1]"),
        ({"rasters": [GOOD, base64.b64encode(b"GIF89a").decode()]}, "invalid_value", "rasters[1]"),
        ({"rasters": [GOOD, GOOD[:200]]}, "invalid_value", "rasters[1]"),
        ({"rasters": [GOOD, SMALL]}, "invalid_shape", "rasters[1]"),
        ({"rasters": [GOOD], "normalize": 1}, "invalid_request", "normalize"),
        ({"grids": grid_with(0, 0, 1), "normalize": True}, "invalid_request", "normalize"),
        ({"rasters": [GOOD, png(np.zeros((64, 128), np.uint8))], "normalize": True}, "invalid_value", "rasters[1]"),
        ({"rasters": [GOOD, LARGE], "normalize": True}, "invalid_shape", "rasters[1]"),
        ({"rasters": [GOOD, BOMB], "normalize": True}, "invalid_shape", "rasters[1]"),
        ({"rasters": [GOOD, NOTHING], "normalize": True}, "invalid_shape", "rasters[1]"),
        ({"rasters": [GOOD, GOOD[:200]], "normalize": True}, "invalid_value", "rasters[1]"),
        ({"grids": [0] * 4097}, "payload_too_large", "grids"),
    ],
)
@pytest.mark.slow
def test_a_fault_refuses_that_request_alone_and_says_where_it_is(
    client: httpx.Client, stdio: StdioService, fields: Reply, code: str, field: str
) -> None:
    body = json.dumps(fields).encode()
    refused = client.post("/glyphs", content=body, headers={"Content-Type": "application/json"})
    assert error_of(refused.json()) == (code, field), refused.text
    line = stdio.ask(b'{"op": "glyphs", ' + body[1:] + b"\n" if fields else {"op": "glyphs"})
    assert error_of(line) == (code, field)
    assert client.post("/glyphs", json={"rasters": [GOOD]}).status_code == 200


def hostile(*, second_header: tuple[int, int] | None = None, palette: bool = False, profiles: int = 0) -> str:
    """A PNG of 128x128 pixels that would like to be more than that."""
    header = struct.pack(">IIBBBBB", 128, 128, 8, 3 if palette else 0, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header)]
    if second_header:
        parts.append(chunk(b"IHDR", struct.pack(">IIBBBBB", *second_header, 8, 0, 0, 0, 0)))
    parts += [chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(1_000_000), 9))] * profiles
    parts += [chunk(b"IDAT", zlib.compress(bytes(129 * 128))), chunk(b"IEND", b"")]
    return base64.b64encode(b"".join(parts)).decode()


def test_a_second_header_and_profiles_are_not_read(client: httpx.Client) -> None:
    body = {"rasters": [hostile(second_header=(9400, 9400)), hostile(second_header=(64, 64)), hostile(profiles=20)]}
    empty = np.zeros((3, 128, 128), np.uint8)
    check(client.post("/glyphs", json=body).json(), plain_grids(empty))


def test_a_palette_without_colours_is_refused(client: httpx.Client) -> None:
    refused = client.post("/glyphs", json={"rasters": [hostile(palette=True)]})
    assert error_of(refused.json()) == ("invalid_value", "rasters[0]")


def test_more_bytes_than_a_glyph_can_need_are_refused(client: httpx.Client) -> None:
    refused = client.post("/glyphs", json={"grids": [[[]] * 100_000]})
    assert error_of(refused.json()) == ("payload_too_large", "grids")


def test_a_glyph_model_is_no_forecaster(client: httpx.Client) -> None:
    refused = client.post("/forecast", json=packed(np.zeros((512, 7), np.float32), model="glyphs"))
    assert error_of(refused.json()) == ("unknown_model", "model")


@pytest.mark.slow
def test_statistics_count_glyphs_apart_from_forecasts() -> None:
    with StdioService() as service:
        service.ask({"op": "glyphs", "grids": random_grids(2).tolist()})
        stats = service.ask({"op": "stats"})
    assert stats["answered"] == {"glyphs": 1}
    assert stats["inference_time_ms"] is None
    assert stats["glyphs_inference_time_ms"]["p50"] > 0


@pytest.mark.slow
def test_stdio_loads_the_glyph_model_when_it_is_asked_for_and_serve_before_it_is_ready(http: HttpService) -> None:
    def states(reply: Reply) -> dict[str, str]:
        # The other forecasters load behind, and may have.
        behind = (BUNDLED_GENERAL, BUNDLED_MARKET)
        return {model["kind"]: model["state"] for model in reply["models"] if model["name"] not in behind}

    with StdioService() as service:
        assert states(service.ask({"op": "ping"})) == {"forecaster": "ready", "glyphs": "not_loaded"}
        service.ask({"op": "glyphs", "grids": random_grids(1).tolist()})
        assert states(service.ask({"op": "ping"})) == {"forecaster": "ready", "glyphs": "ready"}
    assert states(httpx.get(f"{http.url}/readyz").json()) == {"forecaster": "ready", "glyphs": "ready"}
