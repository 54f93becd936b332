"""systemd, in whose place stands a Unix socket, is told when a service is ready, that it ends, and that it turns."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from forecast_toys import make_linear
from support import PATIENCE, HttpService
from vinocast.process import service_manager


class Manager:
    """What systemd is to a service: a socket, and what was sent to it, in order."""

    def __init__(self, address: str) -> None:
        self.env = {"NOTIFY_SOCKET": address}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(PATIENCE)

    def hear(self) -> str:
        return self._socket.recv(4096).decode()

    def has_heard(self) -> list[str]:
        """All that lies there."""
        heard = []
        self._socket.setblocking(False)
        try:
            while True:
                heard.append(self.hear())
        except BlockingIOError:
            self._socket.settimeout(PATIENCE)
            return heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    given = Manager(f"@vinocast-{secrets.token_hex(8)}" if request.param == "abstract" else str(tmp_path / "notify"))
    yield given
    given.close()


def test_a_service_tells_that_it_is_ready_and_that_it_ends(manager: Manager) -> None:
    with HttpService(env=manager.env, ready=False) as service:
        assert manager.hear() == "READY=1"
        service.signal(signal.SIGTERM)
        assert manager.hear() == "STOPPING=1"
        assert service.wait() == 0
        assert manager.has_heard() == []


@pytest.mark.slow
def test_of_several_workers_the_parent_tells_once_all_are_ready(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    with HttpService("--workers", "2", env=manager.env | {"WATCHDOG_USEC": "10000000"}, ready=False) as service:
        while (heard := manager.hear()) == "WATCHDOG=1":
            pass
        assert heard == "READY=1"
        assert manager.hear() == "WATCHDOG=1"
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        assert [each for each in manager.has_heard() if each != "WATCHDOG=1"] == ["STOPPING=1"]
    manager.close()


def hear_hangups() -> None:
    """Whatever the tests themselves were started by, such as nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def moment(told: str) -> int:
    """When a reload began by what was told, in microseconds."""
    first, _, second = told.partition("\n")
    name, _, value = second.partition("=")
    assert (first, name) == ("RELOADING=1", "MONOTONIC_USEC")
    return int(value)


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_a_reload_is_told_when_it_begins_and_when_it_has_ended_well_or_not(tmp_path: Path) -> None:
    manager, models = Manager(str(tmp_path / "notify")), tmp_path / "models"
    make_linear(models / "linear" / "1")
    with HttpService("--models", models, env=manager.env, preexec_fn=hear_hangups) as service:
        assert manager.hear() == "READY=1"
        for version, said in ((2, "served as its folder has it now, version 2"), (3, "linear/3 has now is refused")):
            make_linear(models / "linear" / str(version))
            if version == 3:
                (models / "linear" / "3" / "model.bin").write_bytes(b"")
            before = now()
            service.signal(signal.SIGHUP)
            assert before < moment(manager.hear()) < now()
            assert manager.hear() == "READY=1"
            assert said in service.log
        (models / "linear").rename(tmp_path / "away")
        service.signal(signal.SIGHUP)
        assert moment(manager.hear()) < now()
        assert manager.hear() == "READY=1"
        assert "no models can be looked for" in service.log
    manager.close()


@pytest.mark.slow
def test_of_several_workers_the_parent_tells_of_a_reload_once_all_have_ended_it(tmp_path: Path) -> None:
    manager, models = Manager(str(tmp_path / "notify")), tmp_path / "models"
    make_linear(models / "linear" / "1")
    options = ("--models", models, "--workers", "2")
    with HttpService(*options, env=manager.env, preexec_fn=hear_hangups) as service:
        assert manager.hear() == "READY=1"
        make_linear(models / "linear" / "2")
        service.signal(signal.SIGHUP)
        assert moment(manager.hear()) < now()
        assert manager.hear() == "READY=1"
        assert service.log.count("served as its folder has it now, version 2") == 2
    manager.close()


def test_the_watchdog_hears_of_a_service_while_its_loop_turns_and_no_more_once_it_hangs(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    with HttpService(env=manager.env | {"WATCHDOG_USEC": "400000"}) as service:
        for _ in range(5):
            assert manager.hear() in {"WATCHDOG=1", "READY=1"}
        service.signal(signal.SIGSTOP)
        status = Path(f"/proc/{service.process.pid}/status")
        while "\nState:\tT" not in status.read_text():
            time.sleep(0.02)
        manager.has_heard()
        time.sleep(0.6)
        assert manager.has_heard() == []
        service.signal(signal.SIGCONT)
        assert manager.hear() == "WATCHDOG=1"
    manager.close()


def test_nobody_is_told_where_nobody_asks_and_a_manager_that_is_gone_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service_manager.tell(service_manager.READY)
    assert caplog.records == []
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    service_manager.tell(service_manager.READY)
    assert "cannot be told READY=1: No such file" in caplog.text


@pytest.mark.parametrize(
    ("given", "pid", "seconds"),
    [
        ("30000000", None, 15.0),
        ("30000000", str(os.getpid()), 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
    ids=lambda each: "ours" if each == str(os.getpid()) else None,  # the same in every process of the tests
)
def test_the_watchdog_is_told_twice_in_the_time_that_it_gives_this_process(
    monkeypatch: pytest.MonkeyPatch, given: str | None, pid: str | None, seconds: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", given), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert service_manager.watchdog_seconds() == seconds
