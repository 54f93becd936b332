"""A checkpoint on OpenVINO answers as in torch, at every batch size; another checkpoint answers otherwise at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from glyph_support import logits, phase1, phase2, random_grids, save
from support import ROOT
from vinocast.errors import SetupError
from vinocast.export.glyphs.engine import convert_checkpoint
from vinocast.glyphs.chain import GlyphChain, plain_cells

from scripts import infer_chain


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    save(folder / "p2.pt", phase2())
    return folder


def test_phase_2_answers_as_in_torch_for_1_to_1024_grids(folder: Path) -> None:
    net = phase2()
    engine = infer_chain.setup_openvino_model(folder / "p2.pt", folder / "cache")
    grids = random_grids(1024)
    expected = logits(net, grids)
    for count in (1, 3, 4, 16, 64, 256, 1024):
        np.testing.assert_allclose(engine.infer(grids[:count]), expected[:count], atol=1e-4)
    documented = folder / "cache" / "openvino_ir" / "phase2_model.xml"
    again = infer_chain.OpenVINOInferenceEngine(documented, "CPU", [7])
    np.testing.assert_allclose(again(grids[:20]), expected[:20], atol=1e-4)
    assert (folder / "cache" / "phase2_model.onnx").is_file()


def test_swapping_the_checkpoint_changes_the_answers_at_once(folder: Path) -> None:
    grids, path = random_grids(5), folder / "swap" / "p2.pt"
    path.parent.mkdir()
    for seed in (2, 3):
        save(path, phase2(seed))
        engine = infer_chain.setup_openvino_model(path, folder / "cache")
        np.testing.assert_allclose(engine.infer(grids), logits(phase2(seed), grids), atol=1e-4)


def test_int8_ranks_nearly_as_f32_and_is_cached_by_its_calibration(folder: Path) -> None:
    path, grids = folder / "p2.pt", random_grids(200)
    entries = [
        convert_checkpoint(path, folder / "cache", calibration=sample.astype(np.uint16))
        for sample in (grids[:32], grids[:32], grids[32:64])
    ]
    assert entries[0].folder == entries[1].folder != entries[2].folder
    assert b'type="FakeQuantize"' in entries[0].graph
    engine = infer_chain.OpenVINOInferenceEngine(entries[0])
    agreement = (engine.infer(grids).argmax(1) == logits(phase2(), grids).argmax(1)).mean()
    assert agreement > 0.9


INT8 = """
import hashlib, sys
from pathlib import Path
import numpy as np
from glyph_support import random_grids
from vinocast.export.glyphs.engine import convert_checkpoint
grids = random_grids(8).astype(np.uint16)
entry = convert_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), calibration=grids)
print(hashlib.sha256(entry.graph + entry.weights).hexdigest())
"""


def test_int8_is_the_same_on_every_instruction_set(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()  # where one stands decides nothing either
    made = []
    for isa in ("SSE41", "AVX2"):
        caps = dict.fromkeys(("OV_CPU_MAX_ISA", "ONEDNN_MAX_CPU_ISA"), isa) | {"PYTHONPATH": str(ROOT / "tests")}
        command = [sys.executable, "-c", INT8, str(folder / "p2.pt"), str(tmp_path / isa)]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | caps, capture_output=True, text=True, timeout=170, check=False
        )
        assert done.returncode == 0, done.stderr
        made.append(done.stdout)
    assert made[0] == made[1]


def test_phase_1_gives_the_ids_of_torch(folder: Path) -> None:
    engine = infer_chain.setup_openvino_model(save(folder / "p1.pt", phase1()), folder / "cache", phase=1)
    rasters = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (3, 128, 128))
    rasters[:, 40:] = 0
    cells, empty = plain_cells(rasters)
    expected = logits(phase1(), cells).argmax(1)
    expected[empty] = 0
    np.testing.assert_array_equal(GlyphChain(engine, engine).grids(rasters).ravel(), expected)


def test_one_grid_and_ids_that_there_are_not_are_refused(folder: Path) -> None:
    engine = infer_chain.setup_openvino_model(folder / "p2.pt", folder / "cache")
    grids = random_grids(2)
    for wrong, fault in (
        (grids[0], r"expected an array \[n, 16, 16\], got \[16, 16\]"),
        (grids[:, :8], r"got \[2, 8, 16\]"),
        (np.where(grids == grids[0, 0, 0], 5000, grids), r"ids from 0 to 1023, got \d+ to 5000"),
        (np.where(grids == grids[0, 0, 0], -1, grids), "ids from 0 to 1023, got -1 to"),
        (grids.astype(float), r"whole numbers, got \[2, 16, 16\] of float64"),
    ):
        with pytest.raises(ValueError, match=fault):
            engine.infer(wrong)
    assert engine.infer(grids[:0]).shape == (0, 8)


def test_older_code_that_imports_the_functions_works_as_it_calls_them(folder: Path, tmp_path: Path) -> None:
    class Older(torch.nn.Module):
        """A net of a class that is not ours."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = phase2()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.inner(x)
            return y

    net, grids = Older().eval(), random_grids(5)
    expected = torch.softmax(torch.from_numpy(logits(phase2(), grids)), dim=1).topk(3, dim=1)
    onnx_path, ir_folder = tmp_path / "phase2_model.onnx", tmp_path / "openvino_ir"
    infer_chain.export_phase2_to_onnx(net, onnx_path, batch_size=4)
    xml = infer_chain.convert_onnx_to_openvino(onnx_path, ir_folder)
    assert xml == ir_folder / "phase2_model.xml"
    for engine in (
        infer_chain.OpenVINOInferenceEngine(xml, device="CPU"),
        infer_chain.setup_openvino_model(net, cache_dir=tmp_path / "cache", device="CPU"),
    ):
        indices, probabilities = engine.predict_batch(torch.from_numpy(grids), topk=3)
        torch.testing.assert_close(indices, expected.indices)
        torch.testing.assert_close(probabilities, expected.values, atol=1e-5, rtol=0)
    other = Older().eval()
    other.inner = phase2(seed=3)
    swapped = infer_chain.setup_openvino_model(other, tmp_path / "cache")
    np.testing.assert_allclose(swapped.infer(grids), logits(phase2(seed=3), grids), atol=1e-4)


def test_a_device_that_is_not_there_is_a_clear_error(folder: Path) -> None:
    for device, fault in (("GPU", "finds no device GPU"), ("NPU", "choose one of CPU, GPU, AUTO")):
        with pytest.raises(SetupError, match=fault):
            infer_chain.OpenVINOInferenceEngine(folder / "none.xml", device)


def test_what_is_no_phase_2_is_refused_before_anything_is_cached(folder: Path) -> None:
    with pytest.raises(SetupError, match=r"lacks stem\.conv\.weight|lacks embedding\.weight"):
        convert_checkpoint(save(folder / "wrong.pt", phase1()), folder / "other")
    with pytest.raises(SetupError, match="No such file"):
        convert_checkpoint(folder / "nothing.pt", folder / "other")
    assert list((folder / "other" / "entries").iterdir()) == []
