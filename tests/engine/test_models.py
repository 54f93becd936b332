"""Folders of models: by what names they are served, which is the default, and what is no model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support import (
    MODEL,
    ROOT,
    RunVinocast,
    StdioService,
    copy_model,
    packed,
)
from vinocast.data.bundled import bundled_models
from vinocast.engine.folders import find_models
from vinocast.engine.repository import Repository
from vinocast.errors import SetupError, UnknownModelError
from vinocast.forecast.kind import FORECASTER
from vinocast.glyphs.kind import GLYPHS
from vinocast.kinds import KINDS, register

AS_NOBODY = """
import os, sys
from pathlib import Path
from vinocast.errors import SetupError
from vinocast.engine.folders import find_models
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    print(sorted(find_models(Path(sys.argv[1]))))
except SetupError as error:
    print(error)
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.mark.slow
def test_a_model_goes_by_the_name_of_its_folder(models: Path, window: Any) -> None:
    copy_model(models).rename(models / "renamed")
    with StdioService("--models", models) as service:
        ping = service.ask({"op": "ping"})
        assert (ping["default_model"], ping["models"][0]["name"]) == ("renamed", "renamed")
        assert service.ask(packed(window, model="renamed"))["model"] == "renamed"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["stdio", "serve"])
def test_no_service_starts_without_a_model_it_can_name(run_vinocast: RunVinocast, models: Path, command: str) -> None:
    absent = run_vinocast(command, "--models", models)
    assert (absent.returncode, str(models) in absent.stderr) == (1, True)
    models.mkdir()
    empty = run_vinocast(command, "--models", models)
    assert empty.returncode == 1
    assert "vinocast convert" in empty.stderr
    copy_model(models, "one")
    copy_model(models, "two")
    several = run_vinocast(command, "--models", models)
    assert several.returncode == 1
    assert "--default-model" in several.stderr
    assert "one, two" in several.stderr
    unknown = run_vinocast(command, "--models", models, "--default-model", "three")
    assert unknown.returncode == 1
    assert "'three'" in unknown.stderr
    assert "one, two" in unknown.stderr
    (models / "one" / "manifest.json").write_text("{}")
    damaged = run_vinocast(command, "--models", models, "--default-model", "one")
    assert damaged.returncode == 1
    assert "manifest.json" in damaged.stderr
    for done in (absent, empty, several, unknown, damaged):
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_the_only_model_is_the_default_and_so_is_the_bundled_one_among_several(models: Path) -> None:
    copy_model(models, "only")
    assert Repository(models, None, KINDS).default == "only"
    copy_model(models, MODEL)
    assert Repository(models, None, KINDS).default == MODEL
    assert Repository(models, "only", KINDS).default == "only"


def test_an_unknown_model_is_refused_with_the_names_there_are(models: Path) -> None:
    copy_model(models, "one")
    with pytest.raises(UnknownModelError, match=r"expected one of one, got 'two'"):
        Repository(models, None, KINDS).find(FORECASTER, "two")


def test_models_of_other_kinds_are_no_default_and_are_told_from_one(models: Path) -> None:
    shutil.copytree(bundled_models() / "glyphs", models / "letters")
    with pytest.raises(SetupError, match=rf"no forecaster in {models}, only letters: put one beside"):
        Repository(models, None, KINDS)
    copy_model(models)
    with pytest.raises(SetupError, match="letters is a glyph model: --default-model names a forecaster"):
        Repository(models, "letters", KINDS)


def test_of_several_glyph_models_one_must_be_named(models: Path) -> None:
    copy_model(models)
    with pytest.raises(UnknownModelError, match="no glyph model is served here"):
        Repository(models, None, KINDS).find(GLYPHS, None)
    for name in ("digits", "letters"):
        shutil.copytree(bundled_models() / "glyphs", models / name)
    repository = Repository(models, None, KINDS)
    assert repository.find(GLYPHS, "digits").name == "digits"
    with pytest.raises(UnknownModelError, match="expected one of digits, letters"):
        repository.find(GLYPHS, None)


def test_a_kind_is_registered_once() -> None:
    with pytest.raises(ValueError, match="there is a kind glyphs already"):
        register(GLYPHS)


