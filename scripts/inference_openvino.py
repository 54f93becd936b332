"""Forecast from Python, in this process: the class that the older guides import, and its benchmark.

    from scripts.inference_openvino import PatchTSTOpenVINOInference
    model = PatchTSTOpenVINOInference("models/openvino")
    predictions = model.predict(past_values)       # [512, 7] -> [96, 7], or [n, 512, 7] -> [n, 96, 7]

    python scripts/inference_openvino.py --model-dir models/openvino

A thin door into the package: the service behind ``vinocast serve`` and ``vinocast stdio`` runs the same code.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

if importlib.util.find_spec("vinocast") is None:  # run from a checkout that is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "service"))

import vinocast
from vinocast.data.bundled import bundled_models
from vinocast.engine.profiles import DEFAULT_PROFILE
from vinocast.errors import SetupError
from vinocast.process.standard_streams import ending_in_a_sentence

CONVERTED = Path(__file__).resolve().parent.parent / "models" / "openvino"
# What the older guide promised for its stock graph on an EPYC 7763.
OLD_GUIDE = (("mean", "5-15 ms"), ("P95", "10-25 ms"), ("QPS", "50-150"))


class PatchTSTOpenVINOInference:
    """One forecast model in this process. For any thread: one computes, others wait.

    OpenVINO reads the profile's instruction-set cap once in a process: load the model before anything else compiles
    one. After a fork load it anew in the child, as the threads of OpenVINO stay in the parent.

    Args:
        model_dir: a folder made by ``vinocast convert`` (or ``scripts/convert_to_openvino.sh``).
        profile: how to compile it; see ``vinocast serve --help``.
        strict: refuse a model in which something else is in force than the profile asks for.

    Attributes:
        in_force: what was read back from the compiled model.
        warnings: how that differs from what the profile asks for; logged as well.

    Raises:
        SetupError: no model there, or one that fails its self-test; with ``strict``, a difference.
    """

    def __init__(self, model_dir: str | Path, profile: str = DEFAULT_PROFILE, *, strict: bool = False) -> None:
        path = Path(model_dir)
        if not (path / "manifest.json").is_file():
            raise SetupError(
                f"model not found in {path}: convert one with 'scripts/convert_to_openvino.sh --output {path}', "
                f"or name the bundled one, {bundled_models() / 'patchtst-etth1'}"
            )
        self._model = vinocast.load(path, profile=profile, strict=strict)
        self.in_force, self.warnings = self._model.in_force, self._model.warnings
        self.context_length = self._model.context
        self.num_channels = len(self._model.channels)
        self.prediction_length = self._model.horizon

    def predict(self, past_values: ArrayLike) -> NDArray[np.float32]:
        """Forecast one window [context, channels] or several [n, context, channels], oldest row first.

        Returns float32 [horizon, channels] or [n, horizon, channels], in the units of the input. Raises ValueError for
        another shape or values that are not finite.
        """
        try:
            return self._model.forecast(past_values).predictions
        except vinocast.RequestError as error:
            raise ValueError(f"past_values{error.message.removeprefix('window')}") from None


def benchmark(model: PatchTSTOpenVINOInference, runs: int) -> dict[str, float]:
    """Time ``predict`` of one window; return milliseconds and queries per second."""
    window = np.random.default_rng(0).standard_normal((model.context_length, model.num_channels)).astype(np.float32)
    for _ in range(10):
        model.predict(window)
    milliseconds = []
    for _ in range(runs):
        start = time.perf_counter()
        model.predict(window)
        milliseconds.append((time.perf_counter() - start) * 1e3)
    mean = float(np.mean(milliseconds))
    return {"mean": mean, "P95": float(np.quantile(milliseconds, 0.95)), "QPS": 1e3 / mean}


def main() -> int:
    """Benchmark a model and print it beside the older guide's table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    default = CONVERTED if CONVERTED.is_dir() else bundled_models() / "patchtst-etth1"
    parser.add_argument(
        "--model-dir", type=Path, default=default, help="folder of a converted model (default: %(default)s)"
    )
    parser.add_argument("--profile", default=DEFAULT_PROFILE, help="how to compile it (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=500, help="timed predictions (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error(f"--runs: expected a number above 0, got {arguments.runs}")
    try:
        model = PatchTSTOpenVINOInference(arguments.model_dir, arguments.profile)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    figures = benchmark(model, arguments.runs)
    print(f"{'':6} {'measured':>12} {'older guide':>12}")
    for name, promised in OLD_GUIDE:
        unit = "" if name == "QPS" else " ms"
        print(f"{name:6} {figures[name]:>{12 - len(unit)}.{0 if name == 'QPS' else 2}f}{unit} {promised:>12}")
    return 0


if __name__ == "__main__":
    with ending_in_a_sentence("inference_openvino.py"):
        sys.exit(main())
