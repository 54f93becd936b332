"""A short run of everything, through the program, as its users start it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
from support import MODEL, MODELS, RunVinocast
from vinocast.errors import SetupError
from vinocast.measure.bench.figures import QUANTILES

pytestmark = pytest.mark.slow

RATES = (50.0, 200.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def done(folder: Path, run_vinocast: RunVinocast) -> subprocess.CompletedProcess[str]:
    options = ["--quick", "--rate", "50", "--rate", "200", "--json", folder / "report.json"]
    # What a service of the user's own asks for, this one does not.
    environment = os.environ | {"VINOCAST_TOKEN": "of-another-service"}
    return run_vinocast("bench", *options, "--plot", folder / "report.html", env=environment)


@pytest.fixture(scope="module")
def report(done: subprocess.CompletedProcess[str], folder: Path) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = orjson.loads((folder / "report.json").read_bytes())
    return loaded


def requests(report: dict[str, Any], **cell: object) -> list[dict[str, Any]]:
    return [row for row in report["loads"] if cell.items() <= row["cell"].items()]


def test_every_load_is_measured_and_none_fails(report: dict[str, Any]) -> None:
    for transport in ("stdio", "http"):
        for form in ("json", "base64", "stream"):
            for targets in (7, 1):
                cell = {"transport": transport, "form": form, "targets": targets}
                assert [row["cell"]["clients"] for row in requests(report, **cell, rate=None)] == [1, 4, 16]
                assert [row["cell"]["rate"] for row in requests(report, **cell, clients=None)] == list(RATES)
        assert len(requests(report, transport=transport, form="empty")) == 1
    assert len(report["loads"]) == 2 * (3 * 2 * (3 + 2) + 1)
    for row in report["loads"]:
        assert (row["failed"], row["samples"] > 0) == (0, True), row
        quantiles = list(row["latency_ms"].values())
        assert list(row["latency_ms"]) == list(QUANTILES)
        assert quantiles == sorted(quantiles)
        assert quantiles[0] > 0
        assert row["requests_per_second"] > 0
        assert (row["late_ms"] is None) is (row["cell"]["rate"] is None)


def test_a_round_trip_holds_its_inference_and_the_overhead_is_the_rest(report: dict[str, Any]) -> None:
    for row in requests(report, clients=1):
        assert 0 < row["overhead_ms"] <= row["latency_ms"]["p99.9"]
        if row["cell"]["form"] == "empty":
            assert row["inference_ms"] == 0
        else:
            assert 0 < row["inference_ms"] < row["latency_ms"]["p50"]
    assert all(row["overhead_ms"] is None for row in report["loads"] if row["cell"]["clients"] != 1)


def test_each_form_has_a_split_whose_parts_are_the_median_round_trip_but_for_its_own_spread(
    report: dict[str, Any],
) -> None:
    assert len(report["split"]) == 2 * 3 * 2
    for part in report["split"]:
        (row,) = requests(report, clients=1, **{name: part[name] for name in ("transport", "form", "targets")})
        total = sum(value for name, value in part.items() if name.endswith("_ms"))
        assert total == pytest.approx(row["overhead_ms"] + row["inference_ms"], abs=0.001)


def test_the_model_alone_stands_beside_its_floor(report: dict[str, Any]) -> None:
    assert [raw["graph"] for raw in report["raw"]] == ["ours, 7 series", "ours, 1 series"]
    seven, one = report["raw"]
    assert seven["multiply_adds"] == 7 * one["multiply_adds"]
    # The rate has one decimal, which is a coarse one on a machine whose cores are busy.
    rounding = 0.01 + 0.05 / report["matmul_gflops"]
    for raw in (seven, one):
        assert raw["floor_ms"] == pytest.approx(2 * raw["multiply_adds"] / report["matmul_gflops"] / 1e6, rel=rounding)
        assert raw["share"] == pytest.approx(raw["floor_ms"] / raw["infer_ms"]["p50"], rel=rounding, abs=0.001)


def test_machine_start_up_and_memory_are_in_the_report(report: dict[str, Any]) -> None:
    assert report["machine"]["model"] == MODEL
    assert report["machine"]["in_force"]["INFERENCE_PRECISION_HINT"] == "f32"
    assert report["start_up_seconds"]["import openvino"] > 0
    assert report["start_up_seconds"]["stdio, first answer"] > 0
    for memory in report["memory_mb"].values():
        assert 50 < memory["start"] <= memory["end"] * 1.1


def test_the_table_holds_what_the_report_holds(done: subprocess.CompletedProcess[str], report: dict[str, Any]) -> None:
    lines = [re.sub(r" +", " ", line) for line in done.stdout.splitlines()]
    assert sum(line.startswith(("stdio ", "http ")) for line in lines) == len(report["loads"]) + len(
        report["split"]
    ) + len(report["memory_mb"])
    for heading in ("The model alone", "Closed loop", "Open loop", "Where a request's time goes"):
        assert any(line.startswith(heading) for line in lines)
    assert "measuring" in done.stderr


def test_the_page_has_its_charts_and_asks_the_network_for_nothing(report: dict[str, Any], folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert page.count("Plotly.newPlot(") == 5
    assert not re.search(r"""<(script|link)[^>]+(src|href)=["']?https?:""", page)


def test_an_ir_without_one_is_refused(tmp_path: Path, run_vinocast: RunVinocast) -> None:
    done = run_vinocast("bench", "--quick", "--stock", tmp_path)
    assert done.returncode == 1
    assert "--stock" in done.stderr
    (tmp_path / "broken.xml").write_text("<net/>")
    done = run_vinocast("bench", "--quick", "--stock", tmp_path)
    assert done.returncode == 1
    assert "cannot be measured" in done.stderr


def test_another_graph_is_measured_beside_ours(tmp_path: Path) -> None:
    """Any IR of windows will do; the exporter of the stock graph needs torch and has tests of its own."""
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops
    from vinocast.measure.bench.processes import RawModel

    window = ops.parameter([-1, 512, 7], np.float32)
    forecast = ops.matmul(ops.constant(np.ones((96, 512), np.float32)), window, False, False)
    ov.save_model(ov.Model([forecast], [window]), tmp_path / "stock.xml")
    options = {"folder": str(MODELS / MODEL), "profile": "native", "stock": str(tmp_path / "stock.xml")}
    with RawModel(**options) as raw:
        described = raw.describe()
        assert described["multiply_adds"]["stock, 7 series"] == 96 * 512 * 7
        assert all(times > 0 for times in raw.measure("stock, 7 series", 0.01))


def test_a_service_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    from vinocast.measure.bench.processes import HttpService
    from vinocast.settings import Settings

    with (
        pytest.raises(SetupError, match="no model in"),
        HttpService(Settings(models=tmp_path)) as service,
    ):
        service.client()
