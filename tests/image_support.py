"""The Dockerfile as it is written, and a service of its image on a port of this host."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from support import PATIENCE, ROOT


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


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"not ready after {PATIENCE:g} s")
