"""``import vinocast``: what is exported, of which types, and that it answers from any thread."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import metadata
from pathlib import Path

import numpy as np
import pytest
import vinocast
from support import MODEL, MODELS, near, random_windows, raw_inference

NAMES = {
    "Forecaster",
    "InvalidRequestError",
    "InvalidShapeError",
    "InvalidValueError",
    "ModelRefusedError",
    "RequestError",
    "SetupError",
    "UnknownTargetError",
    "VinocastError",
    "__version__",
    "load",
}
TYPED = """
import numpy as np
import vinocast
from numpy.typing import NDArray
from typing import assert_type

model = vinocast.load("patchtst-etth1", profile="native", strict=True)
assert_type(model, vinocast.Forecaster)
assert_type(model.forecast(np.zeros((512, 7)), targets=["OT", 0]), NDArray[np.float32])
assert_type(model.context, int)
assert_type(model.channels, tuple[str, ...])
assert_type(model.warnings, list[str])
error: vinocast.VinocastError = vinocast.SetupError("no")
"""


@pytest.fixture(scope="module")
def model() -> vinocast.Forecaster:
    return vinocast.load(MODEL)


def test_what_is_exported_is_listed_and_there() -> None:
    assert set(vinocast.__all__) == NAMES
    assert sorted(vinocast.__all__) == vinocast.__all__
    for name in NAMES:
        assert getattr(vinocast, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vinocast.nothing


def test_importing_it_loads_neither_openvino_nor_numpy() -> None:
    program = "import sys, vinocast; print({'numpy', 'openvino', 'pydantic'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_its_types_are_those_that_a_checker_infers(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "--config-file=", "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_window_or_several_and_some_of_the_channels(model: vinocast.Forecaster) -> None:
    assert (model.name, model.context, model.horizon, model.channels[-1]) == (MODEL, 512, 96, "OT")
    windows = random_windows(3)
    expected = raw_inference(windows)
    assert near(model.forecast(windows[0]), expected[0], windows[0])
    assert near(model.forecast(windows[0].tolist(), ["OT", 2]), expected[0][:, [6, 2]], windows[0][:, [6, 2]])
    several = model.forecast(np.stack(windows))
    assert several.shape == (3, 96, 7)
    assert several.dtype == np.float32
    assert all(near(*each) for each in zip(several, expected, windows, strict=True))


def test_what_is_wrong_is_said_with_its_kind(model: vinocast.Forecaster, tmp_path: Path) -> None:
    window = np.zeros((512, 7))
    with pytest.raises(
        vinocast.InvalidShapeError, match=r"window: expected \[512, 7\] or \[n, …\] of it, got \[511, 7\]"
    ):
        model.forecast(window[1:])
    with pytest.raises(vinocast.InvalidValueError, match="finite"):
        model.forecast(np.full((512, 7), 1e39))
    swinging = np.where(np.sin(np.arange(512)) > 0, 3.4e38, -3.4e38)
    with pytest.raises(vinocast.InvalidValueError, match="spread too far"):
        model.forecast(np.repeat(swinging[:, None], 7, axis=1))
    with pytest.raises(vinocast.InvalidValueError, match="numbers"):
        model.forecast([["a"] * 7] * 512)
    with pytest.raises(vinocast.UnknownTargetError, match=r"targets\[1\]"):
        model.forecast(window, ["OT", "TO"])
    with pytest.raises(vinocast.InvalidRequestError, match="empty"):
        model.forecast(window, targets=[])
    with pytest.raises(vinocast.InvalidRequestError, match="once"):
        model.forecast(window, [0, 0])
    with pytest.raises(vinocast.SetupError, match="nor a bundled model"):
        vinocast.load(tmp_path / "nothing")
    with pytest.raises(vinocast.ModelRefusedError, match="a model of kind glyphs, not a forecaster"):
        vinocast.load("glyphs")
    with pytest.raises(vinocast.SetupError, match="no profile named"):
        vinocast.load(MODELS / MODEL, profile="fast")


@pytest.mark.slow
def test_eight_threads_get_ten_thousand_forecasts_each_its_own(model: vinocast.Forecaster) -> None:
    windows = [window[:, :1].repeat(7, axis=1) for window in random_windows(16, seed=3)]
    expected = [model.forecast(window, [0]) for window in windows]
    assert len({each.tobytes() for each in expected}) == len(windows)

    def ask(number: int) -> bool:
        # One shape, so that the bits are those of the first answer.
        return bool((model.forecast(windows[number % 16], [number % 7]) == expected[number % 16]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(10_000)))


def test_the_package_says_where_it_lives_and_names_nobody_who_does_not_exist() -> None:
    about = metadata("vinocast")
    assert about.get_all("Author") is None
    assert {line.partition(",")[0] for line in about.get_all("Project-URL") or []} >= {"Changelog", "Documentation"}
