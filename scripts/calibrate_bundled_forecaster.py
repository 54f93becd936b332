#!/usr/bin/env python
"""Make the quantile tables of ``models/patchtst-etth1``.

Of its channels from ETTh1's validation part; of other series from synthetic ones, which are of no data set that it is
measured on. Needs ``pip install -e '.[train]'``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
import numpy as np
from vinocast.data.bundled import BUNDLED_FORECASTER, bundled_models
from vinocast.data.etth1 import CHANNELS, NAME, TARGET_ROWS, read_etth1
from vinocast.engine.tuned import find_profile
from vinocast.evaluation.calibration import Calibrated, calibrate
from vinocast.evaluation.residuals import Values
from vinocast.forecast.manifest import open_forecaster
from vinocast.training.general.processes import unit
from vinocast.training.general.series import series

SEED, SERIES = 12, 8192


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, metavar="ETTh1.csv", help="The data set.")
@click.option("--models", type=click.Path(path_type=Path), help="The folder of models; default: the bundled one.")
def main(data: Path, models: Path | None) -> None:
    """Write the tables into the bundled model's folder."""
    path = (models or bundled_models()) / BUNDLED_FORECASTER
    context = open_forecaster(path).manifest.context
    etth1 = read_etth1(data)
    first, last = TARGET_ROWS["validation"]
    known = Values(
        f"{NAME}, rows {first - context} to {last}", etth1.sha256, CHANNELS, [etth1.rows("validation", context)]
    )
    made = unit(series(np.random.Generator(np.random.SFC64([SEED, 0])), SERIES)).astype(np.float32)
    others = Values(
        f"{SERIES} series of vinocast.training.general, seed {SEED}",
        hashlib.sha256(made.tobytes()).hexdigest(),
        ["series"],
        [each[:, None] for each in made],
    )
    profile = find_profile("epyc-7763")
    told(calibrate(open_forecaster(path), known, profile, only="channels"))
    told(calibrate(open_forecaster(path), others, profile, only="others", decay=1))


def told(calibrated: Calibrated) -> None:
    """Say what was made."""
    for part, made in calibrated.made.items():
        click.echo(f"{part}{'' if calibrated.changed else ' (as before)'}: {made.data}: {made.held_back}")


if __name__ == "__main__":
    main()
