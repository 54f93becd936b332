"""``vinocast tune`` as a user runs it, and what ``--profile tuned`` then makes of its result."""

from __future__ import annotations

import functools
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from support import (
    MODEL,
    MODELS,
    RunVinocast,
    StdioService,
    change_manifest,
    copy_model,
    fix_hashes,
    packed,
    random_windows,
    raw_inference,
    uncapped,
)
from vinocast.data.series import bundled_series, read_series
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.tuned import PROFILE_FILE, TunedFile, TunedModel, fingerprint, int8_folder, write_tuned
from vinocast.errors import SetupError
from vinocast.export.convert import quantize_folder
from vinocast.extras import install_line
from vinocast.forecast.manifest import ForecasterFolder, open_forecaster
from vinocast.measure.bench.processes import RawModel
from vinocast.measure.tune.report import to_text
from vinocast.measure.tune.tuning import Measured, Tuned, TuningResults, int8_form
from vinocast.measure.tune.variants import Figures, Row, Variant, default_variant

# Rows of the recording that are enough for both parts, so that little has to be calibrated.
ROWS = 800
# Importing NNCF and quantizing take ten seconds of an idle core, many times that of a busy one.
PATIENCE_WITH_NNCF = 400
pytestmark = pytest.mark.timeout(PATIENCE_WITH_NNCF + 60)
on_one_core = functools.partial(os.sched_setaffinity, 0, {min(os.sched_getaffinity(0))})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "short.csv"
    path.write_text("".join(bundled_series().read_text().splitlines(keepends=True)[: ROWS + 1]))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def tuned(home: Path, data: Path, run_vinocast: RunVinocast) -> subprocess.CompletedProcess[str]:
    """A run of one model on one core, which halves what there is to try."""
    env = uncapped() | {"XDG_STATE_HOME": str(home)}
    models = copy_model(home / "models").parent
    options: list[str | Path] = ["--rounds", "1", "--data", data, "--models", models]
    return run_vinocast("tune", *options, env=env, preexec_fn=on_one_core, timeout=PATIENCE_WITH_NNCF)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of our own, for every program that is started."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "vinocast"


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory, data: Path) -> ForecasterFolder:
    folder = open_forecaster(MODELS / MODEL)
    return quantize_folder(
        folder, read_series(data, folder.manifest.channels, independent=True), tmp_path_factory.mktemp("int8")
    )


def profile_file(**tuned: Any) -> TunedFile:
    """A profile for this machine and the bundled model."""
    models = {open_forecaster(MODELS / MODEL).content: TunedModel(**tuned)} if tuned else {}
    return TunedFile(fingerprint=fingerprint(cpu_budget()), isa_cap="AVX2", models=models)


def ping(*options: str | Path, **more: Any) -> dict[str, Any]:
    """What the default forecaster says of itself under the profile."""
    with StdioService("--profile", "tuned", *options, **more) as service:
        answer = service.ask({"op": "ping"})
    assert answer["profile"] == "tuned"
    return dict(answer["models"][0])


def test_the_table_has_every_variant_and_says_which_is_chosen(tuned: subprocess.CompletedProcess[str]) -> None:
    assert tuned.returncode == 0, tuned.stderr
    rows = [line.split() for line in tuned.stdout.splitlines() if line.startswith(("AVX2 ", "none "))]
    assert {tuple(row[:5]) for row in rows} >= {
        (cap, weights, "f32", "1", pinned)
        for cap in ("AVX2", "none")
        for weights in ("f32", "int8")
        for pinned in ("yes", "no")
    }
    assert sum("chosen" in " ".join(row) for row in rows) == 1
    (default,) = [row for row in rows if "default" in row]
    assert default[:5] == ["AVX2", "f32", "f32", "1", "yes"]
    assert default[9:12] == ["1.00", "+0.00%", "0.000"]
    for row in rows:
        assert float(row[5]) <= float(row[6])
        assert abs(float(row[10].rstrip("%"))) < 5
    worst = {row[1]: float(row[11]) for row in rows}
    assert worst["int8"] > 0
    assert "Rule: " in tuned.stdout


