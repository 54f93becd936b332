"""``vinocast train glyphs`` from fonts that are built here, and what it is made of."""

from __future__ import annotations

import csv
import json
import logging
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import safetensors.torch
from fontTools.feaLib.builder import addOpenTypeFeaturesFromString
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from numpy.typing import NDArray
from vinocast.errors import SetupError
from vinocast.export.glyphs.nets import VARIANTS, Phase1Net, Phase2Net
from vinocast.glyphs.cells import pack_cells, split_cells
from vinocast.training.glyphs.charset import CLASSES, JOINING_GROUPS, Character, candidates
from vinocast.training.glyphs.classify import rank
from vinocast.training.glyphs.corpus import Copies, Corpus
from vinocast.training.glyphs.fonts import Face, belongs, find_faces, limit_faces, sfnt
from vinocast.training.glyphs.primitives import identify
from vinocast.training.glyphs.render import Distortion, FontRenderer, render
from vinocast.training.glyphs.split import HeldOut, kinship

Box = tuple[int, int, int, int]

BEH = {"isol": 0xFE8F, "final": 0xFE90, "init": 0xFE91, "medi": 0xFE92}
# One character of every class, and the boxes (left, bottom, right, top) that are its picture in every font here.
PICTURES: dict[int, list[Box]] = {
    0xFEFB: [(0, 0, 800, 100), (350, 0, 450, 800)],  # lam with alef, liga
    0xFE8F: [(0, 0, 900, 200), (400, -300, 500, -200)],  # isol
    0xFE90: [(0, 0, 900, 200), (800, 0, 900, 500), (400, -300, 500, -200)],  # final
    0xFE91: [(0, 0, 300, 100), (200, 0, 300, 500)],  # init
    0xFE92: [(0, 0, 600, 100), (250, 0, 350, 500)],  # medi
    0x002B: [(0, 400, 800, 500), (350, 0, 450, 900)],  # symbol
    0x0041: [(0, 0, 100, 700), (600, 0, 700, 700), (0, 300, 700, 400)],  # latin
    0x064B: [(0, 0, 300, 60), (0, 150, 300, 210)],  # diacritic
    0x0021: [(0, 0, 150, 100), (0, 250, 150, 1000)],  # punctuation
    0x0661: [(0, 0, 120, 900), (0, 700, 300, 900)],  # digit
    0x0031: [(200, 0, 300, 900), (0, 0, 500, 100)],  # latin_digit
}
# Enough Latin for a face to be used; all of them are one picture, a placeholder, which gives no rasters.
FILLING = [code for code in range(0xA1, 0x180) if unicodedata.category(chr(code)) != "Cf"]
RECIPE = [
    *["--families", "3", "--clusters", "24", "--phase1-steps", "100", "--variant", "tiny", "--steps", "60"],
    *["--batch", "16", "--evaluate-every", "20", "--other-copies", "4", "--dropout", "0", "--bf16", "false"],
]


