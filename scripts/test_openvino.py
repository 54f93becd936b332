"""Check the glyph nets that are served: PyTorch, ONNX and OpenVINO must agree at every batch size.

    python scripts/test_openvino.py
    python scripts/test_openvino.py --phase1_ckpt p1.pt --phase2_ckpt p2.pt --label_map label_map.json

Prints a line per step and ends with ``✓ ALL TESTS PASSED``, or says what failed and exits with 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

if importlib.util.find_spec("vinocast") is None:  # run from a checkout that is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "service"))

from vinocast.data.bundled import BUNDLED_GLYPHS, bundled_models
from vinocast.errors import SetupError
from vinocast.extras import missing_extra
from vinocast.glyphs.labels import check_same_labels, read_label_map
from vinocast.process.standard_streams import ending_in_a_sentence

BUNDLED = bundled_models() / BUNDLED_GLYPHS
BATCHES = (1, 4, 16, 64, 256)
TOLERANCE = 1e-3


def main(arguments: list[str] | None = None) -> int:
    """Run the checks; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, file in (
        ("phase1_ckpt", "source/phase1.safetensors"),
        ("phase2_ckpt", "source/phase2.safetensors"),
        ("label_map", "label_map.json"),
    ):
        parser.add_argument(f"--{name}", type=Path, default=BUNDLED / file, help="(default: %(default)s)")
    parser.add_argument("--config_yaml", type=Path, help="architecture of Phase 2, over the checkpoint's own")
    options = parser.parse_args(arguments)
    try:
        try:
            check(options)
        except ModuleNotFoundError as error:
            raise missing_extra("convert", error) from error
    except (SetupError, AssertionError) as error:
        print(f"✗ {error}", file=sys.stderr)
        return 1
    print("✓ ALL TESTS PASSED")
    return 0


def check(options: argparse.Namespace) -> None:
    """Run the checks; raises SetupError or AssertionError that says which failed."""
    try:
        import openvino as ov
    except ImportError as error:
        raise SetupError("OpenVINO is not installed: pip install 'openvino>=2026.4,<2027'") from error
    print(f"✓ OpenVINO is available\n  {ov.get_version()}, devices: {', '.join(ov.Core().available_devices)}")
    import onnx
    import torch
    from onnx.reference import ReferenceEvaluator
    from vinocast.export.glyphs.architecture import read_config_yaml
    from vinocast.export.glyphs.checkpoint import (
        LAST_WEIGHT,
        phase1_net,
        phase2_net,
        read_checkpoint,
    )
    from vinocast.export.glyphs.engine import OpenVINOInferenceEngine
    from vinocast.export.glyphs.onnx import (
        convert_onnx_to_openvino,
        export_phase1_to_onnx,
        export_phase2_to_onnx,
    )

    weights = read_checkpoint(options.phase2_ckpt)
    config = read_config_yaml(options.config_yaml) if options.config_yaml else None
    first, second = phase1_net(read_checkpoint(options.phase1_ckpt)), phase2_net(weights, config)
    labels, outputs = read_label_map(options.label_map), len(weights.state[LAST_WEIGHT])
    check_same_labels(weights.labels, outputs, labels, options.phase2_ckpt, options.label_map)
    inputs: dict[str, NDArray[Any]] = {"phase1": random_cells(), "phase2": random_grids(second.architecture.primitives)}
    with torch.inference_mode():
        nets: dict[str, torch.nn.Module] = {"phase1": first, "phase2": second}
        expected = {name: net(torch.from_numpy(inputs[name])).numpy() for name, net in nets.items()}
    for name, logits in expected.items():
        expect(np.isfinite(logits).all(), f"{name} answers NaN or infinity")
    print("✓ PyTorch inference successful")

    with tempfile.TemporaryDirectory() as folder:
        files = {
            "phase1": export_phase1_to_onnx(first, Path(folder) / "phase1_model.onnx"),
            "phase2": export_phase2_to_onnx(second, Path(folder) / "phase2_model.onnx"),
        }
        differences: list[float] = []
        for name, file in files.items():
            onnx.checker.check_model(file, full_check=True)
            evaluator = ReferenceEvaluator(str(file))
            (answer,) = evaluator.run(None, {evaluator.input_names[0]: inputs[name][:1]})
            differences.append(largest(answer, expected[name][:1]))
            print(f"  {name} ONNX, batch 1: max_diff {differences[-1]:.1e}")
        print("✓ ONNX export successful")
        irs = {name: convert_onnx_to_openvino(file, Path(folder) / f"{name}_model.xml") for name, file in files.items()}
        print("✓ OpenVINO conversion successful")
        for name, ir in irs.items():
            engine = OpenVINOInferenceEngine(ir, "CPU", BATCHES)
            for batch in BATCHES:
                differences.append(largest(engine.infer(inputs[name][:batch]), expected[name][:batch]))
                print(f"  {name} OpenVINO, batch {batch}: max_diff {differences[-1]:.1e}")
        print("✓ OpenVINO inference successful")
    worst = max(differences)
    expect(worst < TOLERANCE, f"outputs differ: max_diff {worst:.1e}, at most {TOLERANCE}")
    print(f"  largest difference of all: {worst:.1e}")
    print(f"✓ Outputs match (max_diff < {TOLERANCE})")


def random_cells() -> NDArray[np.float32]:
    """Return binary cells float32 [n, 1, 8, 8], as Phase 1 sees them."""
    return np.random.default_rng(0).integers(0, 2, (max(BATCHES), 1, 8, 8)).astype(np.float32)


def random_grids(primitives: int) -> NDArray[np.int64]:
    """Return grids int64 [n, 16, 16] with as many empty cells as glyphs have."""
    rng = np.random.default_rng(0)
    grids = rng.integers(0, primitives, (max(BATCHES), 16, 16))
    return np.where(rng.random(grids.shape) < 0.6, 0, grids)


def largest(answer: Any, expected: NDArray[np.float32]) -> float:
    """Return the largest difference of two arrays of one shape."""
    expect(answer.shape == expected.shape, f"shape {answer.shape}, expected {expected.shape}")
    return float(np.abs(answer - expected).max())


def expect(condition: object, otherwise: str) -> None:
    """Raise AssertionError unless the condition holds."""
    if not condition:
        raise AssertionError(otherwise)


if __name__ == "__main__":
    with ending_in_a_sentence("test_openvino.py"):
        sys.exit(main())
