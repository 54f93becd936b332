"""What the documentation states holds: codes, options, commands, examples."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import orjson
import pytest
from PIL import Image
from support import MODEL, MODELS, ROOT, VINOCAST, HttpService, RunVinocast, StdioService
from vinocast import errors
from vinocast.cli import main
from vinocast.cli.feed_coinbase import coinbase
from vinocast.recognition.options import COMMAND

from examples import record_host

PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
README = (ROOT / "README.md").read_text()
CONTEXT = click.Context(main)
COMMANDS = {name: command for name in main.list_commands(CONTEXT) if (command := main.get_command(CONTEXT, name))}
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def request_errors() -> list[type[errors.RequestError]]:
    return errors.RequestError.__subclasses__()


@pytest.mark.parametrize("error", request_errors(), ids=lambda error: error.code)
def test_every_error_code_is_documented_with_its_status(error: type[errors.RequestError]) -> None:
    rows = [line for line in PROTOCOL.splitlines() if line.startswith("|")]
    (row,) = [row for row in rows if f"`{error.code}`" in row.split("|")[1]]
    assert row.split("|")[2].strip() == str(error.status)
    assert ("retryable" in row) is error.retryable
    assert re.search(
        rf"{error.__name__} +{error.code} +{error.status}( +retryable)?$", errors.__doc__ or "", re.MULTILINE
    )


def test_every_link_between_documents_leads_somewhere() -> None:
    broken = [
        f"{document.name}: {target}"
        for document in DOCUMENTS
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text())
        if not (document.parent / target).exists()
    ]
    assert broken == []


def test_every_command_and_option_in_the_documents_exists() -> None:
    commands = {name: {o for p in c.params for o in p.opts} for name, c in COMMANDS.items()}
    commands["feed"] |= {o for p in coinbase.params for o in p.opts}
    commands["infer-chain"] = {o for p in COMMAND.params for o in p.opts}
    unknown = []
    for document in DOCUMENTS:
        for name, rest in re.findall(r"vinocast ([a-z][a-z-]*)((?: [^\n`]*)?)", document.read_text()):
            if name not in commands:
                unknown.append(f"{document.name}: vinocast {name}")
            elif name != "train":
                options = set(re.findall(r"(?<= )--[a-z0-9_-]+", rest.split("#")[0]))
                unknown += [f"{document.name}: {name} {o}" for o in options - commands[name] - {"--help"}]
    assert unknown == []


def test_every_room_of_the_picture_is_there_and_none_is_missing() -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {
        path.name for path in (ROOT / "service" / "vinocast").iterdir() if path.is_dir() and any(path.glob("*.py"))
    }
    assert {room for room in rooms if f"service/vinocast/{room}/" not in picture} == set()
    assert {room for room in re.findall(r"`service/vinocast/(\w+)/`", picture) if room not in rooms} == set()


@pytest.mark.slow
def test_the_example_window_is_forecast_over_http_and_over_lines() -> None:
    body = (ROOT / "examples" / "window.json").read_bytes()
    with HttpService() as http:
        command = re.search(r"^curl .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
        assert command
        done = subprocess.run(
            command[0].replace("http://127.0.0.1:8000", http.url), shell=True, cwd=ROOT, capture_output=True, check=True
        )
    reply = orjson.loads(done.stdout)
    assert reply["success"], reply
    assert len(reply["predictions"]) == 96
    with StdioService() as service:
        assert service.ask(body.strip() + b"\n")["predictions"] == reply["predictions"]


@pytest.mark.slow
def test_the_example_glyphs_are_read_from_the_example_rasters() -> None:
    sent = orjson.loads((ROOT / "examples" / "glyphs.json").read_bytes())["rasters"]
    labels = {
        base64.b64encode(path.read_bytes()).decode(): path.stem.rpartition("_")[0]
        for path in (ROOT / "examples" / "rasters").glob("*.png")
    }
    command = re.search(r"^curl .*/glyphs .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert command
    with HttpService() as http:
        done = subprocess.run(
            command[0].replace("http://127.0.0.1:8000", http.url), shell=True, cwd=ROOT, capture_output=True, check=True
        )
    results = orjson.loads(done.stdout)["results"]
    assert [result["topk"][0]["label"] for result in results] == [labels[raster] for raster in sent]


@pytest.mark.slow
def test_the_commands_for_a_picture_of_a_glyph_lead_to_its_label(tmp_path: Path) -> None:
    glyph = Image.open(ROOT / "examples" / "rasters" / "65_latin_866.png").point(lambda value: 255 - value)
    paper = Image.new("RGB", (400, 300), "white")
    paper.paste(glyph, (90, 70))
    paper.save(tmp_path / "scan.png")
    (commands,) = re.findall(r"```\n(\.venv/bin/vinocast raster scan\.png.*?)```", README, re.DOTALL)
    with HttpService() as http:
        lines = commands.replace(".venv/bin/vinocast", str(VINOCAST)).replace("http://127.0.0.1:8000", http.url)
        done = subprocess.run(["bash", "-ec", lines], cwd=tmp_path, capture_output=True, check=True)
    written, answer = done.stdout.splitlines()
    assert written == b"rasters/scan.png"
    reply = orjson.loads(answer)
    assert reply["results"][0]["topk"][0]["label"] == "65_latin"
    assert "warnings" not in reply


@pytest.mark.slow
def test_the_commands_of_the_guide_to_files_run(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = re.findall(r"```\n(.*?)```", (ROOT / "docs" / "forecast-files.md").read_text(), re.DOTALL)
    commands = [block.replace(".venv/bin/vinocast", str(VINOCAST)) for block in blocks if "vinocast" in block]
    done = [
        subprocess.run(["bash", "-ec", command], cwd=tmp_path, capture_output=True, text=True, check=True)
        for command in commands
    ]
    first, backtest, _, many = (each.stdout for each in done)
    (shown,) = (block for block in blocks if block.startswith("second,"))
    (header, *rows), (shown_header, *shown_rows) = first.splitlines(), shown.splitlines()
    assert header == shown_header
    for row, shown_row in zip(rows, shown_rows, strict=True):
        (second, made), (shown_second, shown_made) = row.split(","), shown_row.split(",")
        assert second == shown_second
        # Other weights forecast a little else; another column, or another unit, is further off.
        assert float(made) == pytest.approx(float(shown_made), rel=0.1)
    assert re.search(r"^  last value +[\d.]+ +", backtest, re.MULTILINE)
    assert "<html" in (tmp_path / "memory.html").read_text()
    assert len(orjson.loads((tmp_path / "memory.json").read_bytes())["predictions"]) == 96
    assert [row.split(",")[:2] for row in many.splitlines()] == [
        ["item_id", "second"], ["user", "3600"], ["user", "3601"], ["system", "3600"], ["system", "3601"]
    ]  # fmt: skip


def test_every_option_of_forecast_is_in_its_guide() -> None:
    guide = (ROOT / "docs" / "forecast-files.md").read_text()
    options = {option for parameter in COMMANDS["forecast"].params for option in parameter.opts if option[:2] == "--"}
    assert {option for option in options if option not in guide} == {"--strict-profile"}


def test_the_python_example_of_the_readme_runs() -> None:
    (example,) = re.findall(r"```python\n(import csv.*?)```", README, re.DOTALL)
    code = f"{example}\nprint(forecast.shape, first.shape, model.channels[0])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "(96, 7) (96, 1) HUFL\n"


def test_the_python_example_of_the_glyph_guide_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(from PIL.*?)```", (ROOT / "docs" / "OPENVINO.md").read_text(), re.DOTALL)
    Image.open(ROOT / "examples" / "rasters" / "65_latin_866.png").resize((300, 300)).save(tmp_path / "scan.png")
    code = f"{example}\nprint(raster.shape, suspicions(raster[None]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "(128, 128) [None]\n"


def test_the_example_window_is_cut_from_the_recording() -> None:
    recorded = orjson.loads(record_host.window(ROOT / "examples" / "host.csv"))
    assert recorded == orjson.loads((ROOT / "examples" / "window.json").read_bytes())


@pytest.mark.slow
def test_the_recorder_records(tmp_path: Path) -> None:
    output = tmp_path / "host.csv"
    record_host.record(output, 2)
    header, *rows = output.read_text().splitlines()
    assert header == ",".join(("second", *record_host.CHANNELS))
    assert len(rows) == 2
    assert all(float(row.split(",")[-1]) > 0 for row in rows)


@pytest.mark.slow
def test_the_python_examples_of_the_setup_guide_run() -> None:
    text = (ROOT / "OPENVINO_SETUP.md").read_text()
    new, old = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = f"import numpy\npast_values = numpy.ones((512, 7))\n{new}\n{old}\nprint(forecast.shape, predictions.shape)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "(96, 1) (96, 7)\n"


def test_the_setup_guide_is_right_about_what_is_gone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import openvino.runtime"], capture_output=True, text=True, check=False
    )
    assert "ModuleNotFoundError" in done.stderr


@pytest.mark.slow
def test_doctor_names_variables_that_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = subprocess.run([VINOCAST, "doctor"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^WARN environment .*OMP_NUM_THREADS=1 has no effect", done.stdout, re.MULTILINE)
    assert re.search(rf"^ok +{MODEL} +in force: all as asked", done.stdout, re.MULTILINE)


@pytest.mark.slow
def test_doctor_has_its_findings_as_one_object_and_takes_only_what_it_uses(run_vinocast: RunVinocast) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VINOCAST_PROFIL": "native"}
    done = run_vinocast("doctor", "--json", env=environment)
    assert done.returncode == 0
    report = orjson.loads(done.stdout)
    assert report["failed"] is False
    assert {tuple(finding) for finding in report["findings"]} == {("state", "subject", "text")}
    assert {finding["state"] for finding in report["findings"]} <= {"info", "ok", "warn"}
    warned = [finding["text"] for finding in report["findings"] if finding["state"] == "warn"]
    assert any("OMP_NUM_THREADS=1 has no effect" in text for text in warned)
    assert any("VINOCAST_PROFIL: did you mean VINOCAST_PROFILE?" in text for text in warned)
    done = run_vinocast("doctor", "--json", "--models", "nowhere")
    assert done.returncode == 1
    report = orjson.loads(done.stdout)
    assert report["failed"] is True
    last = report["findings"][-1]
    assert (last["state"], last["subject"]) == ("fail", "models")
    assert "no folder of models nowhere" in last["text"]
    assert "name one with --models" in last["text"]
    options = {option for parameter in COMMANDS["doctor"].params for option in parameter.opts}
    models = {"--models", "--default-model", "--profile", "--strict-profile", "--log-level", "--log-format", "--otel"}
    assert options == models | {
        "--json",
        "--host",
        "--token-file",
        "--insecure",
        "--allowed-hosts",
        "--allowed-origins",
    }


@pytest.mark.slow
def test_doctor_fails_on_a_model_that_would_be_refused(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in (MODELS / MODEL).glob("*.*"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.bin").write_bytes(b"other weights")
    command = [str(VINOCAST), "doctor", "--models", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert re.search(r"^FAIL broken +.*model.bin: sha256", done.stdout, re.MULTILINE)


def test_every_command_has_a_help_page() -> None:
    for name, command in COMMANDS.items():
        assert command.help, name
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, (name, parameter.name)
