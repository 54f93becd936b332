"""The check of the real models passes on nets that agree, and fails on what is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from glyph_support import LABELS, phase1, phase2, save
from support import ROOT

from scripts.test_openvino import main

LINES = [
    "✓ OpenVINO is available",
    "✓ PyTorch inference successful",
    "✓ ONNX export successful",
    "✓ OpenVINO conversion successful",
    "✓ OpenVINO inference successful",
    "✓ Outputs match (max_diff < 0.001)",
    "✓ ALL TESTS PASSED",
]


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    save(tmp_path / "phase1.pt", phase1())
    save(tmp_path / "phase2.pt", phase2())
    (tmp_path / "map.json").write_bytes(orjson.dumps({label: index for index, label in enumerate(LABELS)}))
    names = {"phase1_ckpt": "phase1.pt", "phase2_ckpt": "phase2.pt", "label_map": "map.json"}
    return [word for name, file in names.items() for word in (f"--{name}", str(tmp_path / file))]


def test_nets_that_agree_pass_with_the_lines_that_readers_expect(options: list[str]) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "test_openvino.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("✓")] == LINES
    assert len([line for line in done.stdout.splitlines() if "OpenVINO, batch" in line]) == 10


def test_without_its_extra_it_says_the_line_that_installs_it(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(options) == 1
    assert "the extra 'convert' is not installed (" in capsys.readouterr().err


def test_models_that_do_not_fit_fail(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "phase2.pt", phase2(labels=9))
    assert main(options) == 1
    captured = capsys.readouterr()
    assert "has 9 labels" in captured.err
    assert "ALL TESTS PASSED" not in captured.out
    assert main([*options, "--phase1_ckpt", str(tmp_path / "none.pt")]) == 1
    assert "none.pt: No such file" in capsys.readouterr().err


def test_a_label_map_in_another_order_than_the_checkpoints_fails(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "phase2.pt", phase2(), label_map={label: index for index, label in enumerate(reversed(LABELS))})
    assert main(options) == 1
    captured = capsys.readouterr()
    assert "is not the label map that" in captured.err
    assert "ALL TESTS PASSED" not in captured.out
