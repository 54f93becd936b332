"""What a command says when its extra is not installed: the line that the documents have, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import orjson
import pytest
from support import ROOT

SETUP = (ROOT / "OPENVINO_SETUP.md").read_text()
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

# Python takes a module that stands for None as one that is not installed.
WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
from vinocast.cli import main
main(sys.argv[2:], prog_name="vinocast")
"""

NEEDS = [
    ("convert", "torch", ["convert", "nowhere", "--output", "never"]),
    ("train", "torch", ["train", "forecast", "--data", "nowhere.csv", "--output", "never"]),
    ("train", "torch", ["train", "glyphs", "--fonts", "nowhere", "--output", "never", "--work", "never"]),
    ("bench", "plotly", ["bench", "--quick", "--plot", "never.html"]),
    ("plot", "plotly", ["forecast", "never.csv", "--plot", "never.html"]),
    ("plot", "matplotlib", ["forecast", "never.csv", "--plot", "never.png"]),
    ("feed", "websockets", ["feed", "coinbase", "--product", "A"]),
    ("top", "textual", ["top"]),
    ("grpc", "grpc", ["serve", "--grpc-port", "0"]),
    ("otel", "opentelemetry.sdk", ["serve", "--otel"]),
    ("otel", "opentelemetry.exporter.otlp", ["stdio", "--otel"]),
    ("files", "pyarrow", ["forecast", "never.csv", "--output", "never.parquet"]),
]


def run_without(module: str, arguments: list[str], cwd: Path, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT, module, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(("extra", "module", "arguments"), NEEDS, ids=lambda value: str(value)[:30])
@pytest.mark.slow
def test_a_command_that_misses_its_extra_says_the_documented_line(
    extra: str, module: str, arguments: list[str], tmp_path: Path
) -> None:
    line = f"-m pip install --editable '.[{extra}]'"
    assert f"`.venv/bin/python {line}`" in SETUP
    done = run_without(module, arguments, ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("vinocast: ")
    assert done.stderr.endswith(f" {line}\n")
    # Elsewhere the line works as well.
    done = run_without(module, arguments, tmp_path)
    assert done.stderr.endswith(f" -m pip install --editable '{ROOT}[{extra}]'\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_replay_needs_no_extra_but_to_reach_a_service_or_draw(tmp_path: Path) -> None:
    capture = tmp_path / "capture.jsonl"
    match = {"type": "match", "product_id": "A", "size": "1", "price": "2", "sequence": 1}
    each = (match | {"trade_id": number, "time": f"2026-03-04T05:0{number}:00Z"} for number in range(1, 5))
    capture.write_bytes(b"".join(orjson.dumps(message) + b"\n" for message in each))
    without = WITHOUT.replace(
        "sys.modules[sys.argv[1]] = None", "sys.modules.update(dict.fromkeys(sys.argv[1].split(',')))"
    )
    for options, code, said in (
        ((), 0, "messages: seen 4, used 4"),
        (("--url", "http://127.0.0.1:1"), 1, "the extra 'client' is not installed"),
        (("--plot", "never.html"), 1, "the extra 'plot' is not installed"),
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-c", without, "httpx,plotly,rich,tenacity,websockets",
             "replay", str(capture), "--bar", "1m", *options],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize("extra", EXTRAS)
def test_no_extra_asks_for_what_no_index_has_beside_this_torch(extra: str) -> None:
    # optimum-intel asks for torchvision.
    assert not [requirement for requirement in EXTRAS[extra] if requirement.startswith(("optimum", "torchvision"))]
    assert f"`python -m pip install 'vinocast-0.1.0-py3-none-any.whl[{extra}]'`" in SETUP
