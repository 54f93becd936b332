"""``vinocast doctor``: what this machine offers, what was asked for, and whether that is what is in force."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal, NamedTuple

import orjson

from vinocast import __version__
from vinocast.data.bundled import bundled_models
from vinocast.engine import cpu
from vinocast.engine.compile import Compiler
from vinocast.engine.folders import find_models
from vinocast.engine.profiles import Profile, overridden_caps
from vinocast.engine.repository import choose_default, choose_general
from vinocast.engine.tuned import find_profile
from vinocast.errors import ModelRefusedError, SetupError
from vinocast.extras import install_line, missing_extra
from vinocast.kinds import KINDS, open_model
from vinocast.market.channels import find_fault
from vinocast.transports.http.guard import is_local, open_door

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from vinocast.engine.kinds import Engine
    from vinocast.settings import HttpSettings

RUNTIME_PACKAGES = ("openvino", "numpy", "orjson", "pydantic", "fastapi", "uvicorn")
NOTABLE_FLAGS = ("avx2", "fma", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
# Prefixes of variables that older guides set. OpenVINO's wheel runs on TBB, which reads none of them.
IDLE_VARIABLES = ("KMP_", "OMP_", "GOMP_", "MKL_")

State = Literal["", "ok", "WARN", "FAIL"]


class Finding(NamedTuple):
    """One line of the report."""

    state: State
    subject: str
    text: str


def to_json(findings: Sequence[Finding]) -> str:
    """Return the report as one JSON object; what is neither right nor wrong has the state ``info``."""
    report = {
        "failed": any(finding.state == "FAIL" for finding in findings),
        "findings": [finding._asdict() | {"state": finding.state.lower() or "info"} for finding in findings],
    }
    return orjson.dumps(report, option=orjson.OPT_INDENT_2).decode()


def examine(settings: HttpSettings) -> Iterator[Finding]:
    """Yield the report line by line, models compiled and timed on the way."""
    profile, budget = find_profile(settings.profile), cpu.cpu_budget()
    yield from _machine(budget)
    yield from _versions()
    yield _market()
    yield from _environment(profile)
    yield _access(settings)
    if settings.otel:
        yield _spans()
    yield from _profile(profile, budget)
    compiler = Compiler(profile, budget, strict=settings.strict_profile)
    yield Finding("", "plugin", f"element types {' '.join(compiler.capabilities())}")
    root = settings.models or bundled_models()
    yield from _models(root, settings.default_model, compiler)


def _machine(budget: cpu.CpuBudget) -> Iterator[Finding]:
    processor = cpu.processor()
    if processor.flags:
        yield Finding("", "cpu", f"{processor.name} ({', '.join(f for f in NOTABLE_FLAGS if f in processor.flags)})")
    else:
        yield Finding(
            "WARN",
            "cpu",
            f"unknown: {cpu.CPUINFO} cannot be read (systemd: ProcSubset=all), so no --profile tuned",
        )
    if processor.flags and "avx2" not in processor.flags:
        yield Finding("WARN", "cpu", "no AVX2: forecasts will be several times slower")
    quota = "no quota" if budget.quota is None else f"a quota of {budget.quota:g} cores, so threads are not pinned"
    yield Finding("", "budget", f"{budget.cores} cores: affinity {sorted(budget.affinity)}, {quota}")
    if budget.cores < 2:
        yield Finding("WARN", "budget", "one core: a 7-channel forecast takes about twice as long as on two")


def _versions() -> Iterator[Finding]:
    found = []
    for name in RUNTIME_PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding("FAIL", "versions", f"{name} is not installed: {install_line()}")
    yield Finding("", "versions", f"vinocast {__version__}, Python {platform.python_version()}, {', '.join(found)}")


def _market() -> Finding:
    """Whether market streams can be forecast."""
    fault = find_fault()
    if fault is not None:
        return Finding(
            "FAIL", "market", f"no forecasts of market streams: TA-Lib cannot be imported ({fault}): {install_line()}"
        )
    import talib  # noqa: PLC0415 - see find_fault

    return Finding("ok", "market", f"market streams are forecast, with TA-Lib {talib.__version__}")


def _environment(profile: Profile) -> Iterator[Finding]:
    for name, value in sorted(os.environ.items()):
        if name.startswith(IDLE_VARIABLES):
            yield Finding(
                "WARN", "environment", f"{name}={value} has no effect here: OpenVINO runs on TBB; use --profile"
            )
        if name == "ONEDNN_VERBOSE":
            yield Finding("WARN", "environment", f"{name}={value} now and then makes an inference fail: unset it")
    for overridden in overridden_caps(profile):
        yield Finding("WARN", "environment", overridden)


def _access(settings: HttpSettings) -> Finding:
    """Who may ask ``vinocast serve`` where it is started with these settings."""
    local = is_local(settings.host)
    if not (local or settings.token or settings.insecure):
        return Finding("FAIL", "access", f"'vinocast serve' will not start: {open_door(settings.host)}")
    parts = [
        f"{settings.host}, which {'only this host reaches' if local else 'other machines reach'}",
        "a token" if settings.token else "no token",
        f"asked for as {', '.join(settings.allowed_hosts)}" if settings.allowed_hosts else "",
        f"pages of {', '.join(settings.allowed_origins)}" if settings.allowed_origins else "no pages but its own",
    ]
    return Finding("ok" if local or settings.token else "WARN", "access", "; ".join(filter(None, parts)))


def _spans() -> Finding:
    """Where the spans of ``--otel`` go."""
    try:
        from vinocast.monitoring.spans import destination  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError as error:
        return Finding("FAIL", "otel", str(missing_extra("otel", error)))
    return Finding("ok", "otel", f"a span of each request goes to {destination()}")


def _profile(profile: Profile, budget: cpu.CpuBudget) -> Iterator[Finding]:
    yield Finding("", "profile", f"{profile.name}: {profile.summary}")
    asked = profile.plugin_config(budget)
    yield Finding("", "asked", ", ".join(f"{name}={value}" for name, value in asked.items()))


def _models(root: Path, wanted: str | None, compiler: Compiler) -> Iterator[Finding]:
    try:
        folders = find_models(root)
    except SetupError as error:
        yield Finding("FAIL", "models", str(error))
        return
    lead = next(iter(KINDS.values()))
    names: dict[str, None] = {}
    for name, path in folders.items():
        try:
            folder = open_model(path, name)
            kind = KINDS[folder.manifest.kind]
            engine = kind.create(folder)
            engine.load(compiler)
            engine.load_rest(compiler, lambda: False)
        except ModelRefusedError as error:
            yield Finding("FAIL", name, str(error))
            continue
        if kind is lead:
            names[folder.name] = None
        what, *figures = engine.summary()
        yield Finding("ok", name, what)
        yield from _in_force(name, engine)
        for figure in figures:
            yield Finding("", name, figure)
    try:
        default = choose_default(root, lead, [*names], wanted)
    except SetupError as error:
        yield Finding("FAIL", "models", str(error))
        return
    general = choose_general(lead, names, wanted, default)
    which = f", and for files, inputs and windows with channels {general}" if general != default else ""
    yield Finding("ok", "models", f"default model {default}{which} of {root}")


def _in_force(name: str, engine: Engine) -> Iterator[Finding]:
    for warning in engine.warnings:
        yield Finding("WARN", name, warning)
    read, all_as_asked = engine.in_force, "" if engine.warnings else "all as asked, "
    yield Finding(
        "" if engine.warnings else "ok",
        name,
        f"in force: {all_as_asked}{read['INFERENCE_PRECISION_HINT']}, kernels for {read['KERNEL_ISA']}",
    )
