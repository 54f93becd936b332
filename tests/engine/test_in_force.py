"""Where something else is in force than was asked for, every door says so, and refuses it where that was asked for."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys

import numpy as np
import openvino as ov
import orjson
import pytest
from openvino import opset13 as op
from support import MODEL, MODELS, StdioService, uncapped
from vinocast.data.bundled import BUNDLED
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import CpuBudget, cpu_budget
from vinocast.engine.in_force import differences
from vinocast.engine.profiles import ISA_CAP_VARIABLES, PROFILES
from vinocast.errors import ModelRefusedError
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import open_forecaster

# A program that has used OpenVINO before, under a cap of its own. What has AVX2 has this difference.
USED_BEFORE = f"""
import os, sys
for name in {ISA_CAP_VARIABLES}:
    os.environ[name] = "SSE41"
import openvino as ov
ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
for name in {ISA_CAP_VARIABLES}:
    del os.environ[name]
"""
DOORS = """
import orjson
from pathlib import Path
from scripts.inference_openvino import PatchTSTOpenVINOInference
from vinocast.errors import SetupError
from vinocast.export.glyphs.engine import OpenVINOInferenceEngine
from vinocast.glyphs.recognizer import Recognizer
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.glyphs.manifest import GlyphsManifest
from vinocast.engine.manifest import ModelFolder
from vinocast.kinds import open_model
from vinocast.engine.profiles import PROFILES
models, strict = Path(sys.argv[1]), {}
for profile in ("epyc-7763", "native"):
    try:
        PatchTSTOpenVINOInference(models / "patchtst-etth1", profile, strict=True)
    except SetupError as error:
        strict[profile] = str(error)
