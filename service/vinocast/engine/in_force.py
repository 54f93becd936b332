"""What is in force in a compiled model, and where that is not what was asked for.

OpenVINO ignores or clamps much in silence: threads beyond the cpuset, a precision that the CPU lacks, a cap on the
instruction set that comes after its plugin was loaded. So what was asked for is compared with what is read back, here
alone, for every model that :class:`vinocast.engine.compile.Compiler` compiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import openvino as ov

Property = str | int | float | bool

# Ascending.
KERNEL_ISAS = ("sse41", "sse42", "avx", "avx2", "avx512", "amx")
# What kernels of AVX-512 need; a processor with AVX512F alone gets those of AVX2.
AVX512_FLAGS = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
# The properties that models tell, by what they are compiled for: asked for once, since OpenVINO's binding for Python
# never lets go of the names that it returns here, some 30 with each answer.
_known: dict[str, frozenset[str]] = {}


def read_back(compiled: ov.CompiledModel, device: str, names: Iterable[str]) -> dict[str, Property]:
    """Return properties of a model compiled for a device, and the instruction sets that kernels for the CPU have.

    ``KERNEL_ISA`` joins what the kernels' names carry, such as ``avx2`` of ``brgemm_avx2_f32``. What a model of another
    device does not tell is left out.
    """
    if device not in _known:  # not those that it runs on: AUTO tells other properties than the CPU that it chooses
        _known[device] = frozenset(compiled.get_property("SUPPORTED_PROPERTIES"))
    read = {name: _plain(compiled.get_property(name)) for name in names if name in _known[device]}
    if "CPU" in compiled.get_property("EXECUTION_DEVICES"):
        kernels = (node.get_rt_info() for node in compiled.get_runtime_model().get_ops())
        parts = {part for info in kernels for part in str(info["primitiveType"].value).split("_")}
        read["KERNEL_ISA"] = ",".join(sorted(parts.intersection(KERNEL_ISAS)))
    return read


def differences(
    asked: Mapping[str, Property], isa_cap: str | None, found: Mapping[str, Property], flags: frozenset[str]
) -> list[str]:
    """Return how what was read back differs from what was asked for, one clause each; none where all is as asked.

    Args:
        asked: the properties a model was compiled with.
        isa_cap: the highest instruction set that its kernels may use; None for what the processor has.
        found: what :func:`read_back` returned.
        flags: those of the processor, as far as they are known.
    """
    different = [
        f"{name}={found[name]} instead of {value}" for name, value in asked.items() if found.get(name, value) != value
    ]
    known = [KERNEL_ISAS.index(isa) for isa in str(found.get("KERNEL_ISA", "")).split(",") if isa in KERNEL_ISAS]
    if known:
        lowest, highest = _expected(isa_cap, flags)
        best = KERNEL_ISAS[max(known)]
        if not lowest <= max(known) <= highest:
            wanted = KERNEL_ISAS[lowest if max(known) < lowest else highest]
            different.append(
                f"kernels for {best} instead of {wanted}: OpenVINO keeps the instruction-set cap that it was first "
                "loaded with in a process; load this model before any other, or in a process of its own"
            )
    return different


def _expected(isa_cap: str | None, flags: frozenset[str]) -> tuple[int, int]:
    """Return between which instruction sets the highest of a model's kernels is to be, as indices."""
    # Below AVX2, and where the processor is not known, nothing can be expected.
    best = "avx512" if flags >= AVX512_FLAGS else "avx2" if "avx2" in flags else KERNEL_ISAS[0]
    highest = KERNEL_ISAS.index(isa_cap.lower()) if isa_cap else len(KERNEL_ISAS) - 1
    return min(KERNEL_ISAS.index(best), highest), highest


def _plain(value: object) -> Property:
    """Turn an OpenVINO property into what JSON and a reader understand; an element type into ``f32``."""
    if isinstance(value, bool | int | float | str):
        return value
    get_type_name = getattr(value, "get_type_name", None)
    return str(get_type_name()) if get_type_name else str(getattr(value, "name", value))
