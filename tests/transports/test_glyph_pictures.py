"""Pictures of any size, place and colours as glyphs: which are fitted, and what is warned of."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from png_support import chunk
from served_glyphs import random_grids
from support import PATIENCE, ROOT, HttpService, Reply, StdioService, packed


@pytest.fixture(scope="module")
def client(http: HttpService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=http.url, timeout=PATIENCE) as connected:
        yield connected


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
