"""The doors of the older guides lead into the package and do what those guides say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
from support import MODEL, MODELS, ROOT, StdioService, Window, in_threads, near, packed, random_windows, raw_inference
from vinocast.errors import SetupError

from scripts.inference_openvino import PatchTSTOpenVINOInference


@pytest.fixture(scope="module")
def model() -> PatchTSTOpenVINOInference:
    return PatchTSTOpenVINOInference(MODELS / MODEL)


def run_script(name: str, *options: str | Path, cwd: Path = ROOT, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / name), *map(str, options)]
    return subprocess.run(command, cwd=cwd, input=text, capture_output=True, text=True, timeout=120, check=False)


def test_the_class_forecasts_one_window_or_several(model: PatchTSTOpenVINOInference) -> None:
    windows = random_windows(3)
    expected = raw_inference(windows)
    assert near(model.predict(windows[0]), expected[0], windows[0])
    several = model.predict(np.stack(windows))
    assert several.shape == (3, 96, 7)
    assert all(near(*each) for each in zip(several, expected, windows, strict=True))
    assert model.predict(windows[0].tolist()).shape == (96, 7)


def test_the_class_answers_each_thread_its_own_window(model: PatchTSTOpenVINOInference) -> None:
    windows = random_windows(8, seed=2)
    answers = in_threads(lambda index: [model.predict(windows[index]) for _ in range(20)])
    for window, predictions in zip(windows, answers, strict=True):
        expected = model.predict(window)
        for prediction in predictions:
            assert near(prediction, expected, window)


@pytest.mark.parametrize("shape", [(511, 7), (513, 7), (512, 6), (512, 8), (7,), (1, 1, 512, 7), (0, 7)])
def test_the_class_refuses_another_shape(model: PatchTSTOpenVINOInference, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[512, 7\]"):
        model.predict(np.zeros(shape))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_the_class_refuses_what_is_not_finite(model: PatchTSTOpenVINOInference, value: float) -> None:
    window = np.zeros((512, 7))
    window[3, 2] = value
    with pytest.raises(ValueError, match="finite"):
        model.predict(window)


def test_a_missing_model_says_how_to_convert_one(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"model not found in .*convert_to_openvino.sh"):
        PatchTSTOpenVINOInference(tmp_path / "nothing")


def test_the_program_prints_its_figures_beside_the_older_guides(tmp_path: Path) -> None:
    done = run_script("inference_openvino.py", "--model-dir", MODELS / MODEL, "--runs", "20", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["mean", "P95", "QPS"]
    assert [line.split()[-2:] for line in lines[1:3]] == [["5-15", "ms"], ["10-25", "ms"]]
    assert lines[3].split()[-1] == "50-150"
    mean, p95, qps = (float(line.split()[1]) for line in lines[1:])
    assert 0 < mean < 1000
    assert p95 > 0
    assert qps == pytest.approx(1e3 / mean, rel=0.1, abs=1)


def test_the_benchmark_says_what_is_wrong_with_its_output_or_with_the_number_of_runs() -> None:
    for unbuffered in ("", "1"):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, ROOT / "scripts" / "inference_openvino.py", "--runs", "1"],
                stdout=full,
                stderr=subprocess.PIPE,
                env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
                text=True,
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr == "inference_openvino.py: [Errno 28] No space left on device\n"
    done = run_script("inference_openvino.py", "--runs", "0")
    assert done.returncode == 2
    assert "--runs: expected a number above 0, got 0" in done.stderr


def test_the_program_without_a_model_says_how_to_convert_one(tmp_path: Path) -> None:
    done = run_script("inference_openvino.py", "--model-dir", tmp_path)
    assert done.returncode == 1
    assert "convert_to_openvino.sh" in done.stderr


def test_mode_server_speaks_json_lines(window: Window) -> None:
    request = orjson.dumps(packed(window, request_id=7)).decode()
    done = run_script("inference_pipeline_integration.py", "--mode", "server", "--log-level", "error", text=request)
    assert done.returncode == 0, done.stderr
    reply = orjson.loads(done.stdout)
    with StdioService() as service:
        assert reply["predictions"] == service.ask(packed(window, request_id=7))["predictions"]


def test_another_mode_is_a_usage_error() -> None:
    assert run_script("inference_pipeline_integration.py", "--mode", "client").returncode == 2


def test_the_requirements_are_the_pinned_runtime() -> None:
    text = (ROOT / "scripts" / "requirements-openvino.txt").read_text()
    (included,) = [line.split()[1] for line in text.splitlines() if line.startswith("-r ")]
    pinned = (ROOT / "scripts" / included).resolve().read_text()
    assert "openvino==" in pinned
    assert "torch" not in pinned


@pytest.mark.parametrize("option", [[], ["--fp16"]])
def test_the_converter_offline_says_how_to_name_a_folder(option: list[str], tmp_path: Path) -> None:
    script = ROOT / "scripts" / "convert_to_openvino.sh"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    output = tmp_path / "openvino"
    done = subprocess.run(
        [script, "--output", output, *option],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "folder" in done.stderr
    assert not output.exists()
