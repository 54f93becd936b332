"""The command line: help for every command, an environment variable for every option, exit codes, what is imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import httpx
import numpy as np
import orjson
import pytest
from support import MODEL, PATIENCE, ROOT, VINOCAST, HttpService, RunVinocast, StdioService, copy_model, packed
from vinocast import __version__
from vinocast.cli import main
from vinocast.cli.variables import SETTINGS, own_variables


def commands(group: click.Group, *path: str) -> list[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += commands(command, *path, name)
    return found


COMMANDS = commands(main)
SERVICES = ["serve", "stdio"]


def test_help_lists_every_command(run_vinocast: RunVinocast) -> None:
    done = run_vinocast("--help")
    assert (done.returncode, done.stderr) == (0, "")
    listed = re.findall(r"^  ([a-z][\w-]+)", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert listed == [path[0] for path, _ in COMMANDS if len(path) == 1]
    assert set(SERVICES) <= set(listed)


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_help_of_every_command_explains_every_option_and_names_its_variable(
    run_vinocast: RunVinocast, path: tuple[str, ...], command: click.Command
) -> None:
    done = run_vinocast(*path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.lower().startswith(f"usage: vinocast {' '.join(path)} ")
    text = re.sub(r"\s+", "", done.stdout)
    for option in command.params:
        if not isinstance(option, click.Option) or option.name == "help":
            continue
        assert option.help, option.name
        assert option.opts[0] in text
        own = option.name in SETTINGS
        words = option.opts[0].lstrip("-") if own else "-".join((*path, option.opts[0].lstrip("-")))
        assert f"envvar:VINOCAST_{words.replace('-', '_').upper()}" in text


def test_a_variable_has_one_meaning_in_whatever_command_it_is_read() -> None:
    meanings: dict[str, set[tuple[str, ...]]] = {}
    readers: dict[str, list[str]] = {}
    for path, command in COMMANDS:
        options = {option.opts[0]: option for option in command.params if isinstance(option, click.Option)}
        for variable, option in [] if isinstance(command, click.Group) else own_variables(command).items():
            one = options[option]
            meanings.setdefault(variable, set()).add((str(one.help), str(one.type.to_info_dict()), str(one.default)))
            readers.setdefault(variable, []).append(" ".join(path))
    assert {variable for variable, found in meanings.items() if len(found) > 1} == set()
    # Only what a service has as well is read by several.
    shared = {variable.removeprefix("VINOCAST_").lower() for variable, found in readers.items() if len(found) > 1}
    assert shared <= SETTINGS
    assert readers["VINOCAST_MODELS"] == [
        "bench",
        "doctor",
        "feed coinbase",
        "forecast",
        "replay",
        "serve",
        "stdio",
        "tune",
    ]
    assert readers["VINOCAST_TRAIN_FORECAST_STEPS"] == ["train forecast"]


def test_no_summary_is_cut(run_vinocast: RunVinocast) -> None:
    for group in ([], ["train"]):
        done = run_vinocast(*group, "--help", env=os.environ | {"COLUMNS": "60"})
        assert "..." not in done.stdout.partition("Commands:")[2]


STRANGERS = {
    "VINOCAST_PROFIL": "did you mean VINOCAST_PROFILE?",
    "VINOCAST_STEPS": "did you mean VINOCAST_TRAIN_FORECAST_STEPS or ",
    "VINOCAST_XYZZY": "'vinocast COMMAND --help' lists those there are",
}
# As Kubernetes sets them for a service of this name and for a neighbour, and docker for a link; with a stranger's value
# each would end the program, or be read as a setting.
LINKS = {
    "VINOCAST_SERVICE_HOST": "10.43.7.62",
    "VINOCAST_SERVICE_PORT": "8000",
    "VINOCAST_SERVICE_PORT_HTTP": "8000",
    "VINOCAST_PORT": "tcp://10.43.7.62:8000",
    "VINOCAST_PORT_8000_TCP": "tcp://10.43.7.62:8000",
    "VINOCAST_PORT_8000_TCP_PROTO": "tcp",
    "VINOCAST_PORT_8000_TCP_PORT": "8000",
    "VINOCAST_PORT_8000_TCP_ADDR": "10.43.7.62",
    "VINOCAST_BENCH_PORT": "tcp://10.43.7.63:80",
    "VINOCAST_BENCH_SERVICE_HOST": "10.43.7.63",
    "VINOCAST_NAME": "/web/vinocast",
    "VINOCAST_ENV_PYTHON_VERSION": "3.11",
}


def test_a_service_names_misspelt_variables_in_its_log(run_vinocast: RunVinocast) -> None:
    own = {"VINOCAST_PROFILE": "native", "VINOCAST_TRAIN_GLYPHS_STEPS": "3", "VINOCAST_PROGRAM": "vinocast"}
    with StdioService(env=dict.fromkeys(STRANGERS, "1") | own) as service:
        assert service.ask({"op": "ping"})["profile"] == "native"
        lines = [line for line in service.log.splitlines() if "nobody reads the variable" in line]
    assert len(lines) == len(STRANGERS)
    for line, (name, advice) in zip(lines, sorted(STRANGERS.items()), strict=True):
        assert " WARNING " in line
        assert f"variable {name}: {advice}" in line


@pytest.mark.parametrize(
    "arguments", [["evaluate", "none", "--data", "none.csv"], ["train", "forecast", "--data", "x", "--output", "x"]]
)
@pytest.mark.slow
def test_a_command_names_misspelt_variables_as_well(
    run_vinocast: RunVinocast, arguments: list[str], tmp_path: Path
) -> None:
    done = run_vinocast(*arguments, env=os.environ | {"VINOCAST_PROFIL": "native"}, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("vinocast: nobody reads the variable VINOCAST_PROFIL: did you mean VINOCAST_PROFILE?")


@pytest.mark.slow
def test_what_kubernetes_and_docker_set_is_passed_over_with_one_line() -> None:
    # A port of its own all the same: that of the default may be taken.
    with HttpService(env=LINKS) as service:
        log = service.log
    assert len(re.findall(r"VINOCAST_", log)) == 1
    assert "WARNING vinocast.cli: VINOCAST_PORT=tcp://10.43.7.62:8000 is passed over" in log


def test_a_link_where_no_option_is_given_leaves_the_default(run_vinocast: RunVinocast) -> None:
    links = LINKS | {"VINOCAST_BENCH_RATE": "tcp://10.43.7.64:80", "VINOCAST_MODELS": "udp://10.43.7.65:80"}
    done = run_vinocast("bench", "--stock", "nowhere", env=os.environ | links)
    assert done.returncode == 2
    assert "'--stock'" in done.stderr
    passed_over = re.findall(r"(VINOCAST_\w+)=\S+ is passed over", done.stderr)
    assert passed_over == ["VINOCAST_MODELS", "VINOCAST_BENCH_RATE"]


def test_an_empty_variable_is_one_that_is_not_set(run_vinocast: RunVinocast) -> None:
    empty = {f"VINOCAST_{name.upper()}": "" for name in SETTINGS}
    with StdioService(env=empty) as service:
        ping = service.ask({"op": "ping"})
    assert (ping["default_model"], ping["profile"]) == (MODEL, "epyc-7763")


@pytest.mark.slow
def test_an_option_and_its_variable_do_the_same_and_the_option_wins(tmp_path: Path) -> None:
    copy_model(tmp_path / "models", "mine")
    copy_model(tmp_path / "models", "yours")
    env = {"VINOCAST_MODELS": str(tmp_path / "models"), "VINOCAST_DEFAULT_MODEL": "mine", "VINOCAST_PROFILE": "native"}
    with StdioService(env=env) as service:
        ping = service.ask({"op": "ping"})
        assert (ping["default_model"], ping["profile"]) == ("mine", "native")
    with StdioService("--default-model", "yours", "--profile", "epyc-7763", env=env) as service:
        ping = service.ask({"op": "ping"})
        assert (ping["default_model"], ping["profile"]) == ("yours", "epyc-7763")


def test_the_port_comes_from_its_variable(run_vinocast: RunVinocast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VINOCAST_PORT", "no number")
    done = run_vinocast("serve")
    assert done.returncode == 2
    assert "'--port' (env var: 'VINOCAST_PORT'): 'no number'" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["serve", "--colour"], id="no such option"),
        pytest.param(["fly"], id="no such command"),
        pytest.param(["stdio", "now"], id="an argument too many"),
        pytest.param(["serve", "--port", "http"], id="a port that is no number"),
        pytest.param(["serve", "--port", "65536"], id="a port beyond the last"),
        pytest.param(["serve", "--port", "-1"], id="a negative port"),
        pytest.param(["stdio", "--profile", "fast"], id="an unknown profile"),
        pytest.param(["stdio", "--queue-rows", "0"], id="a queue for nothing"),
        pytest.param(["stdio", "--max-request-bytes", "0"], id="requests of nothing"),
        pytest.param(["stdio", "--max-unread-reply-bytes", "-1"], id="less than no replies"),
        pytest.param(["stdio", "--max-request-bytes", "18446744073709551616"], id="more than a number of JSON may be"),
        pytest.param(["serve", "--stream-idle-seconds", "9" * 400], id="more than a float may be"),
        pytest.param(["serve", "--keep-alive-seconds", "9" * 5000], id="more than a number may have digits"),
        pytest.param(["train", "forecast", "--seed", "4294967296"], id="more than a seed may be"),
        pytest.param(["train", "glyphs", "--threads", "18446744073709551616"], id="more threads than there may be"),
        pytest.param(["bench", "--rate", "nan"], id="no number at all"),
        pytest.param(["train", "forecast", "--weight-decay", "inf"], id="an infinity"),
        pytest.param(["stdio", "--log-level", "loud"], id="an unknown level"),
    ],
)
def test_wrong_usage_ends_with_code_2_and_says_what_is_wrong(run_vinocast: RunVinocast, arguments: list[str]) -> None:
    done = run_vinocast(*arguments, input="", timeout=20)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_report_that_could_not_be_written_is_not_measured_first(
    run_vinocast: RunVinocast, option: str, tmp_path: Path
) -> None:
    done = run_vinocast("bench", "--quick", option, tmp_path / "nowhere" / "report")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"vinocast: {option} {tmp_path}/nowhere/report cannot be written: "
        "name a file in a folder that is there and writable\n"
    )


@pytest.mark.parametrize(
    "arguments", [["doctor", "--models", "nowhere"], ["--help"], ["--version"], ["serve", "--help"], ["train", "-h"]]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_ends_with_a_sentence(arguments: list[str], unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [VINOCAST, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "vinocast: [Errno 28] No space left on device"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("stderr", [">/dev/full", ">&-"])
def test_messages_that_nobody_can_take_end_no_command(tmp_path: Path, stderr: str) -> None:
    image = ROOT / "examples" / "rasters" / "65_latin_866.png"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" 2{stderr}', VINOCAST, "raster", image, "--output", tmp_path / "out"],
        env=os.environ | {"VINOCAST_MISSPELT": "1"},
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "out" / image.name).exists()


def test_a_reader_that_has_seen_enough_is_no_fault() -> None:
    with subprocess.Popen([VINOCAST, "serve", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 1


@pytest.mark.slow
def test_what_is_no_text_can_be_told_of_in_any_encoding(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.csv")
    for encoding in ("utf-8", "latin-1", "ascii"):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = run_vinocast("evaluate", MODEL, "--data", name, env=environment, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("vinocast: caf"), done.stderr
        assert "No such file or directory" in done.stderr


def test_a_message_is_the_same_in_a_locale_of_another_encoding(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    (tmp_path / "café.csv").write_text("Zeit,größer,…\n")
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment["PYTHONIOENCODING"] = "utf-8"
    options = ("--data", "café.csv", "--protocol", "etth1")
    done = run_vinocast("evaluate", MODEL, *options, env=environment, cwd=tmp_path, encoding="utf-8")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("vinocast: café.csv is not ETTh1: its first line is 'Zeit,größer,…'")


@pytest.mark.parametrize(
    ("file", "content", "last"),
    [
        (
            "model.bin",
            b"x",
            r"vinocast: the default model cannot be served: .*model\.bin: sha256 .*; convert the model again",
        ),
        ("manifest.json", b"{}", r"vinocast: no model in .* can be read: mend or remove those named above"),
    ],
)
@pytest.mark.slow
def test_the_last_line_says_what_to_do_about_a_model_that_is_refused(
    run_vinocast: RunVinocast, tmp_path: Path, file: str, content: bytes, last: str
) -> None:
    (copy_model(tmp_path, "mine") / file).write_bytes(content)
    done = run_vinocast("serve", "--port", "0", "--models", tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(last, done.stderr.splitlines()[-1])
    # Each line is an event.
    assert all(re.match(r"vinocast: |\d{4}-\d\d-\d\d ", line) for line in done.stderr.splitlines()), done.stderr


def test_the_version_is_the_packages(run_vinocast: RunVinocast) -> None:
    done = run_vinocast("--version")
    assert (done.returncode, done.stdout) == (0, f"vinocast, version {__version__}\n")


@pytest.mark.slow
def test_the_module_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vinocast", "stdio"],
        input='{"op": "ping", "request_id": 1}\n',
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0
    assert orjson.loads(done.stdout)["default_model"] == MODEL


def imported(log: str) -> set[str]:
    """Top-level names of what a process that runs under ``-X importtime`` has imported."""
    return {name.partition(".")[0] for name in re.findall(r"^import time: .*\| +(\S+)$", log, re.MULTILINE)}


TRAINING_ROOM = {"torch", "transformers", "optimum", "nncf", "safetensors"}
WEB = {"fastapi", "starlette", "uvicorn", "uvloop"}
# What frames, clients, pictures and files of Parquet need.
EXTRAS = {"httpx", "matplotlib", "narwhals", "pandas", "plotly", "polars", "pyarrow", "rich", "tenacity", "websockets"}


def test_a_running_stdio_service_imports_no_web_framework_and_none_of_the_extras() -> None:
    window = packed(np.ones((512, 7), np.float32))
    with StdioService(env={"PYTHONPROFILEIMPORTTIME": "1"}) as service:
        timed = {**window, "quantile_levels": [0.1, 0.9], "start": "2026-01-31", "freq": "h"}
        for request in (window, timed, {"op": "ping"}, {"op": "stats"}, {"op": "none"}):
            service.ask(request)
        assert service.finish() == ([], 0)
        names = imported(service.log)
    assert {"openvino", "orjson", "vinocast"} <= names
    assert not names & (TRAINING_ROOM | EXTRAS | WEB)


@pytest.mark.slow
def test_a_running_http_service_imports_none_of_the_extras() -> None:
    window = orjson.dumps(packed(np.ones((512, 7), np.float32)))
    with HttpService(env={"PYTHONPROFILEIMPORTTIME": "1"}) as service:
        assert (
            httpx.post(
                f"{service.url}/forecast", content=window, headers={"Content-Type": "application/json"}
            ).status_code
            == 200
        )
        assert httpx.get(f"{service.url}/docs").status_code == 200
        names = imported(service.log)
    assert {"openvino", "fastapi", "uvicorn"} <= names
    assert not names & (TRAINING_ROOM | EXTRAS)