def test_an_openvino_that_cannot_be_imported_is_reported_and_nobody_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("raise ImportError('libtbb.so: no such file')")
    with StdioService(env={"PYTHONPATH": str(tmp_path)}) as service:
        ping = service.ask({"op": "ping"})
        assert ping["ready"] is False
        assert "libtbb.so" in ping["models"][0]["error"]
        assert service.finish() == ([], 1)


@pytest.mark.slow
def test_the_folder_of_one_model_is_told_from_a_folder_of_models(models: Path, run_vinocast: RunVinocast) -> None:
    folder = copy_model(models)
    with pytest.raises(SetupError, match=f"{folder} is the folder of one model: name its parent, --models {models}$"):
        find_models(folder)
    for command in ("stdio", "serve", "doctor"):
        done = run_vinocast(command, "--models", ".", cwd=folder)
        assert done.returncode == 1
        assert f"name its parent, --models {models}" in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


def test_what_is_no_folder_of_a_model_is_no_model(models: Path) -> None:
    folder = copy_model(models)
    for name in (".ipynb_checkpoints", ".half.xyz"):
        shutil.copytree(folder, models / name)
    shutil.copytree(folder, models / ".patchtst.x1" / "new")  # of a conversion that was killed
    (models / "file").write_text("manifest.json")
    (models / "empty").mkdir()
    (models / "loop").symlink_to("loop")
    (models / "itself").symlink_to(".")
    (models / "linked").symlink_to(folder)
    # Of which the last two are refused when they are opened.
    assert set(find_models(models)) == {MODEL, "linked", "empty", "loop"}


def test_a_link_to_what_is_not_there_is_told_of_and_not_passed_over(models: Path) -> None:
    folder = copy_model(models)
    (models / "lost").symlink_to(models / "moved")
    (models / "several").mkdir()
    shutil.copytree(folder, models / "several" / "1")
    (models / "several" / "2").symlink_to(models / "moved")
    with StdioService("--models", models) as service:
        ping = service.ask({"op": "ping"})
        assert ping["ready"] is True
        told = {each["model"]: each["error"].partition(": ")[2] for each in ping["degraded"]}
        assert told == dict.fromkeys(("lost", "several/2"), "a link to what is not there: make it anew, or remove it")


def test_a_folder_whose_name_is_no_text_is_refused_by_a_name_that_can_be_told(models: Path) -> None:
    folder = copy_model(models)
    for name in (os.fsdecode(b"caf\xe9"), "two\nlines"):
        shutil.copytree(folder, models / name)
    with StdioService("--models", models) as service:
        reasons = {one["model"]: one["error"] for one in service.ask({"op": "ping"})["degraded"]}
        assert set(reasons) == {r"caf\xe9", r"two\nlines"}
        for name, reason in reasons.items():
            assert reason == f"{models}/{name}: a model goes by its folder's name, and this is no text: rename it"
            assert reason in service.log


def test_a_service_tells_of_a_model_below_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    models = tmp_path / os.fsdecode(b"caf\xe9")
    copy_model(models)
    (copy_model(models, "damaged") / "manifest.json").write_text("{")
    with StdioService("--models", models) as service:
        (damaged,) = service.ask({"op": "ping"})["degraded"]
        assert damaged["error"].startswith(f"{tmp_path}/caf\\xe9/damaged/manifest.json: ")
        assert service.finish() == ([], 0)


@pytest.mark.parametrize("kind", ["absent", "file", "loop"])
def test_what_is_no_folder_at_all_says_so(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    reason = {"absent": "No such file", "file": "Not a directory", "loop": "Too many levels of symbolic links"}[kind]
    with pytest.raises(SetupError, match=rf"no folder of models {tmp_path / kind} \({reason}.*--models"):
        find_models(tmp_path / kind)


def test_folders_that_may_not_be_read_are_told() -> None:
    with tempfile.TemporaryDirectory() as parent:  # which another user may enter, unlike pytest's own
        Path(parent).chmod(0o755)
        models = Path(parent) / "models"
        copy_model(models)
        closed = copy_model(models, "closed")

        def listed() -> str:
            command = [sys.executable, "-c", AS_NOBODY, str(models)]
            return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout

        try:
            closed.chmod(0)
            assert listed() == f"{['closed', MODEL]}\n"  # so that opening it says why it is refused
            models.chmod(0)
            assert f"no folder of models {models} (Permission denied)" in listed()
        finally:
            models.chmod(0o755)
            closed.chmod(0o755)
