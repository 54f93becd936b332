"""How a model is compiled: the named profiles, what they set, and what came out of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from service.errors import SetupError

if TYPE_CHECKING:
    import openvino as ov

    from service.runtime.cpu import CpuBudget
    from service.runtime.manifest import ForecasterFolder

# What a profile sets, and what is read back from the compiled model.
PROPERTIES = (
    "PERFORMANCE_HINT",
    "INFERENCE_PRECISION_HINT",
    "NUM_STREAMS",
    "INFERENCE_NUM_THREADS",
    "ENABLE_CPU_PINNING",
)

KERNEL_ISAS = ("sse41", "sse42", "avx", "avx2", "avx512", "amx")

# Both caps are needed: the first binds oneDNN's kernels only, the second the CPU plugin's own. Each is read once, when
# the plugin loads, and a misspelt value is ignored in silence, so what is in force is read back by `doctor`.
ISA_CAP_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "OV_CPU_MAX_ISA")


# Threads of one inference, where the CPU budget has so many.
MOST_THREADS = 2


class Choice(NamedTuple):
    """How one model is compiled under a profile: the profile of its own, the files, and what a user should know."""

    profile: Profile
    folder: ForecasterFolder
    warning: str | None = None


@dataclass(frozen=True)
class Profile:
    """One way of running inference on this machine.

    Attributes:
        name: as given to ``--profile``.
        summary: one sentence for the help page.
        isa_cap: the highest instruction set the kernels may use, or ``None`` for what the CPU has.
        threads: inference threads per stream at most; the CPU budget may grant fewer.
        stream_per_core: one inference stream a core, each of one thread, instead of one stream.
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

    def choose(self, folder: ForecasterFolder) -> Choice:
        """Return how a model is compiled under this profile: as any other, from its own files."""
        return Choice(self, folder)

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
        Profile("throughput", "what the CPU has, f32, a stream a core, series dealt out to them", stream_per_core=True),
    )
}
DEFAULT_PROFILE = "epyc-7763"
# The one that is no constant: what `vinocast tune` found on this machine.
TUNED = "tuned"
PROFILE_NAMES = (*PROFILES, TUNED)


def find_profile(name: str) -> Profile:
    """Return a profile by name; raises SetupError that lists the names, or says why there is no ``tuned``."""
    if name == TUNED:
        from service.runtime.tuned import read_tuned  # noqa: PLC0415 - built on this module

        return read_tuned()
    try:
        return PROFILES[name]
    except KeyError:
        raise SetupError(f"no profile named {name!r}; choose one of {', '.join(PROFILE_NAMES)}") from None


def apply_isa_cap(profile: Profile) -> None:
    """Set the process environment so that the CPU plugin loads with the profile's cap, and with no other.

    Must run before the first model is compiled in this process.
    """
    for variable in ISA_CAP_VARIABLES:
        if profile.isa_cap is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = profile.isa_cap


def in_force(compiled: ov.CompiledModel) -> dict[str, str | int | float | bool]:
    """Read back from a compiled model the properties that a profile asks for, and the ISA its kernels were built for.

    ``KERNEL_ISA`` joins the instruction sets that the kernels' names carry, such as ``avx2`` of ``brgemm_avx2_f32``.
    """
    read: dict[str, str | int | float | bool] = {name: _plain(compiled.get_property(name)) for name in PROPERTIES}
    kernels = (str(node.get_rt_info()["primitiveType"].value) for node in compiled.get_runtime_model().get_ops())
    read["KERNEL_ISA"] = ",".join(sorted({isa for name in kernels for isa in name.split("_") if isa in KERNEL_ISAS}))
    return read


def _plain(value: object) -> str | int | float | bool:
    """Turn an OpenVINO property into what JSON and a reader understand; an element type into ``f32``."""
    if isinstance(value, bool | int | float | str):
        return value
    get_type_name = getattr(value, "get_type_name", None)
    return str(get_type_name()) if get_type_name else str(value)
