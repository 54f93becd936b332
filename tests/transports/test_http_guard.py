"""Who may ask over HTTP: web pages, names that were pointed here, strangers without the token; refused starts."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest
from support import PATIENCE, ROOT, VINOCAST, HttpService, RunVinocast, Service, error_of, wait_until
from vinocast.ops import OPS

TOKEN = "correct-horse_battery.staple~0123456789+/=="
EVIL = "http://evil.example"
GIVEN = "https://app.example"
WINDOW = (ROOT / "examples" / "window.json").read_bytes()
ROUTES = [
    (op.route.method, op.route.path.replace("{stream}", "guarded")) for op in OPS.values() if op.route is not None
]
OPEN = ["/livez", "/readyz", "/docs", "/redoc", "/openapi.json", "/static-offline-docs/swagger-ui.css"]

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
        """The code of a refusal, else the status."""
        return error_of(orjson.loads(self.body))[0] if self.status >= 400 else str(self.status)


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


@pytest.fixture(scope="module")
def anywhere() -> Iterator[int]:
    """The port of a service on every interface, without a token."""
    with serving("0.0.0.0", "--insecure") as (port, _):
        yield port


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secrets") / "the token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture(scope="module")
def guarded(token_file: Path) -> Iterator[tuple[int, Service]]:
    """A service on every interface, with a token, names and an origin, that says all it can."""
    names = ["--allowed-hosts", "vino.example,*.inner.example", "--allowed-origins", GIVEN]
    with serving("0.0.0.0", "--token-file", token_file, *names, "--log-level", "debug") as started:
        yield started


JSON = "Content-Type: application/json"
BEARER = f"Authorization: Bearer {TOKEN}"
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


def strip(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("VINOCAST_")} | env


@pytest.mark.parametrize(
    ("options", "env"),
    [
        ("--host 0.0.0.0", {}),
        ("--host ::", {}),
        ("--host 0", {}),
        ("--host ::ffff:0.0.0.0", {}),
        ("--host 0.0.0.0 --workers 2", {}),
        ("", {"VINOCAST_HOST": "0.0.0.0"}),
        ("", {"VINOCAST_HOST": "0.0.0.0", "VINOCAST_TOKN": TOKEN}),
    ],
)
@two_cores
def test_where_others_can_ask_it_does_not_start_without_a_token(
    run_vinocast: RunVinocast, options: str, env: dict[str, str]
) -> None:
    done = run_vinocast("serve", "--port", "0", *shlex.split(options), env=strip(env))
    assert done.returncode == 2
    assert "running on" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert "lets other machines ask" in last
    assert all(mend in last for mend in ("--token-file", "VINOCAST_TOKEN", "--insecure"))


@pytest.mark.parametrize(
    ("options", "env", "code", "message"),
    [
        (["--host", ""], {}, 2, "'--host'"),
        (["--host", " "], {}, 2, "'--host'"),
        ([], {"VINOCAST_TOKEN": ""}, 2, "VINOCAST_TOKEN holds no token"),
        ([], {"VINOCAST_TOKEN": "short"}, 2, "got 5 bytes"),
        ([], {"VINOCAST_TOKEN_FILE": ""}, 2, "VINOCAST_TOKEN_FILE is empty"),
        (["--token-file", "{file}"], {"VINOCAST_TOKEN": TOKEN}, 2, "give the token once"),
        (["--token-file", "{empty}"], {}, 1, "empty holds no token"),
        (["--token-file", "{spaced}"], {}, 1, "spaced holds no token"),
        (["--token-file", "{huge}"], {}, 1, "huge holds no token"),
        (["--token-file", "{fifo}"], {}, 1, "not a regular file"),
        (["--token-file", "/dev/zero"], {}, 1, "not a regular file"),
        (["--token-file", "{nowhere}"], {}, 1, "No such file"),
        (["--token-file", "."], {}, 1, "Is a directory"),
        (["--token", TOKEN], {}, 2, "No such option"),
        (["--allowed-hosts", "vino.example:8000"], {}, 2, "'--allowed-hosts'"),
        (["--allowed-hosts", "*"], {}, 2, "'--allowed-hosts'"),
        (["--allowed-hosts", ""], {}, 2, "'--allowed-hosts'"),
        (["--allowed-origins", "*"], {}, 2, "'--allowed-origins'"),
        (["--allowed-origins", "null"], {}, 2, "'--allowed-origins'"),
        (["--allowed-origins", f"{GIVEN}/"], {}, 2, "'--allowed-origins'"),
        (["--allowed-origins", f"{GIVEN}:443"], {}, 2, "'--allowed-origins'"),
        (["--allowed-origins", f"{GIVEN}, http://vino.example:80"], {}, 2, "'--allowed-origins'"),
    ],
)
def test_what_would_not_guard_as_it_was_meant_ends_it_with_a_sentence(
    run_vinocast: RunVinocast, tmp_path: Path, options: list[str], env: dict[str, str], code: int, message: str
) -> None:
    contents = {"file": TOKEN, "empty": "\n", "spaced": f"{TOKEN} {TOKEN}", "huge": "x" * 100_000}
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    os.mkfifo(tmp_path / "fifo")
    places = {name: str(tmp_path / name) for name in (*contents, "fifo", "nowhere")}
    done = run_vinocast("serve", "--port", "0", *(each.format(**places) for each in options), env=strip(env))
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, message in last) == (code, True), done.stderr
    if message != "No such option":
        assert TOKEN not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "state", "text"),
    [
        ([], "ok", "127.0.0.1, which only this host reaches; no token; no pages but its own"),
        (["--host", "0.0.0.0"], "FAIL", "lets other machines ask"),
        (["--host", "0.0.0.0", "--insecure"], "WARN", "0.0.0.0, which other machines reach; no token"),
        (["--host", "0.0.0.0", "--token-file", "{token}"], "ok", "0.0.0.0, which other machines reach; a token"),
        (
            ["--allowed-hosts", "vino.example", "--allowed-origins", GIVEN],
            "ok",
            f"no token; asked for as vino.example; pages of {GIVEN}",
        ),
    ],
)
def test_the_doctor_says_who_may_ask(
    run_vinocast: RunVinocast, token_file: Path, options: list[str], state: str, text: str
) -> None:
    done = run_vinocast("doctor", *(each.format(token=token_file) for each in options), env=strip({}))
    (line,) = [line for line in done.stdout.splitlines() if line[5:].startswith("access ")]
    assert (line[:4].strip(), text in line) == (state, True), line
    assert done.returncode == int(state == "FAIL")
    assert TOKEN not in done.stdout + done.stderr
