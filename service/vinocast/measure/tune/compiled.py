"""Variants of one model under one cap, in a process of their own: ``python -m vinocast.measure.tune.compiled OPTIONS``.

The CPU plugin reads the cap once, when it loads. OPTIONS is a JSON object: ``isa_cap``; ``folder`` of the model;
``int8``, the folder of its int8 form or null; ``windows``, a file of windows [n, context, channels]. The first line it
prints says whether the CPU has bf16 under the cap; then it answers calls of :class:`CompiledVariants`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.profiles import Profile
from vinocast.errors import ModelRefusedError
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import open_forecaster
from vinocast.measure.calls import answer_calls
from vinocast.measure.tune.variants import Variant

# The first inferences after another variant's find cold caches and sleeping threads.
SETTLE = 3


class CompiledVariants:
    """Variants of a model, each compiled as the service would."""

    def __init__(self, isa_cap: str | None, folder: str, int8: str | None, windows: str) -> None:
        # What is not in force as asked must not be measured under the variant's name.
        self.compiler = Compiler(Profile("tune", "", isa_cap), cpu_budget(), strict=True)
        self._folders = {False: folder, True: int8}
        self._windows = np.load(windows)
        self._forecasters: dict[Variant, ForecastEngine] = {}

    def load(self, variant: dict[str, Any]) -> str | None:
        """Compile a variant for a whole window and for one series; return why that is refused."""
        key = Variant(**variant)
        self.compiler.profile = key.profile
        try:
            forecaster = ForecastEngine(open_forecaster(Path(str(self._folders[key.int8]))))
            forecaster.load(self.compiler)
            forecaster.load_rest(self.compiler, lambda: 1 in forecaster.compiled_counts)
        except ModelRefusedError as error:
            return str(error)
        self._forecasters[key] = forecaster
        return None

    def measure(self, variant: dict[str, Any], series: int, count: int) -> list[float]:
        """Infer so often for the last so many channels of a window; return the milliseconds of each."""
        forecaster = self._forecasters[Variant(**variant)]
        channels = len(forecaster.manifest.channels)
        window, targets = self._windows[0], range(channels - series, channels)
        times = [forecaster.forecast(window, targets)[1] for _ in range(SETTLE + count)]
        return [seconds * 1e3 for seconds in times[SETTLE:]]

    def forecast(self, variant: dict[str, Any], file: str) -> None:
        """Write the forecasts of all windows [n, horizon, channels] to a file."""
        forecaster = self._forecasters[Variant(**variant)]
        targets = range(len(forecaster.manifest.channels))
        np.save(file, np.stack([forecaster.forecast(window, targets)[0] for window in self._windows]))


def described(variant: Variant) -> dict[str, Any]:
    """Return a variant as it goes into a call."""
    return asdict(variant)


def main() -> None:
    """Describe, and answer until the input ends."""
    variants = CompiledVariants(**json.loads(sys.argv[1]))
    answer_calls(variants, {"bf16": "BF16" in variants.compiler.capabilities()})


if __name__ == "__main__":
    main()