def test_what_was_chosen_is_what_a_service_has_in_force(
    tuned: subprocess.CompletedProcess[str], home: Path, run_vinocast: RunVinocast
) -> None:
    found = TunedFile.model_validate_json((home / "vinocast" / PROFILE_FILE).read_bytes())
    ((content, choice),) = found.models.items()
    assert content == open_forecaster(MODELS / MODEL).content
    env = os.environ | {"XDG_STATE_HOME": str(home)}
    model = ping(env={"XDG_STATE_HOME": str(home)}, preexec_fn=on_one_core)
    assert model["precision"] == ("int8" if choice.int8 else "f32")
    assert model["in_force"]["INFERENCE_PRECISION_HINT"] == choice.precision
    assert model["in_force"]["INFERENCE_NUM_THREADS"] == choice.threads
    assert model["in_force"]["ENABLE_CPU_PINNING"] is choice.pinned
    done = run_vinocast("doctor", "--profile", "tuned", env=env, preexec_fn=on_one_core)
    assert done.returncode == 0, done.stdout
    assert re.search(rf"^ok +{MODEL} +in force: all as asked, {choice.precision}", done.stdout, re.MULTILINE)
    # Of int8 models, those alone are kept that were made in this run.
    assert len(list(int8_folder(home / "vinocast").iterdir())) == 1


def test_a_dropped_variant_stands_in_the_table_with_its_reason(tmp_path: Path) -> None:
    folder = open_forecaster(MODELS / MODEL)
    series = read_series(bundled_series(), folder.manifest.channels, independent=True)
    default = Row(default_variant(cpu_budget()), Figures(1.0, 2.0), Figures(0.2, 0.3), 1.0, 0.0, 0.0)
    nan = Figures(math.nan, math.nan)
    rows = [
        Row(Variant(None, True, "bf16", 2, True), nan, nan, math.nan, math.nan, math.nan, "cannot be compiled"),
        Row(Variant(None, True, "f32", 2, True), Figures(0.5, 1.0), Figures(0.1, 0.2), 1.01, 0.01, 0.3, "MSE differs"),
        default,
    ]
    tuned = Tuned(Measured(folder, series, None, "a note", rows), default, default)
    text = to_text(TuningResults([tuned], ["another: it has no weights"], None, 3.0, tmp_path))
    lines = [line for line in text.splitlines() if line.startswith(("AVX2 ", "none "))]
    assert [line.split()[1:3] for line in lines] == [["int8", "f32"], ["f32", "f32"], ["int8", "bf16"]]
    assert lines[0].endswith("2.00    +1.00%  0.300  dropped: MSE differs")
    assert lines[1].endswith("chosen, the default")
    assert lines[2].endswith("dropped: cannot be compiled")
    assert "a note" in text
    assert "Left out: another: it has no weights" in text
    assert "The load average was 3.0" in text
    assert text.endswith(f"Written to {tmp_path}; use it with --profile tuned.")
    # What was measured is told even where it cannot be kept.
    assert to_text(TuningResults([tuned], ["another: it has no weights"], None, 3.0, SetupError("a full disk"))) in text


def test_int8_answers_nearly_as_f32_does(state: Path, int8: ForecasterFolder) -> None:
    (state / "int8").mkdir(parents=True)
    (state / "int8" / int8.path.name).symlink_to(int8.path)
    write_tuned(state, profile_file(precision="f32", threads=1, pinned=False, int8=int8.path.name))
    window = random_windows(1)[0]
    with StdioService("--profile", "tuned") as service:
        reply = service.ask(packed(window))
        model = service.ask({"op": "ping"})["models"][0]
    assert (model["precision"], model["in_force"]["INFERENCE_NUM_THREADS"]) == ("int8", 1)
    difference = np.abs(np.array(reply["predictions"]) - raw_inference([window])[0]) / window.std(axis=0)
    assert 1e-4 < difference.max() < 0.5

    # The model alone is measured as the service has it.
    with RawModel(folder=str(MODELS / MODEL), profile="tuned", stock=None) as raw:
        in_force = raw.describe()["in_force"]
    assert (in_force["INFERENCE_NUM_THREADS"], in_force["ENABLE_CPU_PINNING"]) == (1, False)


