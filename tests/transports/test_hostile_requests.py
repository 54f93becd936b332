"""Requests that are made to cost much more than their bytes: each is refused in about the time of parsing it."""

from __future__ import annotations

import base64
import contextlib
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from png_support import chunk
from support import (
    HttpService,
    Reply,
    Service,
    StdioService,
    change_manifest,
    copy_model,
    error_of,
    packed,
    random_windows,
)

BYTES = 8_000_000
JSON = {"Content-Type": "application/json"}
# Of the service's time beside ten times what orjson takes to parse the same: a machine may be busy with more.
PATIENT_SECONDS = 2.0
# Beside thirty times the bytes of the request.
ROOM_MB = 100
GRID = [[[5] * 16] * 16]
ROW = b"[1,2,3,4,5,6,7],"


def many(unit: bytes, length: int = BYTES) -> bytes:
    return b",".join([unit] * (length // (len(unit) + 1)))


def body(field: str, value: bytes, **others: Any) -> bytes:
    """A request in which one field is made of bytes."""
    return orjson.dumps({"request_id": 1, **others, field: orjson.Fragment(value)})


def glyphs(**fields: Any) -> bytes:
    return orjson.dumps({"op": "glyphs", "request_id": 1, **fields})


def png(width: int = 128, height: int = 128, color: int = 0, before: bytes = b"", pixels: bytes | None = None) -> bytes:
    """A PNG of 8 bits, black unless its compressed pixels are given."""
    head = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    pixels = zlib.compress(b"\0" * (129 * 128)) if pixels is None else pixels
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", pixels) + chunk(b"IEND")


def rasters(*pngs: bytes, **fields: Any) -> bytes:
    """As many in all that the one may take megabytes, as their mean is what is bounded together."""
    plain = [png()] * 90
    return glyphs(rasters=[base64.b64encode(each).decode() for each in [plain[0], *pngs, *plain[1:]]], **fields)


# Made when they are sent: together they take gigabytes. Beside each, the route, and the code and field of its refusal.
ATTACKS: dict[str, tuple[Callable[[], bytes], str, str, str | None]] = {
    "targets of nulls": (
        lambda: body("targets", b"[%b]" % many(b"null")),
        "/forecast",
        "invalid_request",
        "targets[0]",
    ),
    "targets of zeros": (
        lambda: body("targets", b"[%b]" % many(b"0", 2_000_000)),
        "/forecast",
        "invalid_request",
        "targets",
    ),
    "targets of names": (
        lambda: body("targets", b"[%b]" % many(b'"OT"', 750_000)),
        "/forecast",
        "invalid_request",
        "targets",
    ),
    "one target 50,000 times": (
        lambda: body("targets", b"[%b]" % many(b'"OT"', 250_000), **packed(random_windows(1)[0])),
        "/forecast",
        "invalid_request",
        "targets[1]",
    ),
    "a shape of zeros": (
        lambda: body("shape", b"[%b]" % many(b"0", 2_000_000), past_values_b64=""),
        "/forecast",
        "invalid_request",
        "shape",
    ),
    "a window of empty rows": (
        lambda: body("past_values", b"[%b]" % many(b"[]")),
        "/forecast",
        "payload_too_large",
        None,
    ),
    "a window of objects": (lambda: body("past_values", b"[%b]" % many(b"{}")), "/forecast", "payload_too_large", None),
    "a window in brackets": (
        lambda: body("past_values", b"[[[%b]]]" % many(b"[]", 400_000)),
        "/forecast",
        "invalid_shape",
        "past_values",
    ),
    "a window of strings": (
        lambda: body("past_values", b"[%b]" % many(b'"abcdefg"', 1_800_000)),
        "/forecast",
        "invalid_shape",
        "past_values",
    ),
    "a window of long rows": (
        lambda: body("past_values", b"[%b]" % b",".join([b"[%b]" % many(b"0", 4000)] * 512)),
        "/forecast",
        "invalid_shape",
        "past_values[0]",
    ),
    "a window whose last row is long": (
        lambda: body("past_values", b"[%b[%b]]" % (ROW * 511, many(b"0", 2_000_000))),
        "/forecast",
        "invalid_shape",
        "past_values[511]",
    ),
    "an integer of a million digits": (
        lambda: body("past_values", b"[[%b]]" % (b"9" * 1_000_000)),
        "/forecast",
        "invalid_json",
        None,
    ),
    "base64 of what is none": (
        lambda: body("past_values_b64", b'"%b"' % (b"!A" * (BYTES // 2)), shape=[512, 7]),
        "/forecast",
        "invalid_value",
        "past_values_b64",
    ),
    "base64 of too much": (
        lambda: body("past_values_b64", b'"%b"' % (b"A" * BYTES), shape=[512, 7]),
        "/forecast",
        "invalid_shape",
        "past_values_b64",
    ),
    "rows with a fault at their end": (
        lambda: body("values", b"[%b[1,2,3,4,5,6,true]]" % (ROW * 150_000)),
        "/streams/s/observations",
        "invalid_value",
        "values[150000][6]",
    ),
    "a row of millions": (
        lambda: body("values", b"[%b]" % many(b"0", 2_000_000)),
        "/streams/s/observations",
        "invalid_shape",
        "values",
    ),
    "rows beside strings": (
        lambda: body("values", b"[%b%b]" % (ROW, many(b'"abcdefg"', 1_800_000))),
        "/streams/s/observations",
        "invalid_value",
        "values[1]",
    ),
    "250,000 unknown fields": (
        lambda: orjson.dumps({f"target{number}": 1 for number in range(250_000)}),
        "/forecast",
        "invalid_request",
        "target0",
    ),
    "an unknown field of megabytes": (
        lambda: orjson.dumps({"x" * BYTES: 1}),
        "/forecast",
        "invalid_request",
        "x" * 79 + "…",
    ),
    "an integer beside what is parsed anew for it": (
        lambda: body("x", b"[%b]" % many(b"1.5"), request_id=orjson.Fragment(b"18446744073709551616")),
        "/forecast",
        "invalid_request",
        "x",
    ),
    "metadata that grows": (
        lambda: body("metadata", b"[%b]" % many(b"1e15")),
        "/forecast",
        "invalid_request",
        "metadata",
    ),
    "metadata beyond 64 bits": (
        lambda: body("metadata", b"[%b]" % many(b"1e22", 2_000_000)),
        "/forecast",
        "invalid_request",
        "metadata",
    ),
    "nothing but depth": (lambda: b"[" * 250_000, "/forecast", "invalid_json", None),
    "every label of 4,096 glyphs": (
        lambda: glyphs(grids=GRID * 4096, topk=100_000),
        "/glyphs",
        "payload_too_large",
        "topk",
    ),
    "a million grids": (
        lambda: body("grids", b"[%b]" % many(b"0", 2_000_000), op="glyphs"),
        "/glyphs",
        "payload_too_large",
        "grids",
    ),
    "a grid of a row of millions": (
        lambda: glyphs(grids=[*GRID * 90, [*GRID[0][:15], [5] * 1_200_000]]),
        "/glyphs",
        "invalid_shape",
        "grids[90][15]",
    ),
    "a raster that is an array": (
        lambda: glyphs(rasters=["", *[""] * 90, [0] * 1_200_000]),
        "/glyphs",
        "invalid_value",
        "rasters[0]",
    ),
    "a raster of megabytes": (lambda: rasters(png() + b"\0" * 5_000_000), "/glyphs", "payload_too_large", "rasters[1]"),
    "a PNG of half a million chunks": (
        lambda: rasters(png(before=chunk(b"teSt") * 450_000)),
        "/glyphs",
        "payload_too_large",
        "rasters[1]",
    ),
    "PNGs of 12,000 chunks": (
        lambda: rasters(*[png(before=chunk(b"IDAT") * 12_000)] * 30),
        "/glyphs",
        "invalid_value",
        "rasters[1]",
    ),
    "PNGs of 12,000 chunks to be fitted": (
        lambda: rasters(png(before=chunk(b"PLTE") * 12_000), normalize=True),
        "/glyphs",
        "invalid_value",
        "rasters[0]",  # which is black
    ),
    "a PNG of gigantic sides": (
        lambda: rasters(png(2**31 - 1, 2**31 - 1)),
        "/glyphs",
        "invalid_shape",
        "rasters[1]",
    ),
    "a PNG that is a bomb in colours": (
        lambda: rasters(png(color=2, before=chunk(b"PLTE", b"\1" * 3 * 257)), png(color=3)),
        "/glyphs",
        "invalid_value",
        "rasters[1]",
    ),
}


def most_mb(service: Service) -> float:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


def forget_most(service: Service) -> None:
    """Have the peak of a process's memory counted from now on."""
    Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")


def yardstick(request: bytes) -> float:
    """The seconds in which orjson parses a request, or finds that it is none."""
    begun = time.monotonic()
    with contextlib.suppress(orjson.JSONDecodeError):
        orjson.loads(request)
    return time.monotonic() - begun


def check_cheap(service: Service, request: bytes, ask: Callable[[], Reply]) -> Reply:
    """What a service answers, in about the time of parsing it, and without many times its bytes."""
    forget_most(service)
    before = service.resident_mb
    parsed = yardstick(request)
    begun = time.monotonic()
    reply = ask()
    assert time.monotonic() - begun < 10 * parsed + PATIENT_SECONDS
    assert most_mb(service) - before < 30 * len(request) / 1e6 + ROOM_MB
    return reply


@pytest.fixture(scope="module")
def answering(http: HttpService) -> Iterator[HttpService]:
    """A service of which the glyphs have been loaded, and which at the end answers what is right."""
    yield http
    (window,) = random_windows(1)
    assert httpx.post(f"{http.url}/forecast", json=packed(window)).status_code == 200
    assert "Traceback" not in http.log


@pytest.mark.parametrize("name", ATTACKS)
def test_over_http_it_is_refused_in_about_the_time_of_parsing_it(answering: HttpService, name: str) -> None:
    make, path, code, field = ATTACKS[name]
    request = make()

    def ask() -> Reply:
        reply: Reply = httpx.post(f"{answering.url}{path}", content=request, headers=JSON).json()
        return reply

    reply = check_cheap(answering, request, ask)
    assert error_of(reply) == (code, field)
    assert len(reply["error"]["message"]) < 500
    assert reply["error"]["message"].isprintable()


@pytest.mark.parametrize("name", [name for name, (_, path, *_) in ATTACKS.items() if path == "/forecast"])
def test_over_lines_it_is_refused_in_about_the_time_of_parsing_it(stdio: StdioService, name: str) -> None:
    make, _, code, field = ATTACKS[name]
    request = make()
    reply = check_cheap(stdio, request, lambda: stdio.ask(request + b"\n"))
    assert error_of(reply) == (code, field)
    assert stdio.ask({"op": "ping"})["ready"]


def test_the_refusal_of_topk_says_how_many_fit(answering: HttpService) -> None:
    reply = httpx.post(f"{answering.url}/glyphs", content=glyphs(grids=GRID * 4096, topk=41), headers=JSON)
    assert reply.status_code == 413
    assert "topk: expected at most 40 of 4096 glyphs, got 41" in reply.text


def test_every_label_of_one_glyph_takes_what_is_reckoned_with_at_most(answering: HttpService) -> None:
    reply = httpx.post(f"{answering.url}/glyphs", content=glyphs(grids=GRID, topk=10**9), headers=JSON)
    (result,) = reply.json()["results"]
    assert len(result["topk"]) > 1000
    assert len(reply.content) < 100 * len(result["topk"])


def test_a_forecast_of_more_channels_than_a_reply_holds_is_refused(tmp_path: Path) -> None:
    folder = copy_model(tmp_path / "models", "wide")
    change_manifest(folder, channels=[f"c{number}" for number in range(7282)])
    with StdioService("--models", folder.parent) as service:
        reply = service.ask({"past_values_b64": "", "shape": [512, 7282]})
        assert error_of(reply) == ("payload_too_large", "targets")
        assert "expected at most 7281" in reply["error"]["message"]
        wanted = {"past_values_b64": "", "shape": [512, 7282], "targets": list(range(7281))}
        assert error_of(service.ask(wanted))[0] == "invalid_shape"


def test_a_stranger_who_fills_the_table_of_streams_costs_nobody_what_he_has() -> None:
    values = {"values": [1.0] * 7}
    with HttpService("--max-streams", "3") as service, httpx.Client(base_url=service.url) as client:
        for name in ("mine", "x1", "x2"):
            assert client.post(f"/streams/{name}/observations", json=values).status_code == 200
        for number in range(20):
            refused = client.post(f"/streams/x{number + 3}/observations", json=values)
            assert (refused.status_code, error_of(refused.json())) == (429, ("overloaded", "stream"))
            # The truth: of a day, unless one is dropped.
            assert 86_300 < int(refused.headers["Retry-After"]) <= 86_401
            message = refused.json()["error"]["message"]
            for mend in ("--max-streams", "--stream-idle-seconds", 'op "forget"', refused.headers["Retry-After"]):
                assert mend in message
        assert sum("3 streams already" in line for line in service.said) == 1
        assert client.post("/streams/mine/observations", json=values).json()["rows"] == 2
        assert [each["stream"] for each in client.get("/streams").json()["streams"]] == ["x1", "x2", "mine"]
        assert client.delete("/streams/x1").status_code == 200
        assert client.post("/streams/new/observations", json=values).status_code == 200


@pytest.mark.slow
def test_room_comes_when_the_refusal_has_said() -> None:
    values = {"values": [1.0] * 7}
    with HttpService("--max-streams", "1", "--stream-idle-seconds", "5") as service:
        assert httpx.post(f"{service.url}/streams/a/observations", json=values).status_code == 200
        refused = httpx.post(f"{service.url}/streams/b/observations", json=values)
        assert refused.status_code == 429
        time.sleep(int(refused.headers["Retry-After"]))
        assert httpx.post(f"{service.url}/streams/b/observations", json=values).status_code == 200
