"""What a newcomer sees first: the documentation, its examples, the welcome, and what is said of refused models."""

from __future__ import annotations

import contextlib
import http.client
import re
import resource
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from support import (
    MODEL,
    MODELS,
    PATIENCE,
    VINOCAST,
    HttpService,
    Reply,
    StdioService,
    all_shapes,
    change_manifest,
    copy_model,
    error_of,
    wait_until,
)

STATIC = "/static-offline-docs"
LARGEST = f"{STATIC}/swagger-ui-bundle.js"
MIB = 1 << 20


def example_of(parameter: dict[str, Any]) -> Any:
    if "example" in parameter:
        return parameter["example"]
    return next(iter(parameter["examples"].values()))["value"]


def try_everything_out(service: HttpService) -> list[str]:
    """Execute each operation of the document, in order, with its examples; return what was executed."""
    document = httpx.get(f"{service.url}/openapi.json").json()
    executed = []
    for route, operations in document["paths"].items():
        for method, operation in operations.items():
            if route.endswith("/unload"):  # which the default model refuses, and no other need be there
                continue
            path, query = route, {}
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    path = path.replace(f"{{{parameter['name']}}}", example_of(parameter))
                elif parameter.get("required"):
                    query[parameter["name"]] = example_of(parameter)
            if "text/event-stream" in operation["responses"]["200"].get("content", {}):  # which does not end
                with httpx.stream(method, f"{service.url}{path}", timeout=PATIENCE) as events:
                    assert events.status_code == 200
                executed.append(f"{method.upper()} {route}")
                continue
            content = operation.get("requestBody", {}).get("content", {})
            bodies: list[tuple[str | None, bytes | None]] = [
                (kind, orjson.dumps(media["example"])) for kind, media in content.items()
            ]
            bodies = bodies or [(None, None)]
            for kind, body in bodies:
                response = httpx.request(
                    method,
                    f"{service.url}{path}",
                    params=query,
                    content=body,
                    headers={"Content-Type": kind} if kind else {},
                    timeout=PATIENCE,
                )
                assert 200 <= response.status_code < 300, (method, path, response.text)
                executed.append(f"{method.upper()} {route}")
    return executed


def commands(log: str) -> list[str]:
    return re.findall(r"^  (curl .*)$", log, re.MULTILINE)


def run(command: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, check=True, timeout=PATIENCE)
    reply: dict[str, Any] = orjson.loads(done.stdout)
    return reply


def test_every_example_of_the_documentation_succeeds_on_a_fresh_service() -> None:
    with HttpService() as service:
        executed = try_everything_out(service)
        assert {
            "POST /forecast",
            "POST /glyphs",
            "POST /v1/timeseries/forecast",
            "POST /invocations",
            "POST /streams/{stream}/observations",
            "DELETE /streams/{stream}",
            "POST /feed",
            "GET /streams/{stream}/bars",
            "GET /events",
            "GET /streams",
            "GET /readyz",
        } <= set(executed)


def test_examples_and_welcome_are_those_of_the_models_that_are_served(tmp_path: Path) -> None:
    # A forecaster of three channels, and no glyph model.
    change_manifest(copy_model(tmp_path / "models", "narrow"), channels=["a", "b", "c"])
    with HttpService("--models", tmp_path / "models", cwd=tmp_path) as service:
        assert "POST /glyphs" not in try_everything_out(service)
        wait_until(lambda: "lets you try them" in service.log, "the welcome")
        (command,) = commands(service.log)
        assert run(command, tmp_path)["rows"] == 1


