"""What a stranger calls himself and his requests by: no line of the log is his, and no series of the metrics."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import grpc
import httpx
import pytest
from support import PATIENCE, HttpService, StdioService, wait_until
from tensors_asked import grpc_port
from vinocast.protocols.open_inference.messages import SERVICE, message

FORGED = "FORGED"
# What would begin a line, or end a text in JSON, were it written as it came.
HOSTILE = [
    f"\n{FORGED} request refused",
    f"\r\n{FORGED} request refused",
    f'", "level": "{FORGED}"}}\n{{"',
    f"\x1b[2J\x1b[1;1H{FORGED}",
    f"\x00{FORGED}",
    f"\u2028{FORGED}\u2029\x85{FORGED}",
    f"\u202e{FORGED}",
    f"é{FORGED}",
    f"{FORGED}" * 20_000,
]


@pytest.fixture(scope="module", params=["text", "json"])
def service(request: pytest.FixtureRequest) -> Iterator[HttpService]:
    with HttpService("--log-format", request.param, "--grpc-port", "0") as service:
        yield service


def check_log(service: HttpService | StdioService, count: int) -> None:
    """Every line begins as ours do, is printable, of bounded length, and in JSON an object of one line."""
    wait_until(lambda: service.log.count("request refused") >= count, "all have a line")
    lines = [
        line for line in service.log.split("\n") if line and "Vinocast is ready" not in line and "curl" not in line
    ]
    for line in lines:
        assert len(line) < 8000
        assert line.isprintable()
        assert not line.lstrip('"{').startswith(FORGED)
        if "request refused" in line and line.startswith("{"):
            entry = json.loads(line)
            assert entry["levelname"] in {"INFO", "WARNING"}
            assert "level" not in entry
        elif "request refused" in line:
            assert line[:4].isdecimal()
            assert line[23:].startswith((" INFO vinocast.", " WARNING vinocast."))
    assert "\x1b" not in service.log


def answer(service: HttpService, head: bytes, body: bytes = b"{}") -> bytes:
    """What comes back for a request of these fields, to the end of the connection."""
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
        fields = b"Host: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        fields += b"Content-Length: %d\r\n" % len(body)
        try:
            connection.sendall(b"POST /forecast HTTP/1.1\r\n" + fields + head + b"\r\n" + body)
            parts = []
            while part := connection.recv(1 << 16):
                parts.append(part)
        except ConnectionError:  # it reads no more of a head that is too long
            pass
        return b"".join(parts)


@pytest.mark.parametrize("field", ["X-Request-ID", "traceparent"])
def test_no_field_of_a_head_forges_a_line(service: HttpService, field: str) -> None:
    count = 0
    for text in HOSTILE:
        got = answer(service, f"{field}: {text}\r\n".encode())
        assert got == b"" or got.startswith((b"HTTP/1.1 400", b"HTTP/1.1 422", b"HTTP/1.1 431"))
        assert FORGED.encode() not in got.partition(b"\r\n\r\n")[0]
        count += got.startswith(b"HTTP/1.1 4")
    # Twice, as one or the other is read by whatever stands between.
    got = answer(service, f"{field}: a\r\n{field}: {FORGED}\r\n".encode())
    assert got.startswith(b"HTTP/1.1 4")
    got = answer(service, f"{field}: ".encode() + b"x" * (1 << 20) + b"\r\n")
    assert got == b"" or got.startswith(b"HTTP/1.1 431")
    check_log(service, count)


def test_no_name_in_a_body_or_a_path_forges_a_line(service: HttpService) -> None:
    count = 0
    with httpx.Client(base_url=service.url) as client:
        for text in HOSTILE:
            name = text[:60_000]
            for body in ({"request_id": name}, {"model": name, "past_values": []}, {name: 1}, {"stream": name[:200]}):
                assert client.post("/forecast", json=body).status_code in {404, 422}
                count += 1
            assert client.delete("/streams/" + name[:60].encode().hex()).status_code == 404
            assert client.post("/v2/models/x/infer", json={"id": name, "inputs": []}).status_code in {400, 404, 422}
            count += 2
    check_log(service, min(count, 50))


def test_no_name_in_a_call_of_grpc_forges_a_line_or_makes_a_series(service: HttpService) -> None:
    with (
        grpc.insecure_channel(f"127.0.0.1:{grpc_port(service)}") as channel,
        httpx.Client(base_url=service.url) as client,
    ):

        def refused(method: str, given: bytes, **options: object) -> grpc.StatusCode:
            with pytest.raises(grpc.RpcError) as raised:
                channel.unary_unary(method)(given, timeout=PATIENCE, **options)
            code: grpc.StatusCode = raised.value.code()
            return code

        series = len(client.get("/metrics").text.splitlines())
        for text in HOSTILE:
            asked = message("ModelInferRequest")(model_name=text[:1000], id=text)
            assert refused(f"/{SERVICE}/ModelInfer", asked.SerializeToString()) is not grpc.StatusCode.INTERNAL
            ready = message("ModelReadyRequest")(name=text[:1000]).SerializeToString()
            assert refused(f"/{SERVICE}/ModelReady", ready) is grpc.StatusCode.NOT_FOUND
        for index in range(50):
            assert refused(f"/{SERVICE}/MadeUp{index}", b"") is grpc.StatusCode.UNIMPLEMENTED
            assert refused(f"/made.Up{index}/ModelInfer", b"") is grpc.StatusCode.UNIMPLEMENTED
        page = client.get("/metrics").text
    assert len(page.splitlines()) - series < 60
    assert FORGED not in page
    assert "MadeUp" not in page
    check_log(service, 1)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_name_in_a_line_forges_one_of_the_log(form: str) -> None:
    with StdioService("--log-format", form) as service:
        for text in HOSTILE:
            assert not service.ask({"request_id": text[:60_000], "op": text[:1000]})["success"]
        service.end_input()
        service.wait()
        check_log(service, len(HOSTILE))
