"""What is done to the service's machine, and what its processes take, from ``/proc``."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DISK_KIB = 512
# Run with a mount namespace of its own, in which nothing can be written to /dev/shm.
WITHOUT_SHM = 'mount -t tmpfs -o ro none /dev/shm && exec "$@"'
QUOTA_PERIOD_US = 100_000


@dataclass(frozen=True)
class Taken:
    """What the service takes: MiB of its own and its share of what is shared, descriptors, threads."""

    memory: float
    descriptors: int
    threads: int


def tree(pid: int) -> list[int]:
    """Return the process and those below it."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def taken(pid: int) -> Taken:
    """Return what a process and those below it take now."""
    memory = descriptors = threads = 0
    for each in tree(pid):
        process = Path("/proc", str(each))
        with contextlib.suppress(OSError):
            rollup = (process / "smaps_rollup").read_text()
            memory += int(rollup.partition("\nPss:")[2].split()[0])
            descriptors += len(list((process / "fd").iterdir()))
            threads += len(list((process / "task").iterdir()))
    return Taken(memory / 1024, descriptors, threads)


def without_shm() -> list[str]:
    """Return the words before a command that take ``/dev/shm`` from it, or none where that is not permitted."""
    words = ["unshare", "--mount", "sh", "-c", WITHOUT_SHM, "sh"]
    done = (
        shutil.which("unshare") and subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    )
    return words if done else []


@contextlib.contextmanager
def small_disk() -> Iterator[tuple[Path, bool]]:
    """A folder on a disk of its own that is soon full; whether it is one."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        options = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "chaos", folder]
        mounted = shutil.which("mount") and subprocess.run(options, capture_output=True, check=False).returncode == 0
        try:
            yield Path(folder), bool(mounted)
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", folder], check=False)


def fill(folder: Path) -> None:
    """Write until nothing fits."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while file.write(b"\0" * 1024):
            pass


def stop(pid: int, seconds: float) -> None:
    """Hold all processes still for a moment."""
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for each in tree(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)
        if number == signal.SIGSTOP:
            time.sleep(seconds)


def half_a_core(pid: int, seconds: float) -> str:
    """Grant half a core for some seconds, and return by which means."""
    group = _cpu_group()
    end = time.monotonic() + seconds
    if group is None:
        while time.monotonic() < end:
            stop(pid, 0.05)
            time.sleep(0.05)
        return "stopped for half of each 100 ms, since no cgroup may be made here"
    try:
        for each in tree(pid):
            (group / "cgroup.procs").write_text(str(each))
        time.sleep(seconds)
    finally:
        for each in tree(pid):
            with contextlib.suppress(OSError):
                (group.parent / "cgroup.procs").write_text(str(each))
        group.rmdir()
    return "a quota of its cgroup"


def _cpu_group() -> Path | None:
    """Make a cgroup of half a core below that of this process; None where that is not permitted."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        legacy = "cpu" in controllers.split(",")
        group = Path("/sys/fs/cgroup", *(["cpu"] if legacy else []), path.lstrip("/"), f"chaos-{os.getpid()}")
        if not legacy and controllers:
            continue
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                if legacy:
                    (group / "cpu.cfs_period_us").write_text(str(QUOTA_PERIOD_US))
                    (group / "cpu.cfs_quota_us").write_text(str(QUOTA_PERIOD_US // 2))
                else:
                    (group / "cpu.max").write_text(f"{QUOTA_PERIOD_US // 2} {QUOTA_PERIOD_US}")
            except OSError:
                group.rmdir()
                raise
            return group
    return None
