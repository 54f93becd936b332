"""Downloads from a real server on loopback: whole, broken off, of another content, absent."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from vinocast.data.fetch import fetch
from vinocast.errors import SetupError

BODY = b"date,HUFL\n" + b"2016-07-01,5.827\n" * 20_000
SHA256 = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        Handler.requests += 1
        if self.path == "/none":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path not in {"/without-length", "/endless"}:
            self.send_header("Content-Length", "many" if self.path == "/strange-length" else str(len(BODY)))
        self.end_headers()
        match self.path:
            case "/truncated":
                self.wfile.write(BODY[: len(BODY) // 2])
            case "/other":
                self.wfile.write(BODY[::-1])
            case "/endless":
                with contextlib.suppress(ConnectionError):
                    while True:
                        self.wfile.write(BODY)
            case _:
                self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/whole", "/without-length", "/strange-length"])
def test_a_download_arrives_whole(server: str, tmp_path: Path, path: str) -> None:
    output = tmp_path / "data.csv"
    assert fetch(output, server + path, SHA256)
    assert output.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [output]


def test_the_right_file_is_left_alone(server: str, tmp_path: Path) -> None:
    output = tmp_path / "data.csv"
    output.write_bytes(BODY)
    before = Handler.requests, output.stat().st_mtime_ns
    assert not fetch(output, server + "/whole", SHA256)
    assert (Handler.requests, output.stat().st_mtime_ns) == before


def test_a_damaged_file_is_replaced(server: str, tmp_path: Path) -> None:
    output = tmp_path / "data.csv"
    output.write_bytes(BODY[:100])
    assert fetch(output, server + "/whole", SHA256)
    assert output.read_bytes() == BODY


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/truncated", rf"broke off after {len(BODY) // 2} of {len(BODY)} bytes"),
        ("/other", "holds another file, of sha256"),
        ("/endless", "holds another file, of more than"),
        ("/none", "cannot be reached .*404"),
    ],
)
@pytest.mark.parametrize("existing", [None, b"of the user"])
def test_a_failed_download_changes_nothing(
    server: str, tmp_path: Path, path: str, message: str, existing: bytes | None
) -> None:
    output = tmp_path / "data.csv"
    if existing is not None:
        output.write_bytes(existing)
    with pytest.raises(SetupError, match=message) as caught:
        fetch(output, server + path, SHA256)
    assert SHA256 in str(caught.value)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [existing] * (existing is not None)


def test_no_server_and_no_folder_are_named(server: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be reached"):
        fetch(tmp_path / "data.csv", "http://127.0.0.1:9/", SHA256)
    with pytest.raises(SetupError, match="No such file or directory; name another file"):
        fetch(tmp_path / "none" / "data.csv", server + "/whole", SHA256)
    with pytest.raises(SetupError, match="Is a directory; name another file"):
        fetch(tmp_path, server + "/whole", SHA256)
    assert list(tmp_path.iterdir()) == []


def test_the_command_offline(tmp_path: Path, run_vinocast: Callable[..., CompletedProcess[str]]) -> None:
    # Nothing listens on port 9, so this holds on a machine with a network too.
    offline = {**os.environ, "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    done = run_vinocast("fetch-data", "etth1", "--output", tmp_path / "ETTh1.csv", env=offline)
    assert (done.returncode, done.stdout) == (1, "")
    assert "raw.githubusercontent.com" in done.stderr
    assert list(tmp_path.iterdir()) == []
