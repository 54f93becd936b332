"""The systemd unit: what it promises, how exposed systemd finds it, and the service under its system call filter."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from vinocast.transports import stdio
from vinocast.transports.http import server as http

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy" / "systemd" / "vinocast.service"
MOST_EXPOSURE = 2.0

# Of prctl and libseccomp, which the standard library does not know.
PR_SET_NO_NEW_PRIVS = 38
ALLOW, ERRNO_EPERM = 0x7FFF0000, 0x00050001

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def settings() -> dict[str, list[str]]:
    """Return the unit's settings, each with its values in order."""
    read: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            read.setdefault(name, []).append(value)
    return read


def drain_seconds() -> float:
    return max(http.DRAIN_SECONDS, stdio.DRAIN_SECONDS)


def test_unit_runs_the_service_as_its_page_says() -> None:
    unit = settings()
    assert unit["ExecStart"] == ["/opt/vinocast/bin/vinocast serve"]
    assert unit["Restart"] == ["on-failure"]
    assert unit["Type"] == ["notify"]
    assert float(unit["WatchdogSec"][0]) > drain_seconds()
    assert "AF_UNIX" in unit["RestrictAddressFamilies"][0].split()
    assert unit["ExecReload"] == ["kill -HUP $MAINPID"]
    assert f"VINOCAST_STATE=%S/{unit['StateDirectory'][0]}" in unit["Environment"]
    assert unit["DynamicUser"] == ["yes"]
    assert unit["AllowedCPUs"]
    assert unit["MemoryMax"]
    assert "CPUQuota" not in unit  # see docs/epyc.md
    drain = drain_seconds()
    assert drain < float(unit["TimeoutStopSec"][0]) <= drain + 2


def test_the_drop_in_for_later_versions_of_systemd_leaves_the_signal_to_it() -> None:
    """Both would send SIGHUP where ExecReload= stayed."""
    lines = (UNIT.parent / "notify-reload.conf").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["[Service]", "Type=notify-reload", "ExecReload="]


@needs_systemd
def test_exposure_is_low() -> None:
    ended = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE * 10:.0f}", "--no-pager", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout


def expand(name: str) -> set[str]:
    """Return the system calls of a name as the unit writes it: one, or a group such as @system-service."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    members = [line.strip() for line in listed[1:]]
    return set().union(*(expand(member) for member in members if member and not member.startswith("#")))


def allowed_calls() -> set[str]:
    allowed: set[str] = set()
    for value in settings()["SystemCallFilter"]:
        names = set().union(*(expand(name) for name in value.removeprefix("~").split()))
        allowed = allowed - names if value.startswith("~") else allowed | names
    return allowed


def confine(calls: list[str]) -> None:
    """Let this thread, and what it executes, use no other system calls."""
    library = ctypes.CDLL(ctypes.util.find_library("seccomp"), use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ERRNO_EPERM)))
    for name in calls:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # others belong to other processors
            assert library.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, 0) == 0
    assert ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert library.seccomp_load(context) == 0


@needs_systemd
@pytest.mark.skipif(ctypes.util.find_library("seccomp") is None, reason="needs libseccomp")
def test_service_answers_under_the_units_system_call_filter() -> None:
    # This file is also the program that confines itself: a fork of the tests' own process could meet their threads.
    ended = subprocess.run(
        [sys.executable, __file__, *sorted(allowed_calls())],
        input=b'{"op": "ping"}\n',
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["ready"] is True


if __name__ == "__main__":
    confine(sys.argv[1:])
    os.execv(sys.executable, [sys.executable, "-m", "vinocast", "stdio"])
