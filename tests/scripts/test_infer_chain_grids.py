"""Grids of a memory map, their row ids and their labels, as the program of the glyph chain reads them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import orjson
import pytest
from chain_support import Run, expected_answers, faults
from glyph_support import GlyphFolder, phase2, save
from vinocast.recognition.inputs import MAGIC


@pytest.fixture(scope="module")
def memmap(glyphs: GlyphFolder) -> list[str | Path]:
    """Options that name the grids of the rasters, in the raw form."""
    folder = glyphs.folder / "memmap"
    folder.mkdir()
    _, grids = expected_answers(glyphs)
    (folder / "grids.npy").write_bytes(grids.astype("<u2").tobytes())
    np.save(folder / "ids.npy", np.arange(24) + 100)
    keys = ("label", "glyph_label", "label_string")
    lines = [
        orjson.dumps({"glyph_id": row + 100, keys[row % 3]: file.rpartition("_")[0]}).decode()
        for row, file in enumerate(glyphs.files)
    ]
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return ["--use-memmap-grids", *memmap_files(folder)]


def memmap_files(folder: Path) -> list[str | Path]:
    names = (("grids-file", "grids.npy"), ("row-ids-file", "ids.npy"))
    options: list[str | Path] = [word for name, file in names for word in (f"--memmap-{name}", folder / file)]
    return [*options, "--glyph-labels-file", folder / "labels.jsonl"]


def test_memmap_grids_answer_as_their_rasters(
    glyphs: GlyphFolder, memmap: list[str | Path], run: Run, tmp_path: Path
) -> None:
    expected, grids = expected_answers(glyphs)
    np.save(tmp_path / "real.npy", grids.astype(np.uint16))
    real = ["--memmap-grids-file", tmp_path / "real.npy"]
    for options in ([], real, ["--use-openvino"], ["--use-openvino", "--plain"]):
        output = tmp_path / "out.jsonl"
        code, _, err = run(*glyphs.options(), *memmap, *options, "--quiet", "--output_json", output)
        assert code == 0, err
        lines = [orjson.loads(line) for line in output.read_bytes().splitlines()]
        assert [line["glyph_id"] for line in lines] == list(range(100, 124))
        assert [line["file"] for line in lines] == [f"glyph_{n}.memmap" for n in range(100, 124)]
        assert [[entry["label"] for entry in line["topk"]] for line in lines] == list(expected.values())


def test_grids_that_do_not_fit_are_said_or_refused(
    glyphs: GlyphFolder, memmap: list[str | Path], run: Run, tmp_path: Path
) -> None:
    _, grids = expected_answers(glyphs)
    wrong = tmp_path / "wrong.npy"

    def call() -> tuple[int, str, str]:
        return run(*glyphs.options(), *memmap, "--memmap-grids-file", wrong, "--quiet", "--summary")

    for size in (1, 100, 511):
        wrong.write_bytes(bytes(size))
        assert call()[0] == 1
    np.save(wrong, grids.astype(np.float32))
    code, _, err = call()
    assert code == 1
    assert "expected uint16" in err
    np.save(wrong, grids.astype(np.uint16).transpose(1, 2, 0))
    code, _, err = call()
    assert code == 1
    assert "expected [n, 16, 16], got [16, 16, 24]" in err
    for data, count in ((grids[:20].astype("<u2"), 20), (grids.astype("<i8"), 96)):
        wrong.write_bytes(data.tobytes())
        code, _, err = call()
        assert code == 1
        assert f"has 24 ids, {wrong} has the bytes of {count} grids of uint16" in err

    grids[3, 0, 0] = 1024
    grids[4] = 0
    wrong.write_bytes(grids.astype("<u2").tobytes())
    code, out, err = call()
    assert code == 0
    assert "samples=23 " in out
    assert "glyph_103.memmap: a primitive id beyond 1023" in err
    assert "skipped: 1 with an unknown primitive id" in err
    assert "glyph_104.memmap looks blank" in err


@pytest.mark.parametrize("content", [b"PK\x03\x04" + bytes(99), b"PK\x05\x06" + bytes(18), b"\x80\x04.", b"", MAGIC])
def test_row_ids_that_are_no_array_are_refused(
    glyphs: GlyphFolder, memmap: list[str | Path], run: Run, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "ids.npy").write_bytes(content)
    code, _, err = run(*glyphs.options(), *memmap, "--memmap-row-ids-file", tmp_path / "ids.npy")
    assert code == 1
    assert f"[error] {tmp_path / 'ids.npy'}: " in err


def test_labels_of_grids_that_are_missing_or_broken_are_said(
    glyphs: GlyphFolder, memmap: list[str | Path], run: Run, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"glyph_id": 100, "label": "66_latin"}\nbroken\n{"glyph_id": 101, "label": "90_latin"}\n')
    code, out, err = run(*glyphs.options(), *memmap, "--glyph-labels-file", labels, "--quiet", "--summary")
    assert code == 0
    assert "samples=2 " in out
    assert " unlabelled=22\n" in out
    assert "labels.jsonl: line 2: expected glyph_id and label" in err
    assert "skipped: 1 lines of labels" in err


def test_grids_without_a_file_of_labels_are_recognised(
    glyphs: GlyphFolder, memmap: list[str | Path], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*glyphs.options(), *memmap[:-2], "--summary")
    assert (code, faults(err)) == (0, [])
    assert "samples=0 top1_acc=nan top5_contains_rate=nan top1_matches=0 top5_contains=0 unlabelled=24\n" in out
    assert len(re.findall(r"^\? -> .* \(glyph_\d+\.memmap\)$", out, re.MULTILINE)) == 24
    assert run(*glyphs.options(), *memmap[:-2], "--glyph-labels-file", tmp_path / "none")[0] == 2


def test_labels_of_glyphs_that_were_numbered_are_honoured(
    glyphs: GlyphFolder, memmap: list[str | Path], run: Run, tmp_path: Path
) -> None:
    numbered = {f"gid_{100 + n}": n for n in range(8)}
    (tmp_path / "map.json").write_bytes(orjson.dumps(numbered))
    checkpoint = save(tmp_path / "p.pt", phase2(), label_map=numbered)
    options = glyphs.options(phase2_ckpt=checkpoint, label_map=tmp_path / "map.json")
    code, out, err = run(*options, *memmap[:-2], "--glyph-labels-file", os.devnull, "--summary")
    assert code == 0, err
    assert "samples=8 " in out
    assert " unlabelled=16\n" in out
    assert len(re.findall(r"^\? -> \? .*memmap\) .$", out, re.MULTILINE)) == 8
    (tmp_path / "rasters").mkdir()
    (tmp_path / "rasters" / "gid_101_7.png").write_bytes((glyphs.rasters / glyphs.files[0]).read_bytes())
    options += ["--rasters_dir", str(tmp_path / "rasters")]
    assert "samples=1 " in run(*options, "--summary")[1]
