"""What the tests of who may ask over HTTP share: a token, names, requests made by hand, services to ask."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from support import PATIENCE, ROOT, VINOCAST, Service, error_of, wait_until
from vinocast.errors import ForbiddenError, MisdirectedError, UnauthorizedError
from vinocast.ops import OPS

TOKEN = "correct-horse_battery.staple~0123456789+/=="
EVIL = "http://evil.example"
GIVEN = "https://app.example"
WINDOW = (ROOT / "examples" / "window.json").read_bytes()
ROUTES = [
    (op.route.method, op.route.path.replace("{stream}", "guarded")) for op in OPS.values() if op.route is not None
]
# Of other standards, which let a request leave out what its body is.
OTHERS = [("POST", "/v1/timeseries/forecast"), ("GET", "/v1/timeseries/models"), ("POST", "/invocations")]
CODES = {kind.status: kind.code for kind in (UnauthorizedError, ForbiddenError, MisdirectedError)}
# Of the Open Inference Protocol, whose refusals have a form of their own.
TENSORS = [
    ("GET", "/v2"),
    ("GET", "/v2/models/patchtst-etth1"),
    ("POST", "/v2/models/patchtst-etth1/infer"),
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/none/load"),
    ("POST", "/v2/repository/models/none/unload"),
    ("GET", "/v2/nothing"),
]
HEALTH = ["/livez", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready"]
OPEN = [*HEALTH, "/docs", "/redoc", "/openapi.json", "/static-offline-docs/swagger-ui.css"]

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


class Reply:
    """What came back on a connection of its own."""

    def __init__(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            self.status = int(stream.readline().split()[1])
            lines = iter(stream.readline, b"\r\n")
            self.headers = dict(line.decode().rstrip().lower().split(": ", 1) for line in lines)
            self.body = stream.read(int(self.headers.get("content-length", "0")))

    @property
    def outcome(self) -> str:
        """The code of a refusal, which the Open Inference Protocol tells by the status alone; else the status."""
        if self.status < 400:
            return str(self.status)
        body = orjson.loads(self.body)
        if set(body) == {"error"} and isinstance(body["error"], str):
            return CODES[self.status]
        return error_of(body)[0]


def ask(
    port: int,
    *fields: str,
    method: str = "POST",
    target: str = "/forecast",
    body: bytes = WINDOW,
    address: str = "127.0.0.1",
) -> Reply:
    """Send a request with these header fields, and the length of the body where there is one."""
    if body:
        fields = (*fields, f"Content-Length: {len(body)}")
    head = "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", *fields))
    with socket.create_connection((address, port), PATIENCE) as connection:
        connection.sendall(head.encode("latin-1") + b"\r\n" + body)
        return Reply(connection)


@contextlib.contextmanager
def serving(host: str, *options: str | Path, env: dict[str, str] | None = None) -> Iterator[tuple[int, Service]]:
    """Run a service on a host until it is ready; its port, and itself."""
    with Service(VINOCAST, "serve", "--host", host, "--port", "0", *options, env=env) as service:
        listening = re.compile(r"running on http://\S+:(\d+)\n")
        wait_until(lambda: listening.search(service.log) or service.process.poll() is not None, "listening")
        found = listening.search(service.log)
        assert found, service.log
        wait_until(lambda: "is ready on" in service.log, "ready")
        yield int(found[1]), service


JSON = "Content-Type: application/json"
BEARER = f"Authorization: Bearer {TOKEN}"
