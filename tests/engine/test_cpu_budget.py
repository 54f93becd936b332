"""How many cores a process may use: affinity and the quotas of its control groups."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import VINOCAST
from vinocast.engine.cpu import CpuBudget, Processor, _cgroup_quota, cpu_budget, processor
from vinocast.engine.tuned import PROFILE_FILE, Fingerprint, TunedFile


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def member(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "cgroup"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("affinity", "quota", "cores"),
    [(4, None, 4), (4, 8.0, 4), (4, 2.0, 2), (4, 2.9, 2), (4, 1.5, 1), (4, 0.5, 1), (1, None, 1), (1, 0.1, 1)],
)
def test_cores_are_the_smaller_of_affinity_and_whole_quota_and_at_least_one(
    affinity: int, quota: float | None, cores: int
) -> None:
    assert CpuBudget(frozenset(range(affinity)), quota).cores == cores


@pytest.mark.parametrize(("limit", "quota"), [("150000 100000", 1.5), ("max 100000", None), ("50000 100000", 0.5)])
def test_a_quota_of_version_2_is_read(tmp_path: Path, limit: str, quota: float | None) -> None:
    mount = tmp_path / "mount"
    write(mount / "system" / "service", cpu__max=limit)
    assert _cgroup_quota(member(tmp_path, "0::/system/service"), mount) == quota


def test_the_tightest_quota_on_the_way_up_counts_in_version_2(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    write(mount, cpu__max="800000 100000")
    write(mount / "system", cpu__max="200000 100000")
    write(mount / "system" / "service", cpu__max="400000 100000")
    assert _cgroup_quota(member(tmp_path, "0::/system/service"), mount) == 2.0


def test_a_container_finds_its_limit_at_the_mount_when_the_hosts_path_is_not_below_it(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    write(mount, cpu__max="300000 100000")
    assert _cgroup_quota(member(tmp_path, "0::/kubepods/pod1/container"), mount) == 3.0


def test_nothing_above_the_mount_is_read(tmp_path: Path) -> None:
    write(tmp_path, cpu__max="100000 100000")
    write(tmp_path / "mount" / "service")
    assert _cgroup_quota(member(tmp_path, "0::/service"), tmp_path / "mount") is None


@pytest.mark.parametrize(
    ("quota", "period", "cores"), [("250000", "100000", 2.5), ("-1", "100000", None), ("20000", "10000", 2.0)]
)
@pytest.mark.parametrize(
    ("controllers", "folder"), [("cpu,cpuacct", "cpu,cpuacct"), ("cpuacct,cpu", "cpu"), ("cpu", "cpu")]
)
def test_a_quota_of_version_1_is_read(
    tmp_path: Path, quota: str, period: str, cores: float | None, controllers: str, folder: str
) -> None:
    mount = tmp_path / "mount"
    write(mount / folder / "docker" / "1", **{"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": period})
    membership = member(
        tmp_path, "12:memory:/docker/1", f"4:{controllers}:/docker/1", "3:cpuset:/docker/1", "1:name=systemd:/docker/1"
    )
    assert _cgroup_quota(membership, mount) == cores


def test_groups_of_other_controllers_say_nothing_of_the_cpu(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    write(mount / "cpuset" / "x", **{"cpu.cfs_quota_us": "100000", "cpu.cfs_period_us": "100000"})
    assert _cgroup_quota(member(tmp_path, "3:cpuset:/x"), mount) is None


def test_no_control_groups_mean_no_quota(tmp_path: Path) -> None:
    assert _cgroup_quota(tmp_path / "absent", tmp_path) is None
    assert _cgroup_quota(member(tmp_path, "0::/"), tmp_path / "no mount") is None


def test_the_budget_follows_the_affinity_of_the_process() -> None:
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{one}}}); from vinocast.engine.cpu import cpu_budget as b; print(b())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert f"affinity=frozenset({{{one}}})" in done.stdout
    assert cpu_budget().affinity == os.sched_getaffinity(0)


def test_the_processor_has_a_name_and_flags() -> None:
    assert processor().name in Path("/proc/cpuinfo").read_text()
    assert "sse2" in processor().flags


def test_a_processor_that_the_kernel_does_not_show_is_unknown(tmp_path: Path) -> None:
    assert processor(tmp_path / "cpuinfo") == Processor("unknown", frozenset())


@pytest.mark.parametrize("command", [["tune", "--rounds", "1"], ["stdio", "--profile", "tuned"]])
def test_without_cpuinfo_what_needs_it_says_so_before_the_work(command: list[str], tmp_path: Path) -> None:
    state = tmp_path / "vinocast"
    state.mkdir()
    (state / PROFILE_FILE).write_text(
        TunedFile(
            fingerprint=Fingerprint(cpu="any", flags="0", threads=1, quota=False, openvino="0"), isa_cap=None, models={}
        ).model_dump_json()
    )
    done = without_cpuinfo(*command, env=os.environ | {"XDG_STATE_HOME": str(tmp_path)})
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("vinocast: the profile 'tuned' is for one CPU, and /proc/cpuinfo")
    assert "Traceback" not in done.stderr
    assert [path.name for path in state.iterdir()] == [PROFILE_FILE]


@pytest.mark.slow
def test_without_cpuinfo_doctor_says_so_and_goes_on() -> None:
    done = without_cpuinfo("doctor")
    assert re.search("^WARN cpu +unknown: /proc/cpuinfo cannot be read", done.stdout, re.MULTILINE)
    assert re.search("^ok +models ", done.stdout, re.MULTILINE), done.stdout + done.stderr


def without_cpuinfo(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The program where ``/proc/cpuinfo`` is empty; as systemd hides it, there is no such file, to the same effect."""
    hidden = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    script = 'mount --bind /dev/null /proc/cpuinfo || exit 77; exec "$@"'
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    done = subprocess.run(
        [*hidden, script, "sh", VINOCAST, *command], capture_output=True, text=True, check=False, timeout=120, **options
    )
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip("this user may not have a mount namespace of its own")
    return done
