"""The comparison with the peers: its arithmetic, its processes, and a short run of ours alone. None is installed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import orjson
import pytest
from support import ROOT, random_windows, wait_until
from vinocast.errors import SetupError
from vinocast.measure.children import proc_stat

from benchmarks.peers.catalogue import HERE, PEERS, Peer
from benchmarks.peers.figures import Load, Report, Row, Samples, bars, load
from benchmarks.peers.processes import PeerProcess
from benchmarks.peers.server import start_peer
from benchmarks.peers.table import to_text
from benchmarks.peers.venvs import ensure_venv


def row(title: str, targets: int, p50: float, rate: float, *, peer: bool) -> Row:
    loads = {1: Load(10, 0, p50, 2 * p50, 1e3 / p50, 1.0), 4: Load(10, 0, 4 * p50, 8 * p50, rate, 1.0)}
    return Row(title, "http", targets, peer, loads, 100.0, 1.0, 1e-6)


ROWS = [
    row("vinocast serve", 7, 1.3, 450.0, peer=False),
    row("vinocast serve", 1, 0.7, 1190.0, peer=False),
    row("quick", 7, 2.0, 250.0, peer=True),
    row("busy", 7, 4.0, 300.0, peer=True),
]


def test_each_figure_is_compared_with_the_peer_that_is_best_at_it() -> None:
    found = {(bar.figure, bar.targets): bar for bar in bars(ROWS)}
    assert {(bar.targets, bar.peer, round(bar.ratio, 3), bar.limit, bar.holds) for bar in found.values()} == {
        (7, "quick", 0.65, 0.65, True),
        (7, "busy", 1.5, 1.5, True),
        (1, "quick", 0.35, 0.3, False),
        (1, "busy", 3.967, 4.0, False),
    }
    assert bars(ROWS[:2]) == []


def test_the_table_names_every_server_every_bar_and_who_was_left_out() -> None:
    report = Report(
        {"model": "m", "profile": "p", "cores": 2, "cpu": "c", "load_average": 0.5},
        6.0,
        10,
        ROWS,
        bars(ROWS),
        {"Broken": "no such package"},
    )
    text = to_text(report)
    assert all(row.title in text for row in ROWS)
    assert (text.count(" yes"), text.count(" NO")) == (2, 2)
    assert text.endswith("Broken is left out: no such package")


def test_a_refusal_counts_as_failed_and_in_no_other_figure() -> None:
    found = load(Samples([1.0, 2.0, 3.0], failed=1, seconds=2.0, cpu_seconds=0.008))
    assert found == Load(3, 1, 2.0, 2.98, 1.5, 2.0)


def test_what_the_peers_install_is_pinned_and_what_they_serve_is_python() -> None:
    for peer in PEERS.values():
        lines = peer.requirements.read_text().splitlines()
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", line) for line in lines), peer.name
        assert not any(line.startswith("torchvision") for line in lines)
        assert any(line.startswith(f"{peer.venv}==") for line in lines)
        modules = re.findall(r"benchmarks\.peers\.servers\.(\w+)", " ".join(peer.command))
        assert modules or peer.name == "mlserver"
        assert all((HERE / "servers" / f"{module}.py").is_file() for module in modules)
    for server in (HERE / "servers").glob("*.py"):
        ast.parse(server.read_text())
    implementation = orjson.loads((HERE / "servers" / "patchtst" / "model-settings.json").read_bytes())[
        "implementation"
    ]
    module, _, name = implementation.rpartition(".")
    assert f"class {name}(" in (ROOT / (module.replace(".", "/") + ".py")).read_text()


def test_every_peer_is_sent_the_same_numbers() -> None:
    (window,) = random_windows(1)
    for peer in PEERS.values():
        body = orjson.loads(peer.write(window))
        values = body["inputs"][0]["data"] if "inputs" in body else body["past_values"]
        np.testing.assert_array_equal(np.array(values, np.float32).reshape(512, 7), window)


def test_an_environment_is_made_once_and_one_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "peer.txt").write_text("some==1\n")
    made = tmp_path / "made"
    made.mkdir()
    (made / "requirements.sha256").write_text(sha256(b"some==1\n").hexdigest())
    ensure_venv(made, tmp_path / "peer.txt")
    assert [file.name for file in made.iterdir()] == ["requirements.sha256"]
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SetupError, match=r"virtual environment cannot be made: .*taken"):
        ensure_venv(tmp_path / "taken", tmp_path / "peer.txt")


# Answers every POST with zeros; a child in a session of its own outlives the parent that made it.
STRAY = """
import http.server, os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(os.environ["STRAY_PID"], "w").write(str(os.getpid()))
        while True: sum(range(1000))
    os._exit(0)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"predictions":' + str([[0.0] * 7] * 96).encode() + b"}"
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PEER_PORT"])), Handler).serve_forever()
"""


def state(pid: int) -> str:
    try:
        return proc_stat(pid)[0]
    except FileNotFoundError:
        return "X"


def test_a_peer_is_measured_frozen_and_stopped_with_what_it_has_left_behind(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    command = ("python", "-c", STRAY.replace("{", "{{").replace("}", "}}"))
    peer = Peer("stray", "Stray", "torch", "torch", command, {"STRAY_PID": str(pid_file)})
    windows = random_windows(2)
    with PeerProcess(peer, Path(sys.prefix), tmp_path, tmp_path) as process:
        server = start_peer(peer, process, windows, 96)
        assert server.start_up > 0
        with pytest.raises(SetupError, match="differ from ours"):
            server.compare(np.ones((2, 96, 7)), windows)
        server.load(4, 0.1)
        assert server.samples[4].failed == 0
        assert len(server.samples[4].latency_ms) > 4
        assert process.rss_mb > 15
        wait_until(pid_file.exists, "the stray child")
        process.freeze()
        used = process.cpu_seconds
        time.sleep(0.1)
        assert process.cpu_seconds == used
        with server.awake():
            wait_until(lambda: process.cpu_seconds > used, "the stray child goes on")
    wait_until(lambda: state(int(pid_file.read_text())) in "ZX", "the end of the stray child")


def test_a_peer_that_ends_says_why(tmp_path: Path) -> None:
    peer = Peer("broken", "Broken", "torch", "torch", ("python", "-c", "import sys; print('out of luck'); sys.exit(3)"))
    with (
        pytest.raises(SetupError, match=r"Broken, starting[^$]*out of luck"),
        PeerProcess(peer, Path(sys.prefix), tmp_path, tmp_path) as process,
    ):
        start_peer(peer, process, random_windows(1), 96)


@pytest.mark.slow
def test_ours_alone_runs_by_the_one_command(tmp_path: Path) -> None:
    report_file = tmp_path / "report.json"
    options = ["--only", "vinocast", "--seconds", "0.1", "--rounds", "1", "--json", str(report_file)]
    command = [sys.executable, "-m", "benchmarks.peers", *options, "--venvs", str(tmp_path / "venvs")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report = orjson.loads(report_file.read_bytes())
    assert [(row["title"], row["targets"]) for row in report["rows"]] == [
        (f"vinocast {command}", targets) for command in ("serve", "stdio") for targets in (7, 1)
    ]
    for row in report["rows"]:
        assert row["difference"] <= 2e-6
        for figures in row["loads"].values():
            assert (figures["failed"], figures["samples"] > 0, figures["p50_ms"] > 0) == (0, True, True)
    assert (report["bars"], report["failures"]) == ([], {})
    assert "measuring" in done.stderr
    assert not (tmp_path / "venvs").exists()
