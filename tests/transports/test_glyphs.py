"""Glyphs over both transports: the answer of the two nets, faults by their path, and forecasts that are not held up."""

from __future__ import annotations

import base64
import io
import json
import select
import signal
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openvino as ov
import orjson
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from support import MODELS, PATIENCE, ROOT, HttpService, Reply, StdioService, error_of, packed, wait_until
from vinocast.data.bundled import BUNDLED_GENERAL, BUNDLED_MARKET

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


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


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


EXAMPLES = sorted((ROOT / "examples" / "rasters").glob("*.png"))
FORMS: dict[str, tuple[str, Any, Any, int]] = {
    "centred at 96 px": ("L", 255, 0, 128),
    "black on white": ("L", 0, 255, 128),
    "colours": ("RGB", (200, 30, 20), (240, 230, 90), 300),
    "ink on transparency": ("RGBA", (20, 20, 60, 255), (0, 0, 0, 0), 300),
    "a mask of 0 and 1": ("L", 1, 0, 300),
}


def sent(image: Image.Image, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return base64.b64encode(file.getvalue()).decode()


def in_form(path: Path, form: str) -> Image.Image:
    mode, ink, paper, canvas = FORMS[form]
    raster = Image.open(path)
    glyph = raster.crop(raster.getbbox())
    scale = canvas * 0.75 / max(glyph.size)
    glyph = glyph.resize((max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale))))
    mask = Image.new("1", (canvas, canvas))
    mask.paste(glyph, ((canvas - glyph.width) // 2, (canvas - glyph.height) // 2))
    image = Image.new(mode, mask.size, paper)
    image.paste(Image.new(mode, mask.size, ink), (0, 0), mask)
    return image


def best(reply: Reply) -> list[str]:
    assert reply["success"], reply
    return [result["topk"][0]["label"] for result in reply["results"]]


@pytest.mark.parametrize("form", FORMS)
def test_pictures_of_any_place_and_colours_are_read_where_it_is_asked_for(
    client: httpx.Client, stdio: StdioService, form: str
) -> None:
    # A diacritic is half as large as all else, which a picture of one does not tell.
    files = [path for path in EXAMPLES if "diacritic" not in path.name]
    right = client.post("/glyphs", json={"rasters": [sent(Image.open(path)) for path in files]}).json()
    assert "warnings" not in right
    request = {"rasters": [sent(in_form(path, form)) for path in files], "normalize": True}
    reply = client.post("/glyphs", json=request).json()
    assert sum(one == other for one, other in zip(best(reply), best(right), strict=True)) >= 0.95 * len(files)
    assert "warnings" not in reply
    assert best(stdio.ask({"op": "glyphs", **request})) == best(reply)


def test_what_is_right_is_read_the_same_where_it_is_fitted(client: httpx.Client) -> None:
    rasters = [base64.b64encode(path.read_bytes()).decode() for path in EXAMPLES]
    plain, fitted = (
        client.post("/glyphs", json={"rasters": rasters, "normalize": flag}).json() for flag in (False, True)
    )
    assert plain["results"] == fitted["results"]


def test_interlaced_animated_and_deep_pictures_are_fitted(client: httpx.Client) -> None:
    image = in_form(ROOT / "examples" / "rasters" / "65_latin_866.png", "black on white")
    deep = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    second = Image.new("L", image.size, 128)
    rasters = [sent(deep), sent(image, save_all=True, append_images=[second], default_image=True), sent(image)]
    rasters.append(interlaced(np.asarray(image)))
    assert best(client.post("/glyphs", json={"rasters": rasters, "normalize": True}).json()) == ["65_latin"] * 4


def interlaced(pixels: NDArray[np.uint8]) -> str:
    height, width = pixels.shape
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    lines = [b"\0" + row.tobytes() for y, x, dy, dx in passes for row in pixels[y::dy, x::dx]]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1))
    parts = [b"\x89PNG\r\n\x1a\n", header, chunk(b"IDAT", zlib.compress(b"".join(lines))), chunk(b"IEND", b"")]
    return base64.b64encode(b"".join(parts)).decode()


