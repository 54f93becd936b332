"""Make ``models/patchtst-etth1`` from ETTh1.csv: train, convert, measure. Some 40 minutes on two idle cores.

    python scripts/train_bundled_forecaster.py --data ETTh1.csv

Two forecasters are trained on the data. A third, the one that is bundled, learns from the mean of a ridge regression
and of those two, on mixtures of windows of the train rows; it sees no noise of the data, which 616,038 weights would
learn by heart. Each run is chosen by validation alone. A run that has ended is not repeated, so an interrupted call
goes on where it was. How sure the model is, ``scripts/calibrate_bundled_forecaster.py`` measures afterwards.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

from vinocast.data.etth1 import CHANNELS, read_etth1
from vinocast.engine.profiles import DEFAULT_PROFILE
from vinocast.engine.tuned import find_profile
from vinocast.errors import SetupError
from vinocast.evaluation.accuracy import evaluate
from vinocast.export.convert import convert_forecaster
from vinocast.forecast.manifest import open_forecaster
from vinocast.training.forecast import train_forecaster
from vinocast.training.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python scripts/train_bundled_forecaster.py --data ETTh1.csv"
# Another number of threads rounds differently.
THREADS = 1
TEACHERS = {
    "teacher-1": Recipe(steps=2500, evaluate_every=125, patience=20),
    "teacher-2": Recipe(
        steps=1250, evaluate_every=125, learning_rate=3e-4, weight_decay=0.01, ffn_dropout=0.3, path_dropout=0.1
    ),
}
STUDENT = replace(
    Recipe(teacher=1.0, mixtures=1.0, steps=4000, evaluate_every=125, patience=40, learning_rate=1e-3),
    position_dropout=0.05,
    ffn_dropout=0.1,
    head_dropout=0.05,
    path_dropout=0.02,
)


def main() -> int:
    """Train, convert and measure; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ETTh1.csv ('vinocast fetch-data etth1' gets it)")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="folder of the runs (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "models" / "patchtst-etth1", help="(default: %(default)s)"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        make(arguments.data, arguments.runs, arguments.output)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def make(data_file: Path, runs: Path, output: Path) -> None:
    """Train what is not trained yet, and write the model with its accuracy on validation and test."""
    data = read_etth1(data_file)
    for name, recipe in TEACHERS.items():
        train_forecaster(data, runs / name, recipe, THREADS)
    train_forecaster(data, runs / "student", STUDENT, THREADS, [runs / name for name in TEACHERS])

    source, profile = str(runs / "student"), find_profile(DEFAULT_PROFILE)
    convert_forecaster(source, output, channels=list(CHANNELS), keep_source=True, command=COMMAND)
    model = open_forecaster(output)
    metrics = [evaluate(model, data, split, profile).metric for split in ("validation", "test")]
    convert_forecaster(source, output, channels=list(CHANNELS), keep_source=True, command=COMMAND, metrics=metrics)
    for metric in metrics:
        print(f"{metric.split}: MSE {metric.mse:.4f}, MAE {metric.mae:.4f} over {metric.windows} windows")


if __name__ == "__main__":
    sys.exit(main())
