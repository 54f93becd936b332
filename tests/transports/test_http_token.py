"""Who may ask over HTTP: strangers without the token."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import orjson
import pytest
from guarded import BEARER, EVIL, GIVEN, JSON, OPEN, OTHERS, ROUTES, TENSORS, TOKEN, ask, serving, two_cores
from support import PATIENCE, ROOT, HttpService, Service


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ([BEARER], "200"),
        ([f"authorization: bEARER  {TOKEN} "], "200"),
        ([], "unauthorized"),
        (["Authorization: "], "unauthorized"),
        (["Authorization: Bearer"], "unauthorized"),
        (["Authorization: Bearer "], "unauthorized"),
        ([f"Authorization: {TOKEN}"], "unauthorized"),
        ([f"Authorization: Basic {TOKEN}"], "unauthorized"),
        ([f"Authorization: Bearer {TOKEN[:-1]}"], "unauthorized"),
        ([f"Authorization: Bearer {TOKEN}x"], "unauthorized"),
        ([f"Authorization: Bearer {TOKEN.upper()}"], "unauthorized"),
        (["Authorization: Bearer \xfc\xfc"], "unauthorized"),
        ([f"Authorization: Bearer {TOKEN}, Bearer {TOKEN}"], "unauthorized"),
        (["Authorization: Bearer x", BEARER], "unauthorized"),
        ([BEARER, BEARER], "unauthorized"),
        ([f"X-Authorization: Bearer {TOKEN}"], "unauthorized"),
        ([f"Cookie: Authorization=Bearer {TOKEN}"], "unauthorized"),
    ],
)
def test_only_who_has_the_token_is_answered(guarded: tuple[int, Service], fields: list[str], outcome: str) -> None:
    port, service = guarded
    reply = ask(port, "Host: localhost", JSON, *fields)
    assert reply.outcome == outcome
    assert reply.headers.get("www-authenticate") == ("bearer" if outcome == "unauthorized" else None)
    for text in (reply.body.decode(), str(reply.headers), service.log):
        assert TOKEN not in text
        assert TOKEN.upper() not in text


@pytest.mark.parametrize(
    ("method", "target"),
    [
        *ROUTES,
        *OTHERS,
        ("GET", "/streams"),
        ("GET", "/nothing"),
        ("OPTIONS", "*"),
        ("GET", "/livez/"),
        ("GET", "/%6Civez"),
        ("GET", "//livez"),
        ("GET", "/livez%2F..%2Fstreams"),
        ("GET", "/livez/../streams"),
        ("GET", "http://localhost/streams"),
        ("GET", "http://localhost/livez/../streams"),
    ],
)
def test_without_the_token_no_route_can_be_told_from_one_that_is_not_there(
    guarded: tuple[int, Service], method: str, target: str
) -> None:
    assert ask(guarded[0], "Host: localhost", method=method, target=target, body=b"").outcome == "unauthorized"


@pytest.mark.parametrize(("method", "target"), TENSORS)
def test_nor_can_one_of_tensors(guarded: tuple[int, Service], method: str, target: str) -> None:
    reply = ask(guarded[0], "Host: localhost", method=method, target=target, body=b"")
    assert reply.status == 401
    said = "Authorization: expected Bearer and the token of this service, got none"
    assert orjson.loads(reply.body) == {"error": said}


@pytest.mark.parametrize("path", OPEN)
def test_health_and_the_documentation_need_no_token(guarded: tuple[int, Service], path: str) -> None:
    for target in (path, f"http://vino.example{path}", f"{path}?x"):
        reply = ask(guarded[0], "Host: localhost", method="GET", target=target, body=b"")
        assert reply.status == 200
        assert TOKEN.encode() not in reply.body


@pytest.mark.parametrize("target", ["/static-offline-docs/../streams", "/static-offline-docs/%2e%2e/streams"])
def test_no_way_leads_from_what_is_open_to_what_is_not(guarded: tuple[int, Service], target: str) -> None:
    assert ask(guarded[0], "Host: localhost", method="GET", target=target, body=b"").outcome == "not_found"


def test_the_documentation_lets_a_reader_give_the_token(guarded: tuple[int, Service], http: HttpService) -> None:
    schema = orjson.loads(ask(guarded[0], "Host: localhost", method="GET", target="/openapi.json", body=b"").body)
    assert schema["security"] == [{"token": []}]
    assert schema["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    assert "security" not in httpx.get(f"{http.url}/openapi.json").json()


def test_what_it_says_to_try_is_answered(guarded: tuple[int, Service], token_file: Path) -> None:
    _, service = guarded
    commands = re.findall(r"^  (curl .*)$", service.log, re.MULTILINE)
    assert len(commands) == 2
    assert all(str(token_file) in command for command in commands)
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, timeout=PATIENCE, check=True)
        assert orjson.loads(done.stdout)["success"] is True


ATTACKS = {
    "no token": ((), "401"),
    "a foreign page": ((BEARER, f"Origin: {EVIL}"), "403"),
    "a foreign name": ((BEARER,), "421"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("length", ["Content-Length: 8000000", "Transfer-Encoding: chunked"])
def test_who_is_refused_is_told_before_the_body_comes_and_cannot_send_for_ever(
    guarded: tuple[int, Service], attack: str, length: str
) -> None:
    port, service = guarded
    fields, status = ATTACKS[attack]
    name = "evil.example" if attack == "a foreign name" else "localhost"
    head = "\r\n".join(("POST /forecast HTTP/1.1", f"Host: {name}", JSON, "Expect: 100-continue", *fields, length))
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        with connection.makefile("rb") as stream:
            assert stream.readline().split()[1] == status.encode()  # and no 100
            rest = stream.read()  # to its end: the connection is closed though the body never came
        assert rest.lower().count(b"\r\nconnection: close\r\n") == 1
    assert "Traceback" not in service.log


def test_who_is_refused_reads_why_after_a_large_body_and_asks_again_without_one(guarded: tuple[int, Service]) -> None:
    port, _ = guarded
    assert ask(port, "Host: localhost", JSON, body=b" " * 7_000_000).outcome == "unauthorized"
    with httpx.Client() as client:
        for _ in range(3):
            reply = client.get(f"http://127.0.0.1:{port}/streams")
            assert (reply.status_code, "connection" in reply.headers) == (401, False)


def test_a_signal_while_a_refused_body_is_awaited_leaves_no_traceback() -> None:
    with HttpService() as service, socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
        connection.sendall(b"POST /forecast HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 9\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 421 ")
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        assert "Traceback" not in service.log


@pytest.mark.slow
@two_cores
def test_workers_ask_the_same_of_all(token_file: Path) -> None:
    options = ("--workers", "2", "--token-file", str(token_file), "--allowed-origins", GIVEN)
    with serving("127.0.0.1", *options) as (port, service):
        for _ in range(4):  # in turns
            assert ask(port, "Host: localhost", JSON).outcome == "unauthorized"
            assert ask(port, "Host: localhost", JSON, BEARER).outcome == "200"
            assert ask(port, "Host: evil.example", JSON, BEARER).outcome == "misdirected"
            assert ask(port, "Host: localhost", JSON, BEARER, f"Origin: {EVIL}").outcome == "forbidden"
            assert ask(port, "Host: localhost", method="GET", target="/livez", body=b"").outcome == "200"
            given = ask(port, "Host: localhost", JSON, BEARER, f"Origin: {GIVEN}")
            assert given.headers["access-control-allow-origin"] == GIVEN
        assert str(token_file) in service.log  # in what it says to try
        assert TOKEN not in service.log
        command = Path(f"/proc/{service.process.pid}/cmdline").read_bytes()
        assert TOKEN.encode() not in command


def test_the_token_may_be_in_a_variable_and_insecure_does_not_switch_it_off() -> None:
    with serving("127.0.0.1", "--insecure", env={"VINOCAST_TOKEN": TOKEN}) as (port, service):
        assert ask(port, "Host: localhost", JSON).outcome == "unauthorized"
        assert ask(port, "Host: localhost", JSON, BEARER).outcome == "200"
        # Insecure or not, here the name counts.
        assert ask(port, "Host: evil.example", JSON, BEARER).outcome == "misdirected"
        assert "nobody reads" not in service.log
        assert "Bearer $VINOCAST_TOKEN" in service.log
        assert TOKEN not in service.log