def test_what_looks_wrong_is_answered_with_a_warning_that_names_the_raster_and_the_mend(client: httpx.Client) -> None:
    good = Image.open(ROOT / "examples" / "rasters" / "65_latin_866.png")
    small = in_form(ROOT / "examples" / "rasters" / "65_latin_866.png", "centred at 96 px")
    wrong = [
        good,
        good.point(lambda value: 255 - value),
        small,
        good.point(lambda value: value // 3),
        Image.new("L", (128, 128)),
    ]
    warnings = client.post("/glyphs", json={"rasters": [sent(image) for image in wrong]}).json()["warnings"]
    kinds = [warning.split(": ")[:2] for warning in warnings]
    expected = ["inverted", "misplaced", "faint", "blank"]
    assert kinds == [[f"rasters[{index}]", kind] for index, kind in enumerate(expected, 1)]
    assert all('"normalize": true' in warning for warning in warnings)


def test_warnings_are_bounded_and_say_how_many_there_are(client: httpx.Client) -> None:
    blank = sent(Image.new("L", (128, 128)))
    warnings = client.post("/glyphs", json={"rasters": [blank] * 70}).json()["warnings"]
    assert len(warnings) == 17
    assert warnings[15].startswith("rasters[15]: blank")
    assert warnings[16] == "rasters: 54 more look wrong"
    assert "warnings" not in client.post("/glyphs", json={"grids": random_grids(1).tolist()}).json()


def test_a_mask_and_dark_ink_on_transparency_are_read_as_they_are(client: httpx.Client) -> None:
    raster = np.asarray(Image.open(ROOT / "examples" / "rasters" / "65_latin_866.png"))
    clear = Image.fromarray(np.dstack([np.zeros_like(raster)] * 3 + [raster]))
    reply = client.post("/glyphs", json={"rasters": [sent(Image.fromarray(raster // 255)), sent(clear)]}).json()
    assert best(reply) == ["65_latin"] * 2
    assert "warnings" not in reply


def test_large_pictures_let_forecasts_pass(stdio: StdioService) -> None:
    stdio.ask({"op": "glyphs", "grids": random_grids(1).tolist()})
    pixels = np.zeros((1024, 1024), np.uint8)
    pixels[100:900, 100:300] = 255
    forecast = packed(np.ones((512, 7), np.float32).cumsum(axis=0))
    batch = {"op": "glyphs", "request_id": "batch", "rasters": [sent(Image.fromarray(pixels))] * 12, "normalize": True}
    stdio.send(batch, *({"request_id": i, **forecast} for i in range(5)))
    assert [stdio.receive()["request_id"] for _ in range(6)] == [0, 1, 2, 3, 4, "batch"]


def test_more_bytes_than_a_glyph_can_need_are_refused(client: httpx.Client) -> None:
    refused = client.post("/glyphs", json={"grids": [[[]] * 100_000]})
    assert error_of(refused.json()) == ("payload_too_large", "grids")


def send_batch(service: HttpService, count: int) -> socket.socket:
    """Send a request for so many grids, and return the connection on which the answer would come."""
    body = orjson.dumps({"request_id": 4, "grids": [[[1] * 16] * 16] * count})
    fields = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    head = f"POST /glyphs HTTP/1.1\r\n{fields}"
    connection = socket.create_connection(("127.0.0.1", service.port), PATIENCE)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(body))
    connection.sendall(head.encode() + body)
    return connection


def fill_queue(service: HttpService) -> socket.socket:
    """Send a batch as large as the queue; return its connection once the queue has it."""
    one = {"grids": random_grids(1).tolist()}
    for attempt in range(10):
        connection = send_batch(service, 4096)
        # A probe that is in the queue before the batch keeps it out: then both go again, the probe later.
        time.sleep(0.1 * 2**attempt)
        while not select.select([connection], [], [], 0)[0]:
            if httpx.post(f"{service.url}/glyphs", json=one, timeout=PATIENCE).status_code == 429:
                return connection
        connection.close()
    raise AssertionError("the batch never fills the queue")


@pytest.mark.slow
def test_a_batch_as_large_as_the_queue_leaves_forecasts_their_room(client: httpx.Client, http: HttpService) -> None:
    one = {"grids": random_grids(1).tolist()}
    with fill_queue(http):
        forecast = client.post("/forecast", json=packed(np.ones((512, 7), np.float32).cumsum(axis=0)))
        assert forecast.status_code == 200, forecast.text
    # Whose client has left is done no more, and its room is there again.
    wait_until(lambda: client.post("/glyphs", json=one).status_code == 200, "room")


@pytest.mark.slow
def test_what_clients_have_left_behind_does_not_hold_up_the_end() -> None:
    one = {"grids": random_grids(1).tolist()}
    with HttpService() as service:
        for _ in range(8):
            send_batch(service, 300).close()
        # Behind them all, so that each has been taken in and let go.
        assert httpx.post(f"{service.url}/glyphs", json=one, timeout=PATIENCE).status_code == 200
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        assert "running task" not in service.log  # which uvicorn cancels when it has waited in vain


def test_a_batch_whose_client_leaves_as_soon_as_it_is_sent_is_not_done(client: httpx.Client, http: HttpService) -> None:
    count = 480  # what the service takes in with one read
    one = {"grids": random_grids(1).tolist()}
    whole = client.post("/glyphs", json={"grids": [[[1] * 16] * 16] * count}).json()["inference_time_ms"]

    def waited() -> float:
        http.signal(signal.SIGSTOP)
        send_batch(http, count).close()
        http.signal(signal.SIGCONT)
        return float(client.post("/glyphs", json=one).json()["queue_time_ms"])

    # Behind a batch that is done to its end each would wait for all of it.
    assert min(waited() for _ in range(3)) < whole / 2


@pytest.mark.slow
def test_a_batch_that_outlasts_the_end_is_told_so() -> None:
    with HttpService() as service, fill_queue(service) as asked:
        service.signal(signal.SIGTERM)
        with asked.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")
        assert service.wait() == 0
        assert "Traceback" not in service.log
    if not head.startswith(b"HTTP/1.1 200 "):  # a machine that recognizes 4,096 glyphs in four seconds answers
        assert error_of(orjson.loads(body)) == ("shutting_down", None)
        assert orjson.loads(body)["request_id"] == 4


def test_too_many_glyphs_hold_the_next_request_of_their_connection_up_by_nothing(client: httpx.Client) -> None:
    assert client.post("/glyphs", json={"grids": [[]] * 5000}).status_code == 413
    started = time.monotonic()
    assert client.post("/glyphs", json={"grids": [[]] * 5000}).status_code == 413
    assert time.monotonic() - started < 2


def test_a_glyph_model_is_no_forecaster(client: httpx.Client) -> None:
    refused = client.post("/forecast", json=packed(np.zeros((512, 7), np.float32), model="glyphs"))
    assert error_of(refused.json()) == ("unknown_model", "model")


@pytest.mark.slow
def test_a_batch_lets_forecasts_pass(stdio: StdioService) -> None:
    grids = random_grids(64).tolist()
    stdio.ask({"op": "glyphs", "grids": grids[:1]})
    forecast = packed(np.ones((512, 7), np.float32).cumsum(axis=0))
    stdio.send(
        {"op": "glyphs", "request_id": "batch", "grids": grids * 8}, *({"request_id": i, **forecast} for i in range(5))
    )
    order = [stdio.receive()["request_id"] for _ in range(6)]
    assert order == [0, 1, 2, 3, 4, "batch"]


@pytest.mark.slow
def test_what_was_accepted_is_answered_at_the_end_of_input() -> None:
    grids = random_grids(40)
    with StdioService() as service:
        service.send({"op": "glyphs", "request_id": 1, "grids": grids.tolist(), "topk": 2})
        replies, code = service.finish()
    assert code == 0
    (reply,) = replies
    check(reply, grids, 2)


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
