"""From glyph checkpoints to a model folder: whole, checked, made once, and what a service reads from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from glyph_support import LABELS, GlyphFolder, logits, phase2, random_grids, save
from support import MODELS, fix_hashes
from vinocast.cli import main
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.manifest import ModelFolder
from vinocast.engine.profiles import PROFILES
from vinocast.errors import ModelRefusedError, SetupError
from vinocast.export.glyphs.package import convert_glyphs
from vinocast.forecast.manifest import open_forecaster
from vinocast.glyphs.manifest import GlyphsManifest
from vinocast.glyphs.recognizer import Recognizer
from vinocast.kinds import open_model


@pytest.fixture
def source(tmp_path: Path) -> GlyphFolder:
    folder = tmp_path / "source"
    folder.mkdir()
    return GlyphFolder(folder)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What becomes of a source that is like every other here: to convert one takes seconds."""
    folder = tmp_path_factory.mktemp("converted")
    (folder / "source").mkdir()
    return convert_glyphs(GlyphFolder(folder / "source").folder, folder / "mine")


@pytest.fixture
def output(tmp_path: Path, converted: Path) -> Path:
    return Path(shutil.copytree(converted, tmp_path / "models" / "mine"))


def load(folder: Path, profile: str = "epyc-7763") -> Recognizer:
    manifest = open_model(folder).manifest
    assert isinstance(manifest, GlyphsManifest)
    recognizer = Recognizer(ModelFolder(folder, manifest))
    recognizer.load(Compiler(PROFILES[profile], cpu_budget()))
    return recognizer


def test_what_was_converted_answers_as_the_checkpoint_does(output: Path, source: GlyphFolder) -> None:
    grids = random_grids(11)
    odds = np.exp(logits(phase2(), grids).astype(np.float64))
    expected = odds / odds.sum(axis=1, keepdims=True)
    results, seconds = load(output).recognize_grids(grids.astype(np.uint16), 100)
    assert seconds > 0
    for result, probabilities in zip(results, expected, strict=True):
        for candidate in result:
            assert candidate.prob == pytest.approx(probabilities[source.label_map[candidate.label]], abs=1e-5)


def test_a_second_conversion_does_nothing_and_another_checkpoint_converts_again(
    output: Path, source: GlyphFolder
) -> None:
    before = (output / "manifest.json").stat().st_ino
    convert_glyphs(source.folder, output)
    assert (output / "manifest.json").stat().st_ino == before
    save(source.phase2, phase2(seed=9))
    convert_glyphs(source.folder, output)
    assert (output / "manifest.json").stat().st_ino != before


def test_the_command_converts_a_glyph_folder(tmp_path: Path, source: GlyphFolder) -> None:
    output = tmp_path / "mine"
    command = ["convert", str(source.folder), "--output", str(output)]
    assert CliRunner().invoke(main, command).exit_code == 0
    open_model(output).verify()
    refused = CliRunner().invoke(main, [*command, "--precision", "int8"])
    assert refused.exit_code == click.UsageError.exit_code
    assert "glyph" in refused.output


def test_the_checkpoints_are_kept_where_that_is_asked_for(tmp_path: Path, source: GlyphFolder) -> None:
    output = convert_glyphs(source.folder, tmp_path / "mine", keep_source=True)
    assert {"source/phase1.pt", "source/phase2.pt"} <= set(open_model(output).manifest.files)


def test_the_bundled_model_holds_no_file_that_nobody_reads() -> None:
    bundled = MODELS / "glyphs"
    manifest = open_model(bundled).manifest
    open_model(bundled).verify()
    files = {path.relative_to(bundled).as_posix() for path in bundled.rglob("*") if path.is_file()}
    assert files == {*manifest.files, "manifest.json", "README.md"}
    sources = {f"source/{name}" for name in ("phase1.safetensors", "phase2.safetensors", "config.json")}
    assert manifest.files.keys() - sources == {*manifest.required, "metrics.json"}


def test_labels_that_are_not_the_nets_are_refused(tmp_path: Path, source: GlyphFolder) -> None:
    (source.folder / "label_map.json").write_bytes(orjson.dumps({"66_latin": 0}))
    with pytest.raises(SetupError, match=r"classifier\.4 has 8 labels, .*label_map.json has 1"):
        convert_glyphs(source.folder, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_another_label_map_than_the_checkpoints_own_is_refused(tmp_path: Path, source: GlyphFolder) -> None:
    (source.folder / "label_map.json").write_bytes(orjson.dumps(dict(zip(LABELS, range(7, -1, -1), strict=True))))
    with pytest.raises(SetupError, match=r"label_map\.json is not the label map that .*phase2\.pt was trained with"):
        convert_glyphs(source.folder, tmp_path / "mine")
    save(source.phase2, phase2())  # without a label map of its own: nobody knows better
    convert_glyphs(source.folder, tmp_path / "mine")


def test_a_missing_checkpoint_is_named(tmp_path: Path, source: GlyphFolder) -> None:
    source.phase1.unlink()
    with pytest.raises(SetupError, match=r"expected one of phase1\.safetensors, phase1\.pt"):
        convert_glyphs(source.folder, tmp_path / "mine")


@pytest.mark.parametrize("file", ["phase1.bin", "phase2.xml", "label_map.json", "golden.npz"])
def test_a_file_that_changed_is_refused(output: Path, file: str) -> None:
    (output / file).write_bytes((output / file).read_bytes() + b" ")
    with pytest.raises(ModelRefusedError, match=f"{file}: sha256"):
        load(output)


def test_weights_that_are_not_the_golden_vectors_are_refused(tmp_path: Path, output: Path, source: GlyphFolder) -> None:
    save(source.phase2, phase2(seed=9))
    other = convert_glyphs(source.folder, tmp_path / "models" / "other")
    (output / "phase2.bin").write_bytes((other / "phase2.bin").read_bytes())
    fix_hashes(output)
    with pytest.raises(ModelRefusedError, match="golden grids come out"):
        load(output)


def test_a_profile_of_bf16_leaves_glyphs_as_they_are(output: Path) -> None:
    assert load(output, "native-bf16").in_force["INFERENCE_PRECISION_HINT"] == "f32"


def test_a_glyph_model_is_not_opened_as_a_forecaster(output: Path) -> None:
    with pytest.raises(ModelRefusedError, match="a model of kind glyphs, not a forecaster"):
        open_forecaster(output)