def another_graph(models: Path) -> None:
    """The same model with another file of its graph: what was tuned is not this one."""
    folder = copy_model(models)
    graph = (folder / "model.xml").read_bytes()
    (folder / "model.xml").write_bytes(graph + b"\n")
    fix_hashes(folder)
    change_manifest(folder, metrics=[])


@pytest.mark.parametrize("damage", ["another model", "int8 gone", "int8 damaged"])
def test_a_model_that_is_not_what_was_tuned_is_served_in_f32_with_a_warning(
    state: Path, int8: ForecasterFolder, tmp_path: Path, run_vinocast: RunVinocast, damage: str
) -> None:
    models = tmp_path / "models"
    if damage == "another model":
        another_graph(models)
    else:
        copy_model(models)
    if damage == "int8 damaged":
        derived = state / "int8" / int8.path.name
        derived.mkdir(parents=True)
        for file in int8.path.iterdir():
            (derived / file.name).write_bytes(file.read_bytes())
        (derived / "model.bin").write_bytes(b"other weights")
    write_tuned(state, profile_file(precision="bf16", threads=1, pinned=False, int8=int8.path.name))
    done = run_vinocast("doctor", "--profile", "tuned", "--models", models)
    assert done.returncode == 0, done.stdout
    assert re.search(rf"^WARN {MODEL} .*in f32.*run 'vinocast tune' on this machine", done.stdout, re.MULTILINE)
    model = ping("--models", models)
    assert (model["precision"], model["in_force"]["INFERENCE_PRECISION_HINT"]) == ("f32", "f32")


def other_cpu(state: Path) -> None:
    found = orjson.loads(profile_file().model_dump_json())
    found["fingerprint"]["cpu"] = "Another CPU"
    write_tuned(state, TunedFile.model_validate(found))


def not_json(state: Path) -> None:
    write_tuned(state, profile_file()).write_text("{")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        pytest.param(lambda _: None, "no profile 'tuned'", id="none"),
        pytest.param(other_cpu, "was made for Another CPU", id="another CPU"),
        pytest.param(not_json, "cannot be read", id="damaged"),
    ],
)
def test_without_a_profile_of_this_machine_nothing_starts_and_the_message_names_the_mend(
    state: Path, prepare: Callable[[Path], None], message: str, run_vinocast: RunVinocast
) -> None:
    prepare(state)
    for command in ("stdio", "doctor"):
        done = run_vinocast(command, "--profile", "tuned", input="")
        assert done.returncode == 1, done.stdout
        assert message in done.stderr
        assert "run 'vinocast tune' on this machine" in done.stderr


def test_the_int8_form_is_made_once_for_the_same_model_and_values(
    int8: ForecasterFolder, data: Path, tmp_path: Path
) -> None:
    folder = open_forecaster(MODELS / MODEL)
    inode = int8.path.stat().st_ino
    again = quantize_folder(folder, read_series(data, folder.manifest.channels, independent=True), int8.path.parent)
    assert (again.path, again.path.stat().st_ino) == (int8.path, inode)
    int8.verify()
    another_graph(tmp_path)
    changed = open_forecaster(tmp_path / MODEL)
    assert changed.content != folder.content


def test_without_nncf_the_rest_can_be_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_forecaster(MODELS / MODEL)
    monkeypatch.setitem(sys.modules, "nncf", None)  # what an installation without it raises when it is imported
    form, note = int8_form(folder, read_series(bundled_series(), folder.manifest.channels, independent=True), tmp_path)
    assert form is None
    assert install_line("convert") in str(note)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--models", "nowhere"], 1, "no folder of models nowhere"),
        (["--data", "nowhere.csv"], 1, "nowhere.csv: No such file"),
        (["--isa-cap", "AVX9"], 2, "AVX9"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_anything_is_measured(
    state: Path, options: list[str], code: int, message: str, run_vinocast: RunVinocast
) -> None:
    done = run_vinocast("tune", *options)
    assert done.returncode == code
    assert message in done.stderr
    assert not (state / PROFILE_FILE).exists()
