"""HTTP below the routes: targets of every form, what is no HTTP, and that none of it reaches the log."""

from __future__ import annotations

import socket
import time

import orjson
import pytest
from support import PATIENCE, HttpService, Window, error_of, packed, wait_until

HOST = b"\r\nHost: localhost"
CHUNKED = b"Content-Type: application/json\r\nTransfer-Encoding: chunked"


def ask(port: int, request: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """Send bytes as they are; return status, headers and body of the answer."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection, connection.makefile("rb") as stream:
        connection.sendall(request)
        status = int(stream.readline().split()[1])
        headers = dict(line.rstrip().lower().split(b": ", 1) for line in iter(stream.readline, b"\r\n"))
        return status, headers, stream.read(int(headers.get(b"content-length", b"0")))


def refused(answer: tuple[int, dict[bytes, bytes], bytes]) -> tuple[int, str]:
    status, headers, body = answer
    assert headers[b"content-type"] == b"application/json"
    code, _ = error_of(orjson.loads(body))
    return status, code


def post_row(target: bytes) -> bytes:
    body = b'{"values":[1,2,3,4,5,6,7]}'
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (target, len(body)) + body


@pytest.mark.parametrize(
    "target", [b"http://localhost/readyz", b"HTTP://LocalHost:80/readyz?x", b"https://user@[::1]:8/readyz"]
)
def test_an_absolute_target_is_the_path_in_it(http: HttpService, target: bytes) -> None:
    status, _, body = ask(http.port, b"GET %s HTTP/1.1%s\r\n\r\n" % (target, HOST))
    assert (status, orjson.loads(body)["ready"]) == (200, True)


def test_an_absolute_target_without_a_path_is_the_root(http: HttpService) -> None:
    status, _, body = ask(http.port, b"GET http://localhost HTTP/1.1%s\r\n\r\n" % HOST)
    assert status == 404
    assert "no route /;" in orjson.loads(body)["error"]["message"]


def test_options_of_the_whole_server_are_its_methods(http: HttpService) -> None:
    status, headers, _ = ask(http.port, b"OPTIONS * HTTP/1.1%s\r\n\r\n" % HOST)
    assert status == 204
    assert b"post" in headers[b"allow"]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (b"/streams/Z%C3%BCrich/observations", "Zürich"),
        (b"http://localhost/streams/Z%c3%bcrich/observations", "Zürich"),
        (b"/streams/a%25b%2Fc%20d/observations", "a%b/c d"),
    ],
)
def test_a_name_in_a_path_is_percent_encoded_utf_8(http: HttpService, target: bytes, name: str) -> None:
    status, _, body = ask(http.port, post_row(target))
    assert (status, orjson.loads(body)["stream"]) == (200, name)


@pytest.mark.parametrize("name", [b"Z%FCrich", b"Z%E4rich", b"%ED%A0%80", b"100%", b"%zz", b"a%00b"])
def test_a_name_in_a_path_that_is_no_text_is_refused(http: HttpService, name: bytes) -> None:
    assert refused(ask(http.port, post_row(b"/streams/%s/observations" % name))) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        pytest.param(b"garbage\r\n\r\n", (400, "invalid_request"), id="garbage"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400, "invalid_request"), id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, "invalid_request"), id="HTTP/2"),
        pytest.param(b"GET /livez HTTP/1.1\r\n\r\n", (400, "invalid_request"), id="no Host"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400, "invalid_request"), id="two Hosts"),
        pytest.param(b"GET /\xfc HTTP/1.1" + HOST + b"\r\n\r\n", (400, "invalid_request"), id="a raw byte"),
        pytest.param(b"GET /livez HTTP/1.1" + HOST + b"\r\nA: " + b"b" * 50_000, (431, "invalid_request"), id="head"),
        pytest.param(
            b"POST /forecast HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: gzip\r\n\r\n",
            (501, "invalid_request"),
            id="coding",
        ),
        pytest.param(
            b"POST /forecast HTTP/1.1" + HOST + b"\r\n" + CHUNKED + b"\r\n\r\nno size\r\n",
            (400, "invalid_request"),
            id="chunk",
        ),
        pytest.param(b"GET * HTTP/1.1" + HOST + b"\r\n\r\n", (400, "invalid_request"), id="asterisk"),
        pytest.param(b"GET host:80 HTTP/1.1" + HOST + b"\r\n\r\n", (400, "invalid_request"), id="authority"),
        pytest.param(b"GET ftp://host/ HTTP/1.1" + HOST + b"\r\n\r\n", (400, "invalid_request"), id="scheme"),
        pytest.param(b"CONNECT host:443 HTTP/1.1" + HOST + b"\r\n\r\n", (405, "method_not_allowed"), id="CONNECT"),
        pytest.param(b"GET //livez HTTP/1.1" + HOST + b"\r\n\r\n", (404, "not_found"), id="//livez"),
        pytest.param(b"GET /x HTTP/1.1\r\nHost: [\r\n\r\n", (421, "misdirected"), id="a Host that is none"),
        pytest.param(b"GET /static-offline-docs/%00 HTTP/1.1" + HOST + b"\r\n\r\n", (400, "invalid_request"), id="NUL"),
        pytest.param(
            b"GET /static-offline-docs/" + b"a" * 300 + b" HTTP/1.1" + HOST + b"\r\n\r\n", (404, "not_found"), id="long"
        ),
    ],
)
def test_what_no_route_can_take_is_refused_in_the_envelope_and_not_logged(
    http: HttpService, request_bytes: bytes, answer: tuple[int, str]
) -> None:
    before = http.said
    assert refused(ask(http.port, request_bytes)) == answer
    assert ask(http.port, b"GET /livez HTTP/1.0\r\n\r\n")[0] == 200
    assert http.said == before


def test_a_client_that_sends_on_after_a_head_that_is_too_long_reads_the_answer(http: HttpService) -> None:
    with socket.create_connection(("127.0.0.1", http.port), PATIENCE) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 20_000)
        for _ in range(20):
            connection.sendall(b"b" * 100_000)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            assert stream.readline().split()[1] == b"431"
            assert b'"invalid_request"' in stream.read()


@pytest.mark.parametrize(
    "upgrade",
    [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==",
    ],
    ids=["h2c", "websocket"],
)
def test_an_offered_upgrade_is_answered_without_a_line_in_the_log(
    http: HttpService, upgrade: str, window: Window
) -> None:
    before, body = http.said, orjson.dumps(packed(window))
    head = f"POST /forecast HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\nContent-Type: application/json\r\n"
    status, _, reply = ask(http.port, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert (status, orjson.loads(reply)["success"]) == (200, True)
    assert http.said == before


@pytest.mark.slow
def test_a_connection_is_kept_alive_for_as_long_as_the_setting_says() -> None:
    with (
        HttpService("--keep-alive-seconds", "1") as service,
        socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection,
    ):
        start = time.monotonic()
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while connection.recv(65536):
            pass
        assert time.monotonic() - start > 0.9
    with HttpService() as service, socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: connection.recv(65536, socket.MSG_PEEK).endswith(b"}"), "the answer")
        connection.recv(65536)
        connection.settimeout(7)  # uvicorn's own is 5
        with pytest.raises(TimeoutError):
            connection.recv(1)