def build_font(
    path: Path,
    family: str,
    pictures: dict[int, list[Box]],
    *,
    bolder: int = 0,
    features: str = "",
    style: str = "Regular",
) -> Path:
    """Write a TrueType font whose characters are boxes, ``bolder`` units larger on each side."""
    names = {code: f"u{code:04X}" for code in pictures}
    order = [".notdef", "filler", *names.values()]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap({**dict.fromkeys(FILLING, "filler"), **names})
    boxes = {".notdef": [(0, 0, 500, 500)], "filler": [(0, 0, 400, 700)]}
    boxes |= {
        names[code]: [(x - bolder, y - bolder, r + bolder, t + bolder) for x, y, r, t in picture]
        for code, picture in pictures.items()
    }
    builder.setupGlyf({name: draw(boxes[name]) for name in order})
    builder.setupHorizontalMetrics(dict.fromkeys(order, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-300)
    builder.setupNameTable({"familyName": family, "styleName": style})
    builder.setupOS2()
    builder.setupPost()
    if features:
        addOpenTypeFeaturesFromString(builder.font, features)
    builder.save(path)
    return path


def draw(boxes: list[Box]) -> object:
    pen = TTGlyphPen(None)
    for left, bottom, right, top in boxes:
        for move, point in zip(
            [pen.moveTo, pen.lineTo, pen.lineTo, pen.lineTo],
            [(left, bottom), (left, top), (right, top), (right, bottom)],
            strict=True,
        ):
            move(point)
        pen.closePath()
    return pen.glyph()


def character(codepoint: int) -> Character:
    return next(candidate for candidate in candidates() if candidate.codepoint == codepoint)


def raster(path: Path, codepoint: int, distortion: Distortion | None = None) -> NDArray[np.bool_]:
    wanted = character(codepoint)
    outline = FontRenderer(sfnt(path)).outline(wanted)
    assert outline is not None
    picture = render(outline, wanted.char_class, distortion or Distortion())
    assert picture is not None
    return picture


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six families that draw the same pictures with strokes of their own weights, and a file that is no font."""
    folder = tmp_path_factory.mktemp("fonts")
    (folder / "more").mkdir()
    for number, family in enumerate(["One", "Two", "Three", "Four", "Choose By", "Measured On"]):
        build_font(folder / "more" / f"{number}.ttf", family, PICTURES, bolder=6 * number - 12)
    (folder / "broken.ttf").write_bytes(b"no font")
    return folder


# Characters


def test_candidates_are_of_all_classes_and_derived_from_unicode() -> None:
    found = candidates()
    assert {candidate.char_class for candidate in found} == set(CLASSES)
    labels = [candidate.label for candidate in found]
    assert len(labels) == len(set(labels)) > 1000
    assert character(65258).row == ("65258", "\u0647", "HEH", "final", "65258_final")
    assert character(66).row == ("66", "B", "No_Joining_Group", "latin", "66_latin")
    assert character(0xFEFB).row == ("65275", "لا", "LAM,ALEF", "liga", "65275_liga")
    assert {character(code).char_class: code for code in PICTURES}.keys() == set(CLASSES)
    assert character(0xFE92).shaped == "\u200dب\u200d"
    letters = {letter for candidate in found for letter in candidate.base if candidate.shaped}
    listed = [int(letter, 16) for letters in JOINING_GROUPS.values() for letter in letters.split()]
    assert len(listed) == len(set(listed))
    unlisted = {letter for letter in letters if ord(letter) not in listed}
    assert all(unicodedata.category(letter) == "Mn" or ord(letter) in {0x0621, 0x0640} for letter in unlisted)


# Rasters


def test_the_largest_side_fills_the_raster_and_the_ink_begins_at_the_top_left(tmp_path: Path) -> None:
    font = build_font(
        tmp_path / "a.ttf", "A", {0x41: [(100, 50, 500, 850)], 0x064B: [(7, 9, 407, 209)], 0x2D: [(0, 300, 600, 500)]}
    )
    for codepoint, rows, columns in [(0x41, 128, 64), (0x064B, 32, 64), (0x2D, 43, 128)]:
        picture = raster(font, codepoint)
        expected = np.zeros((128, 128), np.bool_)
        expected[:rows, :columns] = True
        assert picture.shape == (128, 128)
        assert (picture != expected).sum() <= columns, hex(codepoint)


def test_a_stroke_of_half_a_pixel_is_cut_at_one_half(tmp_path: Path) -> None:
    # 1280 units over 128 pixels: ten units per pixel. Four of them are less than half a pixel, six are more.
    thin, thick = [(0, 0, 4, 1280)], [(0, 0, 6, 1280)]
    font = build_font(
        tmp_path / "a.ttf", "A", {0x41: [*thin, (100, 0, 200, 1280)], 0x42: [*thick, (100, 0, 200, 1280)]}
    )
    assert not raster(font, 0x41)[:, :9].any()
    assert raster(font, 0x42)[:, 0].all()


def test_distortions_do_what_they_say(tmp_path: Path) -> None:
    font = build_font(tmp_path / "a.ttf", "A", {0x41: [(0, 0, 100, 1000), (400, 0, 500, 1000)]})
    plain = raster(font, 0x41)
    assert raster(font, 0x41, Distortion(aspect=1.5)).any(0).sum() == pytest.approx(1.5 * plain.any(0).sum(), abs=1)
    assert raster(font, 0x41, Distortion(slant=0.3)).any(0).sum() == pytest.approx(64 + 0.3 * 128, abs=2)
    bold, light = (raster(font, 0x41, Distortion(weight=weight)).sum() for weight in (0.05, -0.05))
    assert light < 0.7 * plain.sum() < plain.sum() < 0.8 * bold


def test_forms_without_a_glyph_of_their_own_are_shaped(tmp_path: Path) -> None:
    pictures = {0x0628: PICTURES[0xFE8F]} | {
        0xE000 + i: PICTURES[BEH[form]] for i, form in enumerate(["init", "medi", "final"])
    }
    features = "languagesystem DFLT dflt; languagesystem arab dflt;" + "".join(
        f"feature {tag} {{ sub u0628 by u{0xE000 + i:04X}; }} {tag};" for i, tag in enumerate(["init", "medi", "fina"])
    )
    shaped = build_font(tmp_path / "shaped.ttf", "A", pictures, features=features)
    mapped = build_font(tmp_path / "mapped.ttf", "A", PICTURES)
    for codepoint in BEH.values():
        assert (raster(shaped, codepoint) == raster(mapped, codepoint)).all(), hex(codepoint)

    unjoined = FontRenderer(sfnt(build_font(tmp_path / "unjoined.ttf", "A", {0x0628: PICTURES[0xFE8F]})))
    assert unjoined.outline(character(BEH["isol"])) is not None
    assert unjoined.outline(character(BEH["medi"])) is None
    assert unjoined.outline(character(0x41)) is None


# Fonts and families


def test_fonts_are_found_in_whole_folders_and_broken_ones_passed_over(
    fonts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = find_faces(fonts)
    assert [face.family for face in found] == ["One", "Two", "Three", "Four", "Choose By", "Measured On"]
    assert "broken.ttf is passed over" in caplog.text
    # The packing of a WOFF2 fails in ways of its own.
    with TTFont(fonts / "more" / "0.ttf") as font:
        font.flavor = "woff2"
        font.save(tmp_path / "cut.woff2")
    packed = (tmp_path / "cut.woff2").read_bytes()
    (tmp_path / "cut.woff2").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SetupError, match="holds no font"):
        find_faces(tmp_path)
    os.mkfifo(tmp_path / "pipe.ttf")
    with pytest.raises(SetupError, match="holds no font"):
        find_faces(tmp_path)


def test_a_name_holds_the_families_it_begins_and_counts_them_as_one() -> None:
    assert belongs("Noto Naskh Arabic UI", ["Lato", "Noto Naskh Arabic"]) == "Noto Naskh Arabic"
    assert belongs("Latona", ["Lato"]) is None
    faces = [
        Face(f"{number}.ttf", family, style, str(number), frozenset(range(size)))
        for number, (family, style, size) in enumerate(
            [
                ("A", "Light", 9),
                ("A", "Bold", 9),
                ("A", "Regular", 9),
                ("A", "Regular", 8),
                ("A UI", "Regular", 9),
                ("B", "Thin", 9),
            ]
        )
    ]
    assert [face.path for face in limit_faces(faces, 2)] == ["2.ttf", "1.ttf", "4.ttf", "5.ttf"]
    assert [face.path for face in limit_faces(faces, 4, ["A"])] == ["2.ttf", "1.ttf", "0.ttf", "4.ttf", "5.ttf"]


def test_a_held_out_family_under_another_name_takes_no_part(tmp_path: Path) -> None:
    letters = [0x41 + i for i in range(26)]
    rng = np.random.default_rng(0)

    def pictures() -> dict[int, list[Box]]:
        corners = rng.integers(0, 800, (26, 3, 2)).tolist()
        return {
            code: [(x, y, x + 150, y + 150) for x, y in boxes] for code, boxes in zip(letters, corners, strict=True)
        }

    ours, theirs = pictures(), pictures()
    build_font(tmp_path / "a.ttf", "Held", ours)
    build_font(
        tmp_path / "b.ttf",
        "Twin",
        {code: [(2 * x, 2 * y, 2 * r, 2 * t) for x, y, r, t in boxes] for code, boxes in ours.items()},
    )
    build_font(tmp_path / "c.ttf", "Stranger", theirs)
    held, twin, stranger = find_faces(tmp_path)
    corpus = Corpus(tmp_path, tmp_path / "work", Copies(1, 1, 0))
    corpus.render({held: False, twin: True, stranger: True}, 1)
    shares = kinship(corpus, [twin, stranger], [held])
    assert shares[twin.family, held.family] > 0.9
    assert shares[stranger.family, held.family] == 0
    with pytest.raises(SetupError, match="no font is of the test family 'Gone'"):
        HeldOut(("Gone",), ()).refuse_unknown(["Held"])


def test_a_face_is_rendered_once_and_a_placeholder_is_no_picture(fonts: Path, tmp_path: Path) -> None:
    face = find_faces(fonts)[0]
    corpus = Corpus(fonts, tmp_path, Copies(5, 3, 0))
    corpus.render({face: True}, 1)
    rasters = corpus.load(face, training=True)
    assert set(rasters.codepoints.tolist()) == PICTURES.keys()
    assert np.bincount(rasters.copies).tolist() == [len(PICTURES)] * 3
    before = corpus.path(face, training=True).stat().st_mtime_ns
    corpus.render({face: True}, 1)
    assert corpus.path(face, training=True).stat().st_mtime_ns == before
    corpus.path(face, training=True).write_bytes(b"half")
    with pytest.raises(SetupError, match="remove it to render it again"):
        corpus.load(face, training=True)


# The command


def run_vinocast(*arguments: str | Path) -> CompletedProcess[str]:
    command = [sys.executable, "-m", "vinocast", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_the_command_makes_a_chain_and_finds_it_done(fonts: Path, tmp_path: Path) -> None:
    output, work = tmp_path / "glyphs", tmp_path / "work"
    folders: list[str | Path] = ["--fonts", fonts, "--output", output, "--work", work]
    held_out = ["--test-family", "Measured", "--validation-family", "Choose"]
    command = ["train", "glyphs", *folders, "--threads", "1", *RECIPE, *held_out]
    first = run_vinocast(*command)
    assert first.returncode == 0, first.stderr
    assert "11 labels, unseen fonts: top-1" in first.stdout

    label_map = json.loads((output / "label_map.json").read_bytes())
    assert list(label_map) == sorted(label_map)
    assert list(label_map.values()) == list(range(11))
    with (output / "chars.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == list(label_map)
    assert next(row for row in rows if row["label"] == "65275_liga")["joining_group"] == "LAM,ALEF"

    metrics = json.loads((output / "metrics.json").read_bytes())
    assert metrics["protocol"]["test_faces"] == {"Measured On": ["Regular"]}
    assert metrics["protocol"]["train_rasters"] == 4 * 11 * 4
    assert metrics["protocol"]["dropped_as_relatives"] == {}
    assert metrics["protocol"]["closest_trained"].keys() == {"Measured On", "Choose By"}
    assert metrics["test"]["rasters"] == 11
    assert metrics["test"]["by_class"].keys() == set(CLASSES)

    config = json.loads((output / "source" / "config.json").read_bytes())
    assert config["input"] == {"primitive_vocab_size": 1024, "embedding_dim": 48, "normalize_embeddings": False}
    assert config["model"]["cnn"]["stages"] == [48, 96, 128]
    phase1, phase2 = Phase1Net(), Phase2Net(VARIANTS["tiny"], 11)
    phase1.load_state_dict(safetensors.torch.load_file(output / "source" / "phase1.safetensors"))
    phase2.load_state_dict(safetensors.torch.load_file(output / "source" / "phase2.safetensors"))

    # The files themselves read the font that was held out as well as metrics.json says.
    face = next(face for face in find_faces(fonts) if face.family == "Measured On")
    truth = [int(label.partition("_")[0]) for label in label_map]
    pictures = np.stack([raster(fonts / face.path, code) for code in truth])
    cells = pack_cells(split_cells(pictures.astype(np.uint8)))
    grids = identify(phase1.eval(), cells.reshape(-1)).reshape(cells.shape)
    hits = (rank(phase2.eval(), grids, 1)[:, 0] == np.arange(11)).mean()
    assert hits == pytest.approx(metrics["test"]["top1"], abs=1e-6)
    assert hits > 0.5

    checkpoint_file = next(work.glob("*/phase2.safetensors"))
    before = checkpoint_file.stat().st_mtime_ns
    again = run_vinocast(*command)
    assert again.stdout == first.stdout
    assert checkpoint_file.stat().st_mtime_ns == before

    refused = run_vinocast(*command[:-1], "Nowhere")
    assert refused.returncode != 0
    assert "no font is of the validation family 'Nowhere'" in refused.stderr