def test_the_welcome_works_from_any_folder(tmp_path: Path) -> None:
    with HttpService(cwd=tmp_path) as service:
        wait_until(lambda: "lets you try them" in service.log, "the welcome")
        forecast, glyphs = commands(service.log)
        assert len(run(forecast, tmp_path)["predictions"]) == 96
        assert len(run(glyphs, tmp_path)["results"]) == 3


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_a_page_and_all_it_loads_come_from_the_service_alone(http: HttpService, page: str) -> None:
    with httpx.Client(base_url=http.url, timeout=PATIENCE) as client:
        response = client.get(page)
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert "://" not in re.sub(r"<noscript>.*?</noscript>", "", response.text)
        links = re.findall(r"""(?:src|href|spec-url)=["']([^"']+)["']""", response.text)
        assert len(links) >= 2
        for link in links:
            assert link.startswith("/"), link
            asset = client.get(link)
            assert asset.status_code == 200
            assert asset.content
            # What a script or a style would load by itself, unlike the links that it shows and names of schemas.
            assert re.findall(r"""(?:src[:=]|url\()\s*["']?((?:https?:)?//[^"')]*)""", asset.text) == []
            assert "//cdn." not in asset.text


def test_a_validator_outside_is_not_asked(http: HttpService) -> None:
    assert re.search(r'"validatorUrl": null', httpx.get(f"{http.url}/docs").text)


