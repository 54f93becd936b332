"""The image as its Dockerfile says: what the contract has of it, its context, the compose file, its health check."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from image_support import argument, free_port, health_check, instructions, wait_until_ready
from support import PATIENCE, ROOT
from vinocast import __version__


def test_stages_stand_on_the_agreed_base() -> None:
    bases = [value.split()[0] for name, value in instructions() if name == "FROM"]
    assert bases == ["python:3.11-slim-bookworm"] * 2


def test_runs_the_program_as_a_number_that_is_not_root() -> None:
    assert json.loads(argument("ENTRYPOINT")) == ["vinocast"]
    assert json.loads(argument("CMD")) == ["serve", "--host", "0.0.0.0", "--insecure"]
    assert argument("EXPOSE") == "8000"
    assert argument("STOPSIGNAL") == "SIGTERM"
    user, _, group = argument("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_installs_what_the_lock_file_pins_and_no_more() -> None:
    installs = [value for name, value in instructions() if name == "RUN" and " install " in value]
    assert all("--no-deps" in install for install in installs)
    assert "--require-hashes" in installs[0]
    assert "-r requirements/runtime.txt" in installs[0]


def test_label_names_the_version_of_the_package() -> None:
    assert f'org.opencontainers.image.version="{__version__}"' in argument("LABEL")


def test_context_holds_what_the_build_needs() -> None:
    first, *rest = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert first == "*"
    let_in = [line[1:] for line in rest if line.startswith("!")]
    assert all((ROOT / path).exists() for path in let_in)
    needed = {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "requirements/runtime.txt",
        "service",
        "models",
        "examples/glyphs.json",
        "examples/host.csv",
        "examples/window.json",
    }
    assert needed == set(let_in)


def test_no_registry_has_an_address_here() -> None:
    files = [
        ROOT / "Dockerfile",
        *(path for path in (ROOT / "deploy").rglob("*") if path.suffix in (".yaml", ".service")),
    ]
    for path in files:
        addresses = re.findall(r"https?://[^\s'\"]+|--(?:extra-)?index-url|--find-links", path.read_text())
        assert [address for address in addresses if "://127.0.0.1" not in address] == [], path


def test_compose_confines_the_service() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    service = compose["services"]["vinocast"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"][0].startswith("/tmp:")
    assert service["cpuset"]
    state, _, folder = service["volumes"][0].partition(":")
    assert state in compose["volumes"]
    assert service["environment"]["VINOCAST_STATE"] == folder
    assert ("RUN", f"install -d -o 10001 -g 10001 {folder}") in instructions()
    assert "cpus" not in service  # a quota: see docs/epyc.md
    assert service["mem_limit"] == service["memswap_limit"]
    assert service["restart"] == "unless-stopped"
    assert (ROOT / "deploy" / service["build"] / "Dockerfile").samefile(ROOT / "Dockerfile")
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def check_health(port: int | str) -> int:
    """Run the image's health check with what VINOCAST_PORT says, a port of this host; return its exit code."""
    environment = {**os.environ, "VINOCAST_PORT": str(port)}
    command = [sys.executable, *health_check()[1:]]
    return subprocess.run(command, env=environment, capture_output=True, timeout=10, check=False).returncode


def test_health_check_asks_the_default_port_where_the_variable_is_that_of_an_orchestrator() -> None:
    try:
        listener = socket.create_server(("127.0.0.1", 8000))
    except OSError:
        pytest.skip("port 8000 is taken")
    with listener, ThreadPoolExecutor(1) as pool:
        result = pool.submit(check_health, "tcp://10.43.7.62:8000")
        listener.settimeout(PATIENCE)
        client, _ = listener.accept()
        with client:
            assert client.recv(100).startswith(b"GET /readyz ")
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            assert result.result() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_health_check_is_0_when_ready_and_1_before(host: str) -> None:
    port = free_port()
    assert check_health(port) == 1  # nobody listens
    with socket.create_server(("127.0.0.1", port)) as listener, ThreadPoolExecutor(1) as pool:
        result = pool.submit(check_health, port)
        client, _ = listener.accept()
        with client:
            client.recv(100)
            client.sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
            assert result.result() == 1
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "vinocast", "serve", "--insecure", "--host", host, "--port", str(port)],
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_until_ready(port, process)
            assert check_health(port) == 0
        finally:
            process.terminate()


@pytest.mark.parametrize("arguments", [[], ["serve"]], ids=["its own command", "another"])
def test_the_image_starts_without_a_token_and_whoever_reaches_the_port_may_ask(arguments: list[str]) -> None:
    variables = dict(re.findall(r"(VINOCAST_\w+)=(\S+)", argument("ENV")))
    port = free_port()
    command = [sys.executable, "-m", "vinocast", *(arguments or json.loads(argument("CMD"))), "--port", str(port)]
    with subprocess.Popen(command, env=os.environ | variables, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_ready(port, process)
            # As through a published port, or by the name of a Kubernetes service.
            request = urllib.request.Request(f"http://127.0.0.1:{port}/streams", headers={"Host": "vinocast.apps.svc"})
            with urllib.request.urlopen(request, timeout=10) as reply:
                assert reply.status == 200
        finally:
            process.terminate()
