"""Forecasts from Python, in the process that asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.data.bundled import bundled_models
from vinocast.data.given import as_array, as_fields
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.profiles import DEFAULT_PROFILE
from vinocast.engine.tuned import find_profile
from vinocast.errors import InvalidShapeError, InvalidValueError
from vinocast.forecast.engine import ForecastEngine
from vinocast.forecast.manifest import find_forecaster
from vinocast.forecast.targets import choose_targets
from vinocast.results import Forecast

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from vinocast.engine.in_force import Property


class Forecaster:
    """One forecast model in this process. For any thread: one computes, the others wait.

    It does not outlive a fork, as the threads of OpenVINO stay in the parent: load it anew in the child.

    Attributes:
        name: of the model.
        context: rows of a window.
        horizon: rows of a forecast.
        channels: the names of a window's columns, in their order.
        in_force: what was read back from the compiled model.
        warnings: how that differs from what the profile asks for; logged as well.
    """

    def __init__(self, engine: ForecastEngine) -> None:
        """Wrap a loaded engine; :func:`vinocast.load` makes one."""
        manifest = engine.manifest
        self._engine = engine
        self._manifest = manifest
        self.name: str = engine.folder.path.name
        self.context: int = manifest.context
        self.horizon: int = manifest.horizon
        self.channels: tuple[str, ...] = tuple(manifest.channels)
        self.in_force: dict[str, Property] = engine.in_force
        self.warnings: list[str] = engine.warnings

    def forecast(self, window: ArrayLike, targets: Sequence[str | int] | None = None) -> Forecast:
        """Forecast one window or several.

        Args:
            window: [context, channels] or [n, context, channels], oldest row first, in any unit.
            targets: names or indices of the channels that are wanted, each once; only those are computed. None for all.

        Returns:
            The forecast, [horizon, targets] or [n, horizon, targets]; to numpy it is that array.

        Raises:
            InvalidShapeError: a window of another shape.
            InvalidValueError: a value that is no finite float32, or a forecast that came out beyond float32.
            UnknownTargetError: a target that is neither a channel's name nor its index.
            InvalidRequestError: no target, or one that is named twice.
        """
        windows = as_array(window, "window")
        shape = (self.context, len(self.channels))
        if windows.ndim not in (2, 3) or windows.shape[-2:] != shape:
            raise InvalidShapeError(
                f"window: expected {list(shape)} or [n, …] of it, got {list(windows.shape)}", "window"
            )
        if not np.isfinite(windows).all():
            raise InvalidValueError("window: expected finite numbers within float32", "window")
        wanted = choose_targets(as_fields({"targets": targets}).get("targets"), self._manifest)
        batch = windows.reshape(-1, *shape)
        forecasts = np.empty((len(batch), self.horizon, len(wanted)), np.float32)
        seconds = 0.0
        for index, each in enumerate(batch):
            forecasts[index], taken = self._engine.forecast(each, wanted)
            seconds += taken
        if not np.isfinite(forecasts).all():
            raise InvalidValueError("window: its values spread too far for a forecast in float32", "window")
        return Forecast(
            forecasts if windows.ndim == 3 else forecasts[0],
            tuple(self.channels[index] for index in wanted),
            self.name,
            inference_time_ms=round(seconds * 1e3, 4),
        )


def load(
    model: str | os.PathLike[str] | None = None, *, profile: str = DEFAULT_PROFILE, strict: bool = False
) -> Forecaster:
    """Load a forecast model into this process, compiled, warm, and compared with its golden vectors.

    OpenVINO reads the cap on the instruction set once in a process: load the model before anything else compiles one.

    Args:
        model: a folder that ``vinocast convert`` has made, or the name of a bundled model; None for the bundled
            default.
        profile: how to compile it; see ``vinocast serve --help``.
        strict: refuse the model where something else is in force than the profile asks for.

    Raises:
        SetupError: there is no such model, or no such profile.
        ModelRefusedError: the model is damaged, or fails its self-test; with ``strict``, a difference.
    """
    engine = ForecastEngine(find_forecaster(model, bundled_models()))
    compiler = Compiler(find_profile(profile), cpu_budget(), strict=strict)
    engine.load(compiler)
    engine.load_rest(compiler)
    return Forecaster(engine)
