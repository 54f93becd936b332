"""The image built and run for real, where that is asked for: it serves without root, is operated, and stops.

Needs ../shared/tools/build-image, root, a few minutes, and VINOCAST_TEST_IMAGE=1.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from image_support import free_port, health_check, wait_until_ready
from market_wire import NOON, STREAM, candles, match
from numpy.typing import NDArray
from support import ROOT, wait_until

BUILD_IMAGE = ROOT.parent / "shared" / "tools" / "build-image"
IMAGE = "vinocast-test"

pytestmark = pytest.mark.skipif(
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


@contextmanager
def running(command: list[str], port: int, **streams: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of the image that serves on a port, ready; it is ended at the end."""
    with subprocess.Popen(command, **streams) as process:  # type: ignore[call-overload]
        try:
            wait_until_ready(port, process)
            yield process
        finally:
            process.terminate()


@pytest.fixture
def served(image: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run the image's HTTP service on a free port, ready."""
    port = free_port()
    with running(image_command(image, "serve", "--port", str(port)), port) as process:
        yield port, process


def test_image_serves_without_root_and_writes_only_to_tmp(
    served: tuple[int, subprocess.Popen[bytes]], image: str, window: NDArray[np.float32]
) -> None:
    port, process = served
    program = program_of(process)
    started = program.stat().st_mtime
    body, json_text = forecast_line(window, 1), {"Content-Type": "application/json"}
    assert httpx.post(f"http://127.0.0.1:{port}/forecast", content=body, headers=json_text).json()["success"] is True
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


def test_image_is_operated_as_any_service_is(image: str, tmp_path: Path) -> None:
    port, state = free_port(), ["--state", "/state", "--state-seconds", "1"]
    url = f"http://127.0.0.1:{port}"
    arguments = ["serve", "--port", str(port), *state]
    with running(image_command(image, *arguments), port) as process, httpx.Client(base_url=url) as client:
        glyphs = json.loads((ROOT / "examples" / "glyphs.json").read_text())
        wait_until(lambda: client.post("/glyphs", json=glyphs).status_code == 200, "glyphs")
        # A market: bars of what is fed, and a forecast of them, whose channels TA-Lib makes.
        given = {"candles": candles(600, start=NOON - 600 * 300)}
        assert client.post(f"/streams/{STREAM}/history", json=given).status_code == 200
        messages = [match(1, NOON + 10, 65_000), match(2, NOON + 20, 65_010), match(3, NOON + 310, 65_020)]
        assert client.post("/feed", json={"messages": messages}).json()["counts"]["used"] == 3
        closed, last = client.get(f"/streams/{STREAM}/bars", params={"last": 2}).json()["bars"]
        assert closed[:6] == [NOON, 65_000, 65_010, 65_000, 65_010, 2]
        assert last[6] == "open"
        expected = client.post("/forecast", json={"stream": STREAM}).json()
        assert len(expected["predictions"][0]) == len(expected["channels"]) > 4
        page = client.get("/metrics").text
        assert re.search(r'^vinocast_requests_total{.*op="glyphs".*} [1-9]', page, re.MULTILINE)
        program = program_of(process)
        os.kill(int(program.name), signal.SIGHUP)
        kept = program / "root" / "state" / "streams"
        written = kept.stat().st_mtime_ns if kept.exists() else 0
        wait_until(lambda: kept.exists() and kept.stat().st_mtime_ns > written, "a snapshot")
        assert (kept.stat().st_uid, kept.stat().st_gid) == (10001, 10001)
        assert client.get("/readyz").status_code == 200
        backup = kept.read_bytes()
    # Another container with what was kept, as a volume has it.
    restored = f"cat > /state/streams && exec vinocast {' '.join(arguments)} < /dev/null"
    file = tmp_path / "streams"
    file.write_bytes(backup)
    with (
        file.open("rb") as text,
        running(image_command(image, "-c", restored, entrypoint="sh"), port, stdin=text),
    ):
        answer = httpx.post(f"{url}/forecast", json={"stream": STREAM}).json()
    assert answer["predictions"] == expected["predictions"]


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
