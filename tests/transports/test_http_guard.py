"""Who may ask over HTTP: web pages, and names that were pointed here."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest
from guarded import BEARER, EVIL, GIVEN, JSON, OPEN, ROUTES, Reply, ask, serving
from support import PATIENCE, HttpService, Service

NAMES_ON_LOOPBACK = [
    ("localhost", "200"),
    ("LOCALHOST:80", "200"),
    ("localhost.:1", "200"),
    ("localhost:65535", "200"),
    ("127.0.0.1", "200"),
    ("127.9.9.9:8000", "200"),
    ("[::1]:8000", "200"),
    ("[::ffff:127.0.0.1]", "200"),
    ("evil.example", "misdirected"),
    ("evil.example:8000", "misdirected"),
    ("localhost.evil.example", "misdirected"),
    ("127.0.0.1.evil.example", "misdirected"),
    ("evil.example@localhost", "misdirected"),
    ("localhost@evil.example", "misdirected"),
    ("localhost:80:80", "misdirected"),
    ("localhost,evil.example", "misdirected"),
    ("10.0.0.1", "misdirected"),
    ("0.0.0.0", "misdirected"),
    ("2130706433", "misdirected"),
    ("[::]", "misdirected"),
    ("[", "misdirected"),
    ("", "misdirected"),
]


@pytest.mark.parametrize(("name", "outcome"), NAMES_ON_LOOPBACK)
def test_on_the_loopback_only_its_own_names_are_answered(http: HttpService, name: str, outcome: str) -> None:
    assert ask(http.port, f"Host: {name}", JSON).outcome == outcome
    for path in OPEN:
        reply = ask(http.port, f"Host: {name}", method="GET", target=path, body=b"")
        assert reply.outcome == outcome


@pytest.mark.parametrize("name", ["evil.example", "[", "10.0.0.1", ""])
def test_elsewhere_any_name_is_answered_unless_names_are_given(anywhere: int, name: str) -> None:
    assert ask(anywhere, f"Host: {name}", JSON).outcome == "200"


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("vino.example", "200"),
        ("VINO.example:443", "200"),
        ("a.inner.example", "200"),
        ("a.b.inner.example:8000", "200"),
        ("localhost:8000", "200"),
        ("127.0.0.1", "200"),
        ("inner.example", "misdirected"),
        ("xinner.example", "misdirected"),
        ("*.inner.example", "misdirected"),
        ("vino.example.evil.example", "misdirected"),
        ("10.0.0.1", "misdirected"),
    ],
)
def test_where_names_are_given_those_and_the_own_are_answered(
    guarded: tuple[int, Service], name: str, outcome: str
) -> None:
    assert ask(guarded[0], f"Host: {name}", JSON, BEARER).outcome == outcome


def test_a_probe_by_the_address_that_it_connects_to_is_answered_where_names_are_given(token_file: Path) -> None:
    # As the kubelet asks a pod. The loopback would be ours anyway, so this takes another address, where there is one.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outwards:
        try:
            outwards.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("no address but the loopback's")
        address: str = outwards.getsockname()[0]
    for host in ("0.0.0.0", "::"):
        with serving(host, "--token-file", token_file, "--allowed-hosts", "vino.example") as (port, _):
            for name, outcome in ((f"{address}:{port}", "200"), ("10.255.255.254", "misdirected")):
                reply = ask(port, f"Host: {name}", method="GET", target="/livez", body=b"", address=address)
                assert reply.outcome == outcome


def test_the_host_in_a_target_counts_in_place_of_the_header(http: HttpService) -> None:
    def get(target: str, host: str) -> str:
        return ask(http.port, f"Host: {host}", method="GET", target=target, body=b"").outcome

    assert get("http://localhost/livez", "evil.example") == "200"
    assert get("http://evil.example/livez", "localhost") == "misdirected"
    assert get("http://localhost@evil.example/livez", "localhost") == "misdirected"


def test_a_request_of_the_old_version_without_a_host_is_answered(http: HttpService) -> None:
    with socket.create_connection(("127.0.0.1", http.port), PATIENCE) as connection:
        connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert Reply(connection).status == 200


ORIGINS_ON_LOOPBACK = [
    ("127.0.0.1:8000", "http://127.0.0.1:8000", "200"),
    ("127.0.0.1:8000", "http://localhost:8000", "200"),
    ("localhost:8000", "http://[::1]:8000", "200"),
    ("localhost", "http://localhost:80", "200"),
    ("localhost:9000", "http://localhost:9000", "200"),  # a tunnel
    ("127.0.0.1:8000", EVIL, "forbidden"),
    ("127.0.0.1:8000", "null", "forbidden"),
    ("127.0.0.1:8000", "", "forbidden"),
    ("127.0.0.1:8000", "http://127.0.0.1:3000", "forbidden"),
    ("127.0.0.1:8000", "http://localhost", "forbidden"),
    ("127.0.0.1:8000", "https://127.0.0.1:8000", "forbidden"),
    ("127.0.0.1:8000", "file://127.0.0.1:8000", "forbidden"),
    ("127.0.0.1:8000", "127.0.0.1:8000", "forbidden"),
    ("127.0.0.1:8000", "http://127.0.0.1:8000.evil.example", "forbidden"),
    ("127.0.0.1:8000", "http://evil.example#http://127.0.0.1:8000", "forbidden"),
    # By rebinding, page and host are one.
    ("evil.example:8000", "http://evil.example:8000", "misdirected"),
]


@pytest.mark.parametrize(("host", "origin", "outcome"), ORIGINS_ON_LOOPBACK)
def test_only_pages_of_its_own_may_ask(http: HttpService, host: str, origin: str, outcome: str) -> None:
    assert ask(http.port, f"Host: {host}", f"Origin: {origin}", JSON).outcome == outcome
    for path in OPEN:
        assert ask(http.port, f"Host: {host}", f"Origin: {origin}", method="GET", target=path, body=b"").outcome == (
            outcome
        )


def test_elsewhere_only_pages_of_the_very_host_may_ask(anywhere: int) -> None:
    def outcome(origin: str) -> str:
        return ask(anywhere, "Host: vino.example:8000", f"Origin: {origin}", JSON).outcome

    assert outcome("http://vino.example:8000") == "200"
    assert outcome(EVIL) == outcome("null") == outcome("http://localhost:8000") == "forbidden"


def test_one_good_origin_does_not_let_another_in(http: HttpService) -> None:
    good, bad = f"Origin: http://localhost:{http.port}", f"Origin: {EVIL}"
    for pair in ((good, bad), (bad, good)):
        assert ask(http.port, f"Host: localhost:{http.port}", *pair, JSON).outcome == "forbidden"


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_takes_what_a_form_can_send(http: HttpService, method: str, path: str) -> None:
    """Were there no Origin, as old browsers left it out, the type of the body still says who sends it."""
    for kind in (
        "text/plain",
        "text/plain; charset=application/json",
        "text/plain;x=/+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
    ):
        for fields in ([f"Content-Type: {kind}"], []):
            reply = ask(http.port, "Host: localhost", *fields, method=method, target=path)
            assert reply.outcome == "unsupported_media_type", (kind, reply.body)
    assert ask(http.port, "Host: localhost", f"Origin: {EVIL}", method=method, target=path).outcome == "forbidden"
    assert httpx.get(f"{http.url}/streams").json() == {"streams": []}


def test_a_page_of_a_stranger_gets_no_leave_to_ask(http: HttpService) -> None:
    for method in ("POST", "DELETE", "GET"):
        reply = ask(
            http.port,
            "Host: localhost",
            f"Origin: {EVIL}",
            f"Access-Control-Request-Method: {method}",
            "Access-Control-Request-Headers: content-type",
            "Access-Control-Request-Private-Network: true",
            method="OPTIONS",
            body=b"",
        )
        assert reply.outcome == "forbidden"
        assert not [name for name in reply.headers if name.startswith("access-control-")]


def test_a_page_of_a_given_origin_may_ask_with_the_token(guarded: tuple[int, Service]) -> None:
    port, _ = guarded
    host, origin = "Host: vino.example", f"Origin: {GIVEN}"
    leave = ask(
        port,
        host,
        origin,
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,content-type",
        method="OPTIONS",
        body=b"",
    )
    assert leave.status == 200
    assert leave.headers["access-control-allow-origin"] == GIVEN
    assert "post" in leave.headers["access-control-allow-methods"]
    assert leave.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "access-control-allow-credentials" not in leave.headers
    answered = ask(port, host, origin, BEARER, JSON)
    assert answered.outcome == "200"
    # It may also read why it was refused.
    refused = ask(port, host, origin, JSON)
    assert refused.outcome == "unauthorized"
    for reply in (answered, refused):
        assert reply.headers["access-control-allow-origin"] == GIVEN
        assert reply.headers["vary"] == "origin"
    for other in (EVIL, "http://app.example", f"{GIVEN}:8443", f"{GIVEN}.evil.example", "https://xapp.example", "null"):
        reply = ask(port, host, f"Origin: {other}", BEARER, JSON)
        assert (reply.outcome, "access-control-allow-origin" in reply.headers) == ("forbidden", False)


def test_a_page_of_a_given_origin_is_answered_as_it_writes_it(guarded: tuple[int, Service]) -> None:
    port, _ = guarded
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(
            b"OPTIONS /forecast HTTP/1.1\r\nHost: vino.example\r\nOrigin: HTTPS://App.EXAMPLE\r\n"
            b"Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n"
        )
        reply = connection.recv(65536)
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert b"access-control-allow-origin: HTTPS://App.EXAMPLE\r\n" in reply
    answered = ask(port, "Host: vino.example", "Origin: HTTPS://App.EXAMPLE", BEARER, JSON)
    assert (answered.outcome, answered.headers["access-control-allow-origin"]) == ("200", GIVEN)


@pytest.mark.parametrize("method", ["PUT", "post", "\xfc", ""])
def test_a_page_that_would_ask_by_a_method_that_is_none_is_refused_in_the_envelope(
    guarded: tuple[int, Service], method: str
) -> None:
    port, _ = guarded
    asked = f"Access-Control-Request-Method: {method}"
    reply = ask(port, "Host: vino.example", f"Origin: {GIVEN}", asked, method="OPTIONS", body=b"")
    assert (reply.status, reply.outcome) == (403, "forbidden")
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["access-control-allow-origin"] == GIVEN
    assert "origin" in reply.headers["vary"].split(", ")


def test_without_an_origin_nothing_is_said_of_origins(guarded: tuple[int, Service]) -> None:
    headers = ask(guarded[0], "Host: localhost", BEARER, JSON).headers
    assert not [name for name in headers if name == "vary" or name.startswith("access-control-")]