@pytest.mark.slow
def test_refused_models_are_named_where_readiness_is_asked_for(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / MODEL).symlink_to(MODELS / MODEL)
    (models / "glyphs").mkdir()
    for file in (MODELS / "glyphs").iterdir():
        (models / "glyphs" / file.name).symlink_to(file)
    (models / "glyphs" / "phase2.bin").unlink()
    (models / "glyphs" / "phase2.bin").write_bytes(b"damaged")
    (models / "scratched").mkdir()
    (models / "scratched" / "manifest.json").write_bytes(b"{")
    with HttpService("--models", models) as service:
        ready = httpx.get(f"{service.url}/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        degraded = {entry["model"]: entry["error"] for entry in ready.json()["degraded"]}
        assert set(degraded) == {"glyphs", "scratched"}
        assert "phase2.bin" in degraded["glyphs"]
        assert "manifest.json" in degraded["scratched"]
        wait_until(lambda: "lets you try them" in service.log, "the welcome")
        assert [command for command in commands(service.log) if "/glyphs" in command] == []
        asked: dict[str, Reply] = {"forecast": {"past_values": [[1]]}, "glyphs": {"grids": [[[0] * 16] * 16]}}
        for route, body in asked.items():
            refused = httpx.post(f"{service.url}/{route}", json={"model": "scratched", **body})
            assert (refused.status_code, error_of(refused.json())) == (404, ("unknown_model", "model"))
            assert "manifest.json" in refused.json()["error"]["message"]
    with StdioService("--models", models) as stdio:
        assert [entry["model"] for entry in stdio.ask({"op": "ping"})["degraded"]] == ["scratched"]


def test_nothing_is_degraded_where_all_models_are_served(http: HttpService) -> None:
    assert httpx.get(f"{http.url}/readyz").json()["degraded"] == []


def unread(service: HttpService, path: str, times: int) -> socket.socket:
    """Ask several times in one write, by a connection that takes in next to nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", service.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * times)
    return connection


@pytest.mark.slow
def test_readers_who_do_not_read_the_pages_leave_descriptors_and_memory_to_others() -> None:
    few_files = ("bash", "-c", 'ulimit -n 256; exec "$0" "$@"', VINOCAST)
    with HttpService(program=few_files) as service, ExitStack() as open_ones:
        wait_until(lambda: all_shapes(httpx.get(f"{service.url}/readyz").json()["models"]), "loaded")
        assert httpx.get(f"{service.url}{LARGEST}").status_code == 200
        before = service.resident_mb
        readers = [open_ones.enter_context(unread(service, LARGEST, 5)) for _ in range(200)]
        for reader in readers:
            assert reader.recv(15) == b"HTTP/1.1 200 OK"
        for path in ("/livez", LARGEST, "/docs", "/streams") * 3:
            assert httpx.get(f"{service.url}{path}", timeout=PATIENCE).status_code == 200
        files = 0
        for descriptor in Path(f"/proc/{service.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                files += "fastapi_offline" in str(descriptor.readlink())
        assert files == 0
        assert service.resident_mb - before < 200 * 0.25 + 20
        assert "Traceback" not in service.log
        assert "internal error" not in service.log


@pytest.mark.slow
def test_lists_of_streams_that_nobody_reads_stay_within_the_budget() -> None:
    most = 16 * MIB
    with HttpService("--max-waiting-bytes", str(most)) as service, ExitStack() as open_ones:
        client = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)
        open_ones.callback(client.close)
        for number in range(1000):
            path = f"/streams/{'%01' * 250}{number}/observations"
            client.request("POST", path, orjson.dumps({"values": [1.0] * 7}), {"Content-Type": "application/json"})
            reply = client.getresponse()
            body = reply.read()
            assert reply.status == 200, body
        length = len(httpx.get(f"{service.url}/streams").content)
        assert length > MIB
        wait_until(lambda: all_shapes(httpx.get(f"{service.url}/readyz").json()["models"]), "loaded")
        before = service.resident_mb
        readers = [open_ones.enter_context(unread(service, "/streams", 2)) for _ in range(40)]
        statuses = [reader.recv(12)[-3:] for reader in readers]
        assert set(statuses) == {b"200", b"429"}
        # The kernel takes a reply and a half of each; the service would hold 40 of them.
        assert 40 * length > 3 * most
        assert service.resident_mb - before < 2 * most / 1e6
        refused = readers[statuses.index(b"429")].recv(1 << 16)
        assert b"retry-after: 1\r\n" in refused
        assert b'"overloaded"' in refused
        forecast = httpx.post(f"{service.url}/forecast", json={"past_values": [[1.0] * 7] * 512}, timeout=PATIENCE)
        assert forecast.status_code == 200
        open_ones.close()
        wait_until(lambda: httpx.get(f"{service.url}/streams").status_code == 200, "what they held is free again")


def test_a_browser_is_not_sent_a_file_that_it_has(http: HttpService) -> None:
    for name in ("favicon.png", "swagger-ui.css", "swagger-ui-bundle.js", "redoc.standalone.js"):
        url = f"{http.url}{STATIC}/{name}"
        whole = httpx.get(url)
        assert int(whole.headers["Content-Length"]) == len(whole.content)
        again = httpx.get(url, headers={"If-None-Match": whole.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = httpx.get(url, headers={"If-None-Match": '"another"'})
        assert (other.status_code, other.content) == (200, whole.content)
        head = httpx.head(url)
        assert (head.status_code, head.content) == (200, b"")
        for field in ("Content-Type", "Content-Length", "ETag"):
            assert head.headers[field] == whole.headers[field]


@pytest.mark.parametrize("asked", ["foo", "bytes=5-1", "bytes=99999999-", "bytes=0-9"])
def test_a_range_of_a_file_is_answered_with_the_whole(http: HttpService, asked: str) -> None:
    response = httpx.get(f"{http.url}{STATIC}/favicon.png", headers={"Range": asked})
    assert (response.status_code, response.content[:4]) == (200, b"\x89PNG")
    assert "Content-Range" not in response.headers


def test_what_is_no_file_of_the_pages_is_refused_in_the_envelope(http: HttpService) -> None:
    for method, name, expected in [
        ("GET", "none.js", (404, "not_found")),
        ("GET", "", (404, "not_found")),
        ("POST", "favicon.png", (405, "method_not_allowed")),
    ]:
        response = httpx.request(method, f"{http.url}{STATIC}/{name}")
        assert (response.status_code, error_of(response.json())[0]) == expected


def test_a_fault_of_ours_is_logged_once_and_passes() -> None:
    with HttpService() as service, httpx.Client(base_url=service.url, timeout=PATIENCE) as client:
        assert client.get("/livez").status_code == 200
        pid = service.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, limits[1]))  # no file opens any more
        reply = client.get(LARGEST)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert (reply.status_code, error_of(reply.json())[0]) == (500, "internal")
        wait_until(lambda: "Too many open files" in service.log, "the log explains it")
        assert client.get(LARGEST).status_code == 200
        assert sum("internal error" in line for line in service.said) == 1
        assert "Exception in ASGI application" not in service.log
