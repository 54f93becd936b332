"""A forecaster without a service around it."""

from __future__ import annotations

import numpy as np
from support import MODEL, MODELS, random_windows

from service.forecast.forecaster import Forecaster
from service.runtime.compiled import Compiler
from service.runtime.cpu import cpu_budget
from service.runtime.manifest import open_forecaster
from service.runtime.profiles import PROFILES


def test_a_forecast_stays_as_it_is_when_the_next_one_is_made() -> None:
    forecaster = Forecaster(open_forecaster(MODELS / MODEL))
    forecaster.load(Compiler(PROFILES["epyc-7763"], cpu_budget()))
    first, second = random_windows(2, seed=4)
    for targets in ([0], [2, 1], range(7)):
        forecast, _ = forecaster.forecast(first, targets)
        before = forecast.copy()
        forecaster.forecast(second, targets)
        assert np.array_equal(forecast, before)
