"""What a profile asks for is what the compiled model says is in force."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import orjson
import pytest
from support import MODEL, MODELS
from vinocast.engine.cpu import CpuBudget, cpu_budget
from vinocast.engine.profiles import DEFAULT_PROFILE, ISA_CAP_VARIABLES, PROFILES
from vinocast.engine.tuned import find_profile
from vinocast.errors import SetupError

# The plugin reads the cap when it loads, so each profile gets a process of its own; environment variables that were
# set by somebody else must not survive in it.
READ_BACK = """
import os, sys, orjson
from pathlib import Path
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget, processor
from vinocast.engine.profiles import PROFILES
compiler = Compiler(PROFILES[sys.argv[1]], cpu_budget())
shape = compiler.compile(compiler.read(Path(sys.argv[2])), (7, 512))
found = {"in_force": shape.in_force, "warnings": shape.warnings, "capabilities": compiler.capabilities()}
print(orjson.dumps(found).decode())
"""


def read_back(profile: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", READ_BACK, profile, str(MODELS / MODEL / "model.xml")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return dict(orjson.loads(done.stdout))


@pytest.mark.parametrize("name", list(PROFILES))
def test_what_is_in_force_is_what_the_profile_asks_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ISA_CAP_VARIABLES:
        monkeypatch.setenv(variable, "SSE41")
    budget = cpu_budget()
    found = read_back(name)
    asked = PROFILES[name].plugin_config(budget)
    if asked["INFERENCE_PRECISION_HINT"] == "bf16" and "BF16" not in found["capabilities"]:
        pytest.skip("this processor has no bf16")
    assert {key: found["in_force"][key] for key in asked} == asked
    assert found["warnings"] == []
    assert asked["INFERENCE_PRECISION_HINT"] == ("bf16" if name == "native-bf16" else "f32")
    # The cap somebody else had set is not in force in either case.
    allowed = {"avx", "avx2"} if PROFILES[name].isa_cap == "AVX2" else {"avx", "avx2", "avx512", "amx"}
    kernels = set(found["in_force"]["KERNEL_ISA"].split(","))
    assert kernels <= allowed
    assert "avx2" in kernels or not allowed <= {"avx", "avx2"}


@pytest.mark.slow
def test_the_cap_takes_away_what_the_processor_has_beyond_avx2() -> None:
    capped, native = read_back("epyc-7763")["capabilities"], read_back("native")["capabilities"]
    assert "FP32" in capped
    assert set(capped) <= set(native)
    # Only processors beyond AVX2 compute in bfloat16 and half precision.
    assert not {"BF16", "FP16"} & set(capped)


@pytest.mark.parametrize("name", list(PROFILES))
@pytest.mark.parametrize("cores", [1, 2, 16])
@pytest.mark.parametrize("quota", [None, 1.5])
def test_no_profile_plans_for_more_threads_than_the_budget_or_for_another_precision(
    name: str, cores: int, quota: float | None
) -> None:
    budget = CpuBudget(frozenset(range(cores)), quota)
    config = PROFILES[name].plugin_config(budget)
    assert 1 <= int(config["INFERENCE_NUM_THREADS"]) <= budget.cores
    assert (config["INFERENCE_PRECISION_HINT"] == "f32") is (name != "native-bf16")
    assert config["ENABLE_CPU_PINNING"] is (quota is None)


def test_the_default_profile_is_two_threads_one_stream_under_an_avx2_cap() -> None:
    profile = find_profile(DEFAULT_PROFILE)
    assert (profile.name, profile.isa_cap) == ("epyc-7763", "AVX2")
    config = profile.plugin_config(CpuBudget(frozenset(range(8)), None))
    assert (config["PERFORMANCE_HINT"], config["NUM_STREAMS"], config["INFERENCE_NUM_THREADS"]) == ("LATENCY", 1, 2)


def test_an_unknown_profile_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(SetupError, match=r"'fast'.*epyc-7763, native, native-bf16, throughput, tuned"):
        find_profile("fast")