recognizer = Recognizer(open_model(models / "glyphs"))
recognizer.load(Compiler(PROFILES["epyc-7763"], cpu_budget()))
found = {
    "class": PatchTSTOpenVINOInference(models / "patchtst-etth1").warnings,
    "recognizer": recognizer.warnings,
    "engine": OpenVINOInferenceEngine(models / "glyphs" / "phase2.xml", batches=[1]).warnings,
}
print(orjson.dumps({"found": found, "strict": strict, "environment": dict(os.environ)}).decode())
"""
SERVICE = """
from vinocast.cli import main
main(sys.argv[1:])
"""
LOWERED = r"kernels for sse42 instead of avx"


EMBEDDED = (sys.executable, "-c", USED_BEFORE + SERVICE)


def run_embedded(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*EMBEDDED, *arguments], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_a_cap_that_was_in_force_before_is_told_at_every_door() -> None:
    environment = uncapped()
    done = subprocess.run(
        [sys.executable, "-c", USED_BEFORE + DOORS, str(MODELS)],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
        env=environment,
    )
    told = orjson.loads(done.stdout)
    for warnings in told["found"].values():
        (warning,) = warnings
        assert LOWERED in warning
    assert told["strict"].keys() == {"epyc-7763", "native"}
    for profile, error in told["strict"].items():
        assert f"the profile {profile} is not in force: {LOWERED}" in error
    assert LOWERED in done.stderr
    # What a program starts from then on is not under a cap that only the model has asked for.
    assert told["environment"] == environment


@pytest.mark.slow
def test_a_service_tells_it_in_a_ping_and_in_its_log_and_a_strict_one_does_not_start() -> None:
    with StdioService(program=EMBEDDED) as service:
        ping = service.ask({"op": "ping"})
        model = next(model for model in ping["models"] if model["name"] == MODEL)
        assert ping["ready"]
        assert LOWERED in model["warnings"][0]
        assert LOWERED in service.log
    with StdioService("--strict-profile", program=EMBEDDED) as service:
        ping = service.ask({"op": "ping"})
        assert not ping["ready"]
        assert LOWERED in ping["models"][0]["error"]
        assert service.finish() == ([], 1)
    done = run_embedded("serve", "--port", "0", "--strict-profile")
    assert done.returncode == 1
    assert (
        f"vinocast: the default model cannot be served: the profile epyc-7763 is not in force: {LOWERED}" in done.stderr
    )


@pytest.mark.slow
@pytest.mark.parametrize(("options", "state", "code"), [([], "WARN", 0), (["--strict-profile"], "FAIL", 1)])
def test_the_doctor_tells_it(options: list[str], state: str, code: int) -> None:
    done = run_embedded("doctor", *options)
    assert done.returncode == code, done.stderr
    findings = [line for line in done.stdout.splitlines() if LOWERED in line]
    assert [line.split()[:2] for line in findings] == [[state, name] for name in sorted(BUNDLED)]


def test_a_service_of_its_own_has_nothing_to_warn_of_and_starts_strictly() -> None:
    with StdioService("--strict-profile", env=dict.fromkeys(ISA_CAP_VARIABLES, "SSE41")) as service:
        ping = service.ask({"op": "ping"})
        assert ping["ready"]
        assert all("warnings" not in model for model in ping["models"])
        # That a cap of the user's does not count is no secret.
        assert all(f"{name}=SSE41 is overridden by the profile (AVX2)" in service.log for name in ISA_CAP_VARIABLES)


def test_threads_beyond_the_machine_are_told_once_and_refused_where_that_was_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    budget = CpuBudget(frozenset(range(2 * (os.cpu_count() or 1) + 2)), None)
    rows = op.parameter([-1, 3], np.float32)
    graph = ov.Model([op.softmax(rows, 1)], [rows])
    compiler = Compiler(PROFILES["throughput"], budget)
    with caplog.at_level(logging.WARNING):
        warnings = [compiler.compile(graph, (count, 3)).warnings for count in (1, 2)]
    (clamped,) = [warning for warning in warnings[0] if "THREADS" in warning]
    assert f"instead of {budget.cores}" in clamped
    assert warnings[0] == warnings[1]
    assert [record.getMessage() for record in caplog.records if "THREADS" in record.getMessage()] == [clamped]
    with pytest.raises(ModelRefusedError, match="INFERENCE_NUM_THREADS"):
        Compiler(PROFILES["throughput"], budget, strict=True).compile(graph, (1, 3))


def test_every_property_that_is_not_as_asked_is_named() -> None:
    asked = PROFILES["native"].plugin_config(cpu_budget())
    assert differences(asked, None, asked, frozenset()) == []
    for name, value in asked.items():
        other = not value if isinstance(value, bool) else value + 7 if isinstance(value, int) else "other"
        (clause,) = differences(asked, None, asked | {name: other}, frozenset())
        assert clause == f"{name}={other} instead of {value}"


@pytest.mark.parametrize(
    ("flags", "cap", "kernels", "wanted"),
    [
        ("avx2", "AVX2", "avx,avx2", None),
        ("avx2", "AVX2", "sse42", "avx2"),
        ("avx2", None, "avx,sse42", "avx2"),
        ("avx2", None, "", None),
        ("avx512f avx2", None, "avx2", None),
        ("avx512f avx512bw avx512dq avx512vl avx2", "AVX2", "avx2", None),
        ("avx512f avx512bw avx512dq avx512vl avx2", "AVX2", "avx2,avx512", "avx2"),
        ("avx512f avx512bw avx512dq avx512vl avx2 amx_int8", "AVX2", "amx,avx2", "avx2"),
        ("avx512f avx512bw avx512dq avx512vl avx2", None, "avx2", "avx512"),
        ("avx512f avx512bw avx512dq avx512vl avx2 amx_int8", None, "amx,avx512", None),
        ("sse4_1", "AVX2", "sse42", None),
        ("", None, "sse42", None),
        ("", "AVX2", "avx512", "avx2"),
    ],
)
def test_kernels_are_those_of_the_processor_under_its_cap(
    monkeypatch: pytest.MonkeyPatch, flags: str, cap: str | None, kernels: str, wanted: str | None
) -> None:
    found = differences({}, cap, {"KERNEL_ISA": kernels}, frozenset(flags.split()))
    assert bool(found) is (wanted is not None)
    if wanted:
        assert f"instead of {wanted}:" in found[0]


@pytest.mark.slow
def test_a_model_that_is_let_go_leaves_no_objects_behind() -> None:
    compiler = Compiler(PROFILES["native"], cpu_budget())

    def objects() -> int:
        """Return how many there are once a model has been loaded in all its shapes, and let go."""
        engine = ForecastEngine(open_forecaster(MODELS / MODEL))
        engine.load(compiler)
        engine.load_rest(compiler)
        shapes.add(len(engine.compiled_counts))
        del engine
        gc.collect()
        return sys.getallocatedblocks()

    shapes: set[int] = set()
    first = [objects() for _ in range(3)][-1]
    last = [objects() for _ in range(5)][-1]
    assert shapes == {7}
    assert last - first < 5 * 7 * 10
