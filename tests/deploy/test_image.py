"""The image: what the contract says of its Dockerfile, its health check, and, where asked for, a real build and run.

The last needs ../shared/tools/build-image, root, a few minutes, and VINOCAST_TEST_IMAGE=1.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from vinocast import __version__

ROOT = Path(__file__).resolve().parents[2]
BUILD_IMAGE = ROOT.parent / "shared" / "tools" / "build-image"
IMAGE = "vinocast-test"
START_SECONDS = 30


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile in order, continuation lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name, argument.strip()) for name, argument in lines]


def argument(name: str) -> str:
    """Return the argument of the last instruction of that name."""
    return [value for instruction, value in instructions() if instruction == name][-1]


def health_check() -> list[str]:
    """Return the command of the image's health check."""
    command: list[str] = json.loads(argument("HEALTHCHECK").partition("CMD")[2])
    return command


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


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def check_health(port: int | str) -> int:
    """Run the image's health check with what VINOCAST_PORT says, a port of this host; return its exit code."""
    environment = {**os.environ, "VINOCAST_PORT": str(port)}
    command = [sys.executable, *health_check()[1:]]
    return subprocess.run(command, env=environment, capture_output=True, timeout=10, check=False).returncode


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"not ready after {START_SECONDS} s")


def test_health_check_asks_the_default_port_where_the_variable_is_that_of_an_orchestrator() -> None:
    try:
        listener = socket.create_server(("127.0.0.1", 8000))
    except OSError:
        pytest.skip("port 8000 is taken")
    with listener, ThreadPoolExecutor(1) as pool:
        result = pool.submit(check_health, "tcp://10.43.7.62:8000")
        listener.settimeout(START_SECONDS)
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


real = pytest.mark.skipif(
    not BUILD_IMAGE.exists() or os.environ.get("VINOCAST_TEST_IMAGE") != "1",
    reason="builds an image: needs ../shared/tools/build-image, root and VINOCAST_TEST_IMAGE=1",
)


@pytest.fixture(scope="session")
def image() -> str:
    """Build the image in the format that keeps a health check, which Docker's own builder always does."""
    subprocess.run(
        [str(BUILD_IMAGE), "-t", IMAGE, "."], cwd=ROOT, env={**os.environ, "BUILDAH_FORMAT": "docker"}, check=True
    )
    return IMAGE


def image_command(image: str, *arguments: str, entrypoint: str | None = None) -> list[str]:
    program = ["--entrypoint", entrypoint] if entrypoint else []
    return [str(BUILD_IMAGE), "--run", *program, image, *arguments]


def program_of(process: subprocess.Popen[bytes]) -> Path:
    """Return the /proc folder of the last descendant of a run: the program itself, not the tools around it."""
    pid = process.pid
    while children := [
        child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]:
        pid = int(children[-1])
    return Path(f"/proc/{pid}")


def forecast_line(window: NDArray[np.float32], request_id: int) -> bytes:
    encoded = base64.b64encode(window.tobytes()).decode()
    return json.dumps({"request_id": request_id, "past_values_b64": encoded, "shape": window.shape}).encode()


def post_forecast(port: int, body: bytes) -> dict[str, object]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/forecast", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        answer: dict[str, object] = json.loads(reply.read())
    return answer


@pytest.fixture
def served(image: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run the image's HTTP service on a free port, ready."""
    port = free_port()
    with subprocess.Popen(image_command(image, "serve", "--port", str(port))) as process:
        try:
            wait_until_ready(port, process)
            yield port, process
        finally:
            process.terminate()


@real
def test_image_serves_without_root_and_writes_only_to_tmp(
    served: tuple[int, subprocess.Popen[bytes]], image: str, window: NDArray[np.float32]
) -> None:
    port, process = served
    program = program_of(process)
    started = program.stat().st_mtime
    assert post_forecast(port, forecast_line(window, 1))["success"] is True
    status = (program / "status").read_text()
    assert re.search(r"^Uid:\t10001\t10001\t10001\t10001$", status, re.MULTILINE)
    changed = subprocess.run(
        ["find", f"{program / 'root'}/", "-xdev", "-newermt", f"@{started:.3f}", "-not", "-path", "*/tmp*"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert changed == ""
    for probed, code in ((port, 0), (free_port(), 1)):
        arguments = [f"VINOCAST_PORT={probed}", *health_check()]
        assert subprocess.run(image_command(image, *arguments, entrypoint="env"), check=False).returncode == code


@real
def test_image_answers_what_it_accepted_and_stops_at_sigterm(
    served: tuple[int, subprocess.Popen[bytes]], window: NDArray[np.float32]
) -> None:
    port, process = served
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(32)]
    body = forecast_line(window, 1)
    fields = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    head = f"POST /forecast HTTP/1.1\r\n{fields}"
    for connection in connections:
        connection.sendall(head.encode() + body)
    connections[0].recv(1, socket.MSG_PEEK)  # the first is answered, the others wait for their turn
    program = program_of(process)
    asked = time.monotonic()
    os.kill(int(program.name), signal.SIGTERM)
    for connection in connections:
        with connection, connection.makefile("rb") as reply:
            assert reply.readline() == b"HTTP/1.1 200 OK\r\n"
    while program.exists():
        assert time.monotonic() - asked < 5
        time.sleep(0.01)
    assert process.wait() == 0


@real
def test_image_speaks_lines_and_answers_before_it_stops(image: str, window: NDArray[np.float32]) -> None:
    lines = [forecast_line(window, number) for number in range(3)]
    ended = subprocess.run(
        image_command(image, "stdio"), input=b"\n".join(lines), capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 0
    assert [json.loads(line)["success"] for line in ended.stdout.splitlines()] == [True] * 3
    with subprocess.Popen(image_command(image, "stdio"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b'{"op": "ping"}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["ready"] is True
        program = program_of(process)
        process.stdin.write(b"\n".join(lines) + b"\n")
        process.stdin.flush()
        os.kill(int(program.name), signal.SIGTERM)
        asked = time.monotonic()
        assert {json.loads(line)["request_id"] for line in process.stdout} == {0, 1, 2}
        assert process.wait() == 0
        assert time.monotonic() - asked < 5


@real
def test_image_holds_no_tools_and_no_telemetry(image: str) -> None:
    look = "for f in gcc cc pip; do test ! -e /opt/vinocast/bin/$f || echo $f; done; ls /opt/vinocast/bin"
    listed = subprocess.run(
        image_command(image, "-c", look, entrypoint="sh"), capture_output=True, text=True, check=True
    )
    assert [name for name in listed.stdout.split() if not name.startswith("python")] == ["vinocast"]
    absent = ["torch", "transformers", "pip", "openvino_telemetry"]
    find = f"import importlib.util as u; print([n for n in {absent} if u.find_spec(n)])"
    found = subprocess.run(
        image_command(image, "-c", find, entrypoint="/opt/vinocast/bin/python"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"
