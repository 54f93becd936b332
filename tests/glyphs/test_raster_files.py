"""``vinocast raster``: images and characters of a font in, rasters in a folder out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont
from support import ROOT, RunVinocast
from vinocast.glyphs.rasters import decode_raster, suspicions

EXAMPLE = ROOT / "examples" / "rasters" / "65_latin_866.png"


@pytest.fixture
def font(tmp_path: Path) -> Path:
    embedded = ImageFont.load_default(20)
    assert isinstance(embedded, ImageFont.FreeTypeFont)
    path = tmp_path / "font.ttf"
    path.write_bytes(embedded.font_bytes)
    return path


def test_images_and_characters_become_rasters(run_vinocast: RunVinocast, tmp_path: Path, font: Path) -> None:
    output = tmp_path / "new" / "rasters"
    photo = Image.open(EXAMPLE).point(lambda value: 255 - value).convert("RGB")
    photo = photo.resize((512, 512))
    paper = Image.new("RGB", (700, 600), "white")
    paper.paste(photo, (50, 40))
    paper.save(tmp_path / "photo.jpg")
    done = run_vinocast("raster", EXAMPLE, tmp_path / "photo.jpg", "--font", font, "--text", "A/A", "--output", output)
    assert (done.returncode, done.stderr) == (0, "")
    names = ["65_latin_866.png", "photo.png", "U+0041.png", "U+002F.png"]
    assert done.stdout.splitlines() == [str(output / name) for name in names]
    strange = shutil.copy(EXAMPLE, tmp_path / os.fsdecode(b"caf\xe8\n.png"))
    done = run_vinocast("raster", strange, "--output", output)
    assert (done.stdout, done.stderr) == (f"{output}/caf\\xe8\\n.png\n", "")
    rasters = {name: decode_raster((output / name).read_bytes()) for name in names}
    assert suspicions(np.stack(list(rasters.values()))) == [None] * 4
    wanted = decode_raster(EXAMPLE.read_bytes())
    assert np.array_equal(rasters["65_latin_866.png"], wanted)
    assert (rasters["photo.png"] != wanted).mean() < 0.02


def test_a_tight_crop_of_a_diacritic_is_read_as_it_is_said_to_be(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    crop = tmp_path / "crop.png"
    Image.fromarray(np.pad(np.full((30, 10), 255, np.uint8), ((0, 0), (0, 1)))).save(crop)
    command = ["raster", crop, "--ink", "bright", "--diacritic", "--output", tmp_path / "out"]
    assert run_vinocast(*command).returncode == 0
    rows, columns = np.nonzero(decode_raster((tmp_path / "out" / "crop.png").read_bytes()))
    assert (rows.max(), columns.max()) == (63, 20)


def test_one_that_cannot_be_made_is_named_and_the_others_are_made(
    run_vinocast: RunVinocast, tmp_path: Path, font: Path
) -> None:
    (tmp_path / "text.png").write_text("no image")
    Image.new("L", (5000, 2)).save(tmp_path / "wide.png")
    inputs = [tmp_path / "text.png", tmp_path / "wide.png", EXAMPLE]
    done = run_vinocast("raster", *inputs, "--font", font, "--text", "\u0628 ", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [str(tmp_path / "out" / EXAMPLE.name)]
    assert "Traceback" not in done.stderr
    for part in (
        "4 of 5",
        "text.png: expected an image",
        "4096x4096 pixels, got 5000x2",
        "U+0628 ARABIC LETTER BEH: the font has no",
        "U+0020 SPACE: there is no ink",
    ):
        assert part in done.stderr


@pytest.mark.slow
def test_what_would_be_lost_or_cannot_be_written_is_said(run_vinocast: RunVinocast, tmp_path: Path, font: Path) -> None:
    mine = tmp_path / "65_latin_866.png"
    mine.write_bytes(EXAMPLE.read_bytes())
    (tmp_path / "file").touch()
    cases = [
        ([mine, "--output", tmp_path], 1, "would replace an image"),
        ([mine, EXAMPLE, "--output", tmp_path / "out"], 1, "would both become"),
        ([mine, "--output", tmp_path / "file" / "out"], 1, "Not a directory"),
        (["--font", mine, "--text", "A", "--output", tmp_path / "out"], 1, "expected a TrueType or OpenType font"),
        (["--output", tmp_path / "out"], 2, "name images, or --font with --text"),
        (["--font", font, "--output", tmp_path / "out"], 2, "name images"),
        ([mine, "--font", font, "--output", tmp_path / "out"], 2, "go together"),
    ]
    for arguments, code, said in cases:
        done = run_vinocast("raster", *arguments)
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    assert mine.read_bytes() == EXAMPLE.read_bytes()
    assert not (tmp_path / "out").exists()
