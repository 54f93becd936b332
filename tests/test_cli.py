"""The command line: help for every command, an environment variable for every option, exit codes, what is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import httpx
import numpy as np
import orjson
import pytest
from support import MODEL, ROOT, HttpService, RunVinocast, StdioService, copy_model, packed

from service import __version__
from service.cli import main


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
    assert done.stdout.startswith(f"Usage: vinocast {' '.join(path)} ")
    text = re.sub(r"\s+", "", done.stdout)
    for option in command.params:
        if not isinstance(option, click.Option) or option.name == "help":
            continue
        assert option.help, option.name
        assert option.opts[0] in text
        assert f"envvar:VINOCAST_{option.opts[0].lstrip('-').replace('-', '_').upper()}" in text


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
    assert "--port" in done.stderr


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
        pytest.param(["stdio", "--log-level", "loud"], id="an unknown level"),
    ],
)
def test_wrong_usage_ends_with_code_2_and_says_what_is_wrong(run_vinocast: RunVinocast, arguments: list[str]) -> None:
    done = run_vinocast(*arguments, input="", timeout=20)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert done.stdout == ""


def test_the_version_is_the_packages(run_vinocast: RunVinocast) -> None:
    done = run_vinocast("--version")
    assert (done.returncode, done.stdout) == (0, f"vinocast, version {__version__}\n")


def test_the_module_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service", "stdio"],
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
WEB = {"fastapi", "starlette", "uvicorn", "uvloop", "httptools", "httpx"}


def test_a_running_stdio_service_imports_no_web_framework_and_nothing_of_the_training_room() -> None:
    window = packed(np.ones((512, 7), np.float32))
    with StdioService(env={"PYTHONPROFILEIMPORTTIME": "1"}) as service:
        for request in (window, {"op": "ping"}, {"op": "stats"}, {"op": "none"}):
            service.ask(request)
        assert service.finish() == ([], 0)
        names = imported(service.log)
    assert {"openvino", "orjson", "service"} <= names
    assert not names & (TRAINING_ROOM | WEB)


def test_a_running_http_service_imports_nothing_of_the_training_room() -> None:
    window = orjson.dumps(packed(np.ones((512, 7), np.float32)))
    with HttpService(env={"PYTHONPROFILEIMPORTTIME": "1"}) as service:
        assert httpx.post(f"{service.url}/forecast", content=window).status_code == 200
        assert httpx.get(f"{service.url}/docs").status_code == 200
        names = imported(service.log)
    assert {"openvino", "fastapi", "uvicorn"} <= names
    assert not names & TRAINING_ROOM
