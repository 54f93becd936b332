"""How many cores this process may use, and what the processor can do."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class CpuBudget:
    """Cores this process may keep busy.

    Attributes:
        affinity: the CPUs the scheduler may place this process on.
        quota: CPU time a cgroup grants, in cores (``docker --cpus``, a Kubernetes limit); ``None`` without one.
    """

    affinity: frozenset[int]
    quota: float | None

    @property
    def cores(self) -> int:
        """Whole cores to plan for: the smaller of affinity and quota, at least one."""
        granted = len(self.affinity) if self.quota is None else min(len(self.affinity), math.floor(self.quota))
        return max(1, granted)


def cpu_budget() -> CpuBudget:
    """Read the budget of this process from the scheduler and its control groups."""
    return CpuBudget(
        frozenset(os.sched_getaffinity(0)), _cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    )


def _cgroup_quota(membership: Path, mount: Path) -> float | None:
    """Return the tightest CPU quota on the way from this process's control group up to the root, in cores.

    Reads version 2 (``cpu.max``) and version 1 (``cpu.cfs_quota_us``). Inside a container the path of the host may
    not exist below the mount; the mount's own root then holds the container's limit.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = mount if not controllers else mount / controllers
        if controllers and not root.exists():
            root = mount / "cpu"
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            quota = _folder_quota(folder)
            if quota is not None:
                quotas.append(quota)
            if folder == root:
                break
    return min(quotas, default=None)


def _folder_quota(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return int(quota) / int(period)


@dataclass(frozen=True)
class Processor:
    """Name and instruction-set flags of the processor, as the kernel reports them; no flags where it does not."""

    name: str
    flags: frozenset[str]

    @property
    def vnni(self) -> bool:
        """Whether it sums int8 products in one instruction; where not, int8 is slower than f32."""
        return bool({"avx512_vnni", "avx_vnni"} & self.flags)


def processor(source: Path = CPUINFO) -> Processor:
    """Read the first processor of ``/proc/cpuinfo``, which may be hidden (systemd's ``ProcSubset=pid``)."""
    fields: dict[str, str] = {}
    try:
        lines = source.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, separator, value = line.partition(":")
        if separator:
            fields.setdefault(key.strip(), value.strip())
    return Processor(fields.get("model name", "unknown"), frozenset(fields.get("flags", "").split()))
