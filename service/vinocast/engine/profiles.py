"""How models are compiled: the named profiles, what they set, and the cap on the instruction set."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vinocast.engine.cpu import CpuBudget

# Both caps are needed: the first binds oneDNN's kernels only, the second the CPU plugin's own. Each is read once in a
# process, when the plugin loads, and a misspelt value is ignored in silence: vinocast.engine.in_force reads the effect.
ISA_CAP_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "OV_CPU_MAX_ISA")


# Threads of one inference, where the CPU budget has so many.
MOST_THREADS = 2


@dataclass(frozen=True)
class Profile:
    """One way of running inference on this machine.

    Attributes:
        name: as given to ``--profile``.
        summary: one sentence for the help page.
        isa_cap: the highest instruction set the kernels may use, or ``None`` for what the CPU has.
        threads: inference threads per stream at most; the CPU budget may grant fewer.
        stream_per_core: one inference stream per core, each of one thread, instead of one stream.
        precision: of the arithmetic that a model's weights leave in floating point. bf16 changes forecasts by about
            1e-2 of a series' deviation.
        pinned: keep each thread on its core, unless a quota forbids it.
    """

    name: str
    summary: str
    isa_cap: str | None = None
    threads: int = MOST_THREADS
    stream_per_core: bool = False
    precision: Literal["f32", "bf16"] = "f32"
    pinned: bool = True

    def plugin_config(self, budget: CpuBudget) -> dict[str, str | int | bool]:
        """Return the OpenVINO CPU properties of this profile under a CPU budget.

        Pinning is off under a cgroup quota: the quota takes time, not cores, and a pinned thread that is throttled
        cannot move. The precision is always set, since OpenVINO's default is bf16 wherever the CPU has it.
        """
        streams = budget.cores if self.stream_per_core else 1
        return {
            "PERFORMANCE_HINT": "THROUGHPUT" if self.stream_per_core else "LATENCY",
            "INFERENCE_PRECISION_HINT": self.precision,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": budget.cores if self.stream_per_core else min(self.threads, budget.cores),
            "ENABLE_CPU_PINNING": self.pinned and budget.quota is None,
        }


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("epyc-7763", "AVX2 cap, f32, two pinned threads, one stream: lowest latency", isa_cap="AVX2"),
        Profile("native", "what the CPU has, f32, two pinned threads, one stream"),
        Profile("native-bf16", "as native, in bf16: other numbers, by about 1e-2 of a deviation", precision="bf16"),
        Profile(
            "throughput", "what the CPU has, f32, one stream per core, series dealt out to them", stream_per_core=True
        ),
    )
}
DEFAULT_PROFILE = "epyc-7763"
# The one that is no constant: what `vinocast tune` found on this machine.
TUNED = "tuned"
PROFILE_NAMES = (*PROFILES, TUNED)


@contextmanager
def isa_cap(profile: Profile) -> Iterator[None]:
    """Let the CPU plugin load with the profile's cap, and with no other; what the environment had is there again after.

    Without effect where the plugin has been loaded in this process before. A program that embeds a model, and the
    processes it starts, keep the environment they had.
    """
    before = {variable: os.environ.get(variable) for variable in ISA_CAP_VARIABLES}
    _set(dict.fromkeys(ISA_CAP_VARIABLES, profile.isa_cap))
    try:
        yield
    finally:
        _set(before)


def _set(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def overridden_caps(profile: Profile) -> list[str]:
    """Return a sentence for each cap of the environment that is not the profile's, and so has no effect."""
    return [
        f"{name}={os.environ[name]} is overridden by the profile ({profile.isa_cap or 'no cap'})"
        for name in ISA_CAP_VARIABLES
        if os.environ.get(name, profile.isa_cap) != profile.isa_cap
    ]
